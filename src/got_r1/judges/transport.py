"""The HTTP client of a served judge: where requests go, and how much is read of what comes back.

- A redirect is followed only where it stays with scheme, host and port: key, prompts and images go
  to the server that the settings name and to no other. That includes the same host's https: the
  request before the redirect has gone unencrypted already, so the URL itself has to say https.
- Of a body at most `LONGEST_BODY` bytes are read. Compression, behind which a few bytes may hold
  gigabytes, is not asked for; of a body that comes compressed, `LONGEST_COMPRESSED`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import openai

from got_r1.files.redaction import redact
from got_r1.judges.completions import NoCompletion

__all__ = ["LONGEST_BODY", "LONGEST_COMPRESSED", "Redirected", "http_client"]

LONGEST_BODY = 8 << 20
LONGEST_COMPRESSED = LONGEST_BODY >> 7


class Redirected(NoCompletion):
    """The server sends the request to another one."""


def http_client(*, proxies: bool) -> httpx2.AsyncClient:
    """A client for `openai.AsyncOpenAI`; `proxies`: as the environment says.

    Where it refuses an answer, openai's `APIConnectionError` has a `NoCompletion` as its cause.
    """
    return openai.DefaultAsyncHttpxClient(
        trust_env=proxies,
        headers={"accept-encoding": "identity"},
        event_hooks={"response": [_check_redirect, _bound]},
    )


async def _check_redirect(response: httpx2.Response) -> None:
    """Raises Redirected where a redirect leads to another server."""
    if not response.has_redirect_location:
        return
    try:
        target = response.url.join(response.headers["location"])
    except httpx2.InvalidURL:
        raise Redirected("redirects to an address that is no URL", "") from None
    if _origin(target) != _origin(response.url):
        shown = redact(f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}{target.path}")
        raise Redirected(
            f"redirects to {shown}, another server, to which neither key nor images are sent: if "
            "the judge is there, name that server in its URL",
            "",
        )


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


async def _bound(response: httpx2.Response) -> None:
    """Lets the reading of the body end where it is too long."""
    compressed = response.headers.get("content-encoding", "identity") != "identity"
    response.stream = _Bounded(response.stream, LONGEST_COMPRESSED if compressed else LONGEST_BODY)


class _Bounded(httpx2.AsyncByteStream):
    """A body of at most `longest` bytes. Raises NoCompletion where more come."""

    def __init__(self, stream: object, longest: int) -> None:
        assert isinstance(stream, httpx2.AsyncByteStream)
        self._stream, self._longest = stream, longest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._longest
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise NoCompletion(f"a body of more than {self._longest} bytes, not read", "")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
