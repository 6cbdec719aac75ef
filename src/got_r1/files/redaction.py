"""Secrets are kept out of everything that is written: files, messages, logs and tracebacks.

`redact` is the one function on every way out. It masks

- the secrets that are known (`remember`): keys that a judge is asked with, tokens of hubs and
  trackers in the environment; as they are, and as servers and libraries write them again: in URLs,
  HTML, JSON, and inside base64;
- by their form, the credentials in any URL (`http://user:password@host`) and the keys in its query
  (`?api_key=...`).
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TextIO
from urllib.parse import quote, quote_plus, unquote, urlsplit

from got_r1.files.parsing import valid_unicode

__all__ = [
    "MASK",
    "CleanStream",
    "is_secret_name",
    "redact",
    "remember",
    "remember_environment",
    "remember_fields",
    "remember_url",
]

MASK = "***"
SHORTEST = 8
"""Characters of a secret that is known; shorter ones ("none", "secret") are plain words."""

_forms: tuple[str, ...] = ()  # of all known secrets, the longest first
_known: set[str] = set()

_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:(?:api|access|secret|private|auth)[_-]?key|authorization|token|secret|passw(?:or)?d)$",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^/?#\s\"'<>]*@")
_QUERY = re.compile(
    r"([?&](?:(?:api|access|auth|subscription)[_-]?)?(?:key|token|secret|password)=)[^&#\s\"'<>,]+",
    re.IGNORECASE,
)


def remember(secret: str | None) -> None:
    """From here on `redact` masks this text, wherever it stands."""
    global _forms
    if secret and len(secret) >= SHORTEST and secret not in _known:
        _known.add(secret)
        _forms = tuple(sorted({*_forms, *_written(secret)}, key=len, reverse=True))


def remember_environment() -> None:
    """`remember` for every variable whose name says that it holds a secret: `HF_TOKEN`,
    `WANDB_API_KEY`, `OPENAI_API_KEY` ..."""
    for name, value in os.environ.items():
        if is_secret_name(name):
            remember(value.strip())


def remember_url(url: str) -> None:
    """`remember` for the user and password in a URL, and for the keys in its query."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
    except ValueError:  # no URL: whoever wants to use it says so
        return
    for form in (quote, unquote, str):
        remember(form(password))
        if password:
            both = f"{form(user)}:{form(password)}"
            remember(both)
            remember(base64.b64encode(both.encode()).decode())  # as a header has it
        elif user:  # a token alone
            remember(form(user))
    for found in _QUERY.finditer(url):
        key = found[0].partition("=")[2]
        remember(key)
        remember(unquote(key))


def remember_fields(fields: Mapping[str, Any]) -> None:
    """`remember` for values, at any depth, whose names say that they are secrets."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            remember_fields(value)
        elif isinstance(value, str) and is_secret_name(name):
            remember(value.strip())


def is_secret_name(name: object) -> bool:
    """Whether a field or variable of this name holds a secret (`api_key`, not `max_tokens`)."""
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """The text with every secret in it masked."""
    for form in _forms:
        text = text.replace(form, MASK)
    text = _USERINFO.sub(f"://{MASK}@", text)
    return _QUERY.sub(rf"\g<1>{MASK}", text)


def _written(secret: str) -> Iterator[str]:
    """The ways in which a secret may be written."""
    yield from (secret, html.escape(secret), json.dumps(secret)[1:-1])
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    for quoted in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield quoted
        yield re.sub("%..", lambda found: found[0].lower(), quoted)
    data = secret.encode(errors="surrogateescape")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        # What stands before it moves it by 0 to 2 bytes; digits shared with others are left out.
        for shift, first in ((0, 0), (1, 2), (2, 3)):
            digits = encode(b"\0" * shift + data).decode()
            yield digits[first : (shift + len(data)) * 8 // 6]


class CleanStream:
    """A text stream that masks secrets, and replaces what is no valid Unicode, in what is written
    to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text; returns its length."""
        self._stream.write(valid_unicode(redact(text)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
