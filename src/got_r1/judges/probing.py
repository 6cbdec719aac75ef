"""Whether the servers of a judge can be reached, asked once before a run loads its model.

The run itself waits for servers that are gone (`endpoints`), as long as `judge.patience` says. A
wrong address and a server that somebody forgot to start look the same as one that is starting: so
people hear of it at once, and not after the model was loaded and evaluated.
"""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from got_r1.errors import RunFailed, first_line
from got_r1.files.redaction import redact
from got_r1.judges.settings import THIS_MACHINE
from got_r1.judges.specs import resolve
from got_r1.recipes.sections import JudgeSection

__all__ = ["probe_servers", "why_unreachable"]

LONGEST = 5.0  # seconds that a connection may take
GONE = (502, 503)  # a proxy's way to say that nobody is behind it, or is yet


def probe_servers(section: JudgeSection, terms: Collection[str]) -> None:
    """Tells on stderr which servers of the judges of `terms` cannot be reached, and how long the
    run will wait for them. Nothing is asked of them but the list of their models, without a key.

    Raises RunFailed where the run is not to wait (`judge.patience` is 0) and a judge has no server
    that can be reached.
    """
    judges = resolve(section)
    asked = [one for term in terms for one in judges.answering(term)]
    served = [one.openai.urls for one in asked if one.openai is not None]
    groups = list(dict.fromkeys(map(tuple, served)))
    urls = list(dict.fromkeys(url for group in groups for url in group))
    with ThreadPoolExecutor(max(1, len(urls))) as pool:
        faults = dict(zip(urls, pool.map(why_unreachable, urls), strict=True))
    for group in groups:
        lost = {redact(url): faults[url] for url in group if faults[url]}
        told = "; ".join(f"{url} cannot be reached ({why})" for url, why in lost.items())
        if lost and len(lost) < len(group):
            _say(f"{told}: the others are asked")
        elif lost and section.patience <= 0:
            raise RunFailed(
                f"the judge's server {told}: start it first, or give the seconds that its start "
                "may take as judge.patience"
            )
        elif lost:
            _say(
                f"{told}: the run begins, and when it has its first question it waits up to "
                f"{section.patience:g} s for a server (judge.patience; with judge.patience=0 it "
                "would stop here)"
            )


def why_unreachable(url: str) -> str:
    """Why the server at a base URL cannot be reached, empty where anything answers, even with a
    refusal."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    place = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{place}{port}{parts.path.rstrip('/')}/models"
    # What the environment says about proxies is about the world outside, not about this machine.
    own = [urllib.request.ProxyHandler({})] if host in THIS_MACHINE else []
    opener = urllib.request.build_opener(_NoRedirects, *own)
    try:
        opener.open(address, timeout=LONGEST).close()
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}" if error.code in GONE else ""
    except urllib.error.URLError as error:  # no connection came about
        reason = error.reason
        return reason.strerror or first_line(reason) if isinstance(reason, OSError) else ""
    except (OSError, http.client.HTTPException, ValueError):
        return ""  # somebody is there; what is wrong with them the first question will tell
    return ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for an answer: requests stay with the server they are meant for."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _say(sentence: str) -> None:
    print(f"got-r1: judge: {sentence}", file=sys.stderr, flush=True)  # noqa: T201
