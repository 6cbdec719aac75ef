"""Who may use the studio: what is asked of every request, and what every answer forbids a browser.

On the loopback interface whoever can open a port may look; elsewhere a token is needed, which the
link on the terminal carries once and a cookie keeps. A request that changes or computes anything
must come from the studio's own pages: by its Origin, and by a second token that only they hold.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

__all__ = ["COOKIE", "MOST_BYTES", "Guard", "is_loopback"]

COOKIE = "got_r1_studio"
MOST_BYTES = 16 * 2**20  # of a request's body; an exported picture has less
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SAFE = ("GET", "HEAD")

Next = Callable[[Request], Awaitable[Response]]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Guard:
    """The checks of a server that listens on `host`."""

    host: str
    access: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """What the link carries where `host` is not the loopback interface."""
    page: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """What the studio's own pages send with every request that is no GET."""

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Answers in place of the application where a request is refused."""
        response = self._refuse(request) or await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _refuse(self, request: Request) -> Response | None:
        name = request.url.hostname or ""
        local = is_loopback(self.host)
        # Another site's name that resolves to this machine would make it the same origin.
        if local and name not in _LOCAL_NAMES:
            return PlainTextResponse("This name is not the studio's.\n", 403)
        if not local:
            given = request.query_params.get("token")
            if given is not None and same(given, self.access) and request.method in _SAFE:
                page = RedirectResponse(request.url.path, 303)
                page.set_cookie(COOKIE, self.access, httponly=True, samesite="strict")
                return page
            if not same(request.cookies.get(COOKIE, ""), self.access):
                return PlainTextResponse(
                    "Open the link that the studio's terminal shows: it carries the token.\n", 403
                )
        if request.method in _SAFE:
            return None
        origin = urlsplit(request.headers.get("origin", ""))
        if origin.netloc != request.headers.get("host") or not same(
            request.headers.get("x-studio-token", ""), self.page
        ):
            return PlainTextResponse("This request does not come from the studio's page.\n", 403)
        if "transfer-encoding" in request.headers:
            return PlainTextResponse("A request must say how long it is.\n", 411)
        length = request.headers.get("content-length", "0")
        if int(length) > MOST_BYTES:
            return PlainTextResponse(f"A request holds at most {MOST_BYTES} bytes.\n", 413)
        return None


def same(given: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
