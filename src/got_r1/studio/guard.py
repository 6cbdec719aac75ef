"""Who may use the studio: what is asked of every request, and what every answer forbids a browser.

On the loopback interface whoever can open a port may look; elsewhere a token is needed, which the
link on the terminal carries once and a cookie keeps. A request that changes or computes anything
must come from the studio's own pages: by its Origin, and by a second token that only they hold.

Where a study is rated, raters have tokens of their own. They open the rater's pages and nothing
else, and on the loopback interface too everything else then needs the studio's token.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlsplit

from fastapi import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

__all__ = ["COOKIE", "MOST_BYTES", "RATER_COOKIE", "Guard", "Raters", "is_loopback", "same"]

COOKIE = "got_r1_studio"
RATER_COOKIE = "got_r1_rater"
MOST_BYTES = 16 * 2**20  # of a request's body; an exported picture has less
_DAYS = 90 * 24 * 60 * 60  # seconds that a rater's cookie lasts
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


class Raters(Protocol):
    """Who rates a study."""

    path: str
    """Of the page, without a slash at its end; the rater's other paths lie below it."""

    def is_raters(self, path: str) -> bool:
        """Whether raters open this path; nobody else does."""

    def rater_of(self, token: str) -> str | None:
        """Whose token this is, told in constant time."""

    def page_token(self, rater: str) -> str:
        """What this rater's page sends with every request that is no GET."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The checks of a server that listens on `host`."""

    host: str
    access: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """What the link carries where `host` is not the loopback interface."""
    page: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """What the studio's own pages send with every request that is no GET."""
    raters: Raters | None = None

    @property
    def needs_token(self) -> bool:
        """Whether the studio's link carries its token."""
        return self.raters is not None or not is_loopback(self.host)

    async def __call__(self, request: Request, call_next: Next) -> Response:
        """Answers in place of the application where a request is refused."""
        response = self._refuse(request) or await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _refuse(self, request: Request) -> Response | None:
        name = request.url.hostname or ""
        # Another site's name that resolves to this machine would make it the same origin.
        if is_loopback(self.host) and name not in _LOCAL_NAMES:
            return PlainTextResponse("This name is not the studio's.\n", 403)
        page = self.page
        # Not request.url.path: a Host header can change what that holds.
        if self.raters is not None and self.raters.is_raters(request.scope["path"]):
            if refusal := _admit_rater(request, self.raters):
                return refusal
            page = self.raters.page_token(request.state.rater)
        elif self.needs_token and (refusal := self._admit(request)):
            return refusal
        if request.method in _SAFE:
            return None
        origin = urlsplit(request.headers.get("origin", ""))
        if origin.netloc != request.headers.get("host") or not same(
            request.headers.get("x-studio-token", ""), page
        ):
            return PlainTextResponse("This request does not come from the studio's page.\n", 403)
        if "transfer-encoding" in request.headers:
            return PlainTextResponse("A request must say how long it is.\n", 411)
        length = request.headers.get("content-length", "0")
        if int(length) > MOST_BYTES:
            return PlainTextResponse(f"A request holds at most {MOST_BYTES} bytes.\n", 413)
        return None

    def _admit(self, request: Request) -> Response | None:
        given = request.query_params.get("access")  # what is called a token is masked on terminals
        if given is not None and same(given, self.access) and request.method in _SAFE:
            page = _same_page(request)
            page.set_cookie(COOKIE, self.access, httponly=True, samesite="strict")
            return page
        if same(request.cookies.get(COOKIE, ""), self.access):
            return None
        return PlainTextResponse(
            "Open the link that the studio's terminal shows: it carries the token.\n", 403
        )


def _admit_rater(request: Request, raters: Raters) -> Response | None:
    """None for a rater, whose name is in the request's state then."""
    given = request.query_params.get("rater")
    if given is not None and request.method in _SAFE and raters.rater_of(given) is not None:
        page = _same_page(request)
        # Lax: raters come from links in letters, where a browser would withhold a strict cookie.
        page.set_cookie(
            RATER_COOKIE, given, max_age=_DAYS, path=raters.path, httponly=True, samesite="lax"
        )
        return page
    rater = raters.rater_of(request.cookies.get(RATER_COOKIE, ""))
    if given is not None or rater is None:  # who gives a wrong token is not taken for another
        return PlainTextResponse(
            "Open the link that you were given for rating: it carries your token.\n", 403
        )
    request.state.rater = rater
    return None


def _same_page(request: Request) -> Response:
    """Leads to the same page, without the token in its address."""
    return RedirectResponse(quote("/" + request.scope["path"].lstrip("/")), 303)


def same(given: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())
