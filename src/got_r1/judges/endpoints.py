"""Several servers of one model: who is asked next, who rests, and when a query is tried again.

The endpoint with the fewest open requests is asked. What then goes wrong is one of three things:

- *The request was refused* (400, 401, 403, 404 ...): it would be refused again, so it is not sent
  again. The error says which setting to change.
- *The endpoint is not there or is busy* (connection lost, 429, 502, 503, a Retry-After): it
  rests twice as long each time it wakes in vain, and at least as long as its Retry-After says: a
  server that says "0", or a date gone by, is not asked again at once. Whoever has an open query
  turns to the others, or waits until the first one wakes.
- *This answer went wrong* (5xx, no answer in time, no completion in the body: `completions`): the
  query waits, twice as long each time, or turns at once to another endpoint that has answered well
  so far. After `IN_A_ROW` of these without a good answer between, the endpoint rests too: a broken
  server answers fastest, and would be asked most.

All waits have jitter, so that many queries do not come back at the same moment.

Servers that are gone (no connection, 429, 502, 503, Retry-After) while nobody gets a good answer
are waited for, `patience` seconds long: a server that restarts costs the time of its restart. Such
tries do not count against `retries`. After that, and without patience once every endpoint has woken
in vain more often than a query may be tried, queries fail at once until the next one wakes: a
server that stays away costs one round of waiting, not one for each query.

Times and counts here are our choice.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import openai

from got_r1.files.redaction import redact
from got_r1.judges.completions import (
    PASSES,
    Completion,
    NoCompletion,
    one_line,
    read_completion,
)
from got_r1.judges.requests import refused_field
from got_r1.judges.settings import THIS_MACHINE
from got_r1.judges.transport import Redirected, http_client

__all__ = ["Endpoint", "Endpoints", "Unanswered", "connect", "say"]

IN_A_ROW = 3  # wrong answers without a good one between, after which an endpoint rests
LONGEST_WAIT = 15.0  # seconds, of our own waiting
MOST_DOUBLED = 30  # times that a wait doubles: beyond, numbers grow out of range
TOLD_AFTER = 2  # rests in a row of all endpoints, after which people hear that we wait
GONE = (429, 502, 503)  # busy, or a proxy's way to say that nobody is behind it
LONGEST_TOLD = 300.0  # seconds, of a Retry-After
POOL = 32  # connections a client: looking for a free one takes time with their number


class Unanswered(Exception):
    """No answer came, and none will: `reason` for people, `reply` what the server said last.

    `field`: the field of the request that the server refuses, empty where it names none.
    """

    def __init__(self, reason: str, reply: str = "", field: str = "") -> None:
        super().__init__(redact(reason))
        self.reason, self.reply, self.field = redact(reason), redact(reply), field


@dataclass(eq=False, slots=True)
class Endpoint:
    """One server, as its requests have found it; `url` is its address for people."""

    url: str
    clients: Sequence[openai.AsyncOpenAI]
    open: int = 0  # requests under way
    good: int = 0  # answers ever
    asked: int = 0  # requests ever: of two idle endpoints the one less asked is next
    faults: int = 0  # wrong answers since the last good one
    rests: int = 0  # since the last good one
    rested_at: float = -1.0  # when the current or last rest began
    awake_at: float = 0.0
    trouble: str = ""  # what went wrong last

    async def post(self, request: dict[str, Any]) -> str:
        """The body of its answer; `openai`'s errors and NoCompletion where there is none."""
        client = self.clients[self.asked % len(self.clients)]
        # Not `chat.completions.create`: its checks of a request against the API's types are a
        # quarter of all work, and the answer may be anything anyway.
        try:
            return await client.post("/chat/completions", body=request, cast_to=str)
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, NoCompletion):  # refused by `transport`
                raise error.__cause__ from None
            raise

    async def close(self) -> None:
        """Closes its connections."""
        for client in self.clients:
            await client.close()

    def answered(self) -> None:
        """A good answer came: whatever was, is over."""
        self.good += 1
        self.faults = self.rests = 0

    def failed(self, reason: str, began: float, now: float, *, rest: float) -> None:
        """A request that `began` then has failed; `rest` seconds of rest, 0 for none."""
        self.trouble = reason
        self.faults += 1
        # Of many requests that met the same fault, the first one sends the endpoint to rest.
        if rest and began > self.rested_at:
            self.rests += 1
            self.rested_at, self.awake_at = now, now + rest


def connect(url: str, key: str, connections: int) -> Endpoint:
    """An endpoint at a base URL, up to and including /v1, for so many connections at once."""
    # What the environment says about proxies is about the world outside, not about this machine.
    here = urlsplit(url).hostname in THIS_MACHINE

    def client() -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=url,
            api_key=key,
            max_retries=0,  # we do it, over all endpoints
            timeout=None,  # and this
            http_client=http_client(proxies=not here),
        )

    clients = [client() for _ in range(math.ceil(connections / POOL))]
    return Endpoint(redact(url.rstrip("/")), clients)


def say(sentence: str) -> None:
    """Tells whoever runs this, on standard error, in one line."""
    print(f"got-r1: judge: {one_line(sentence, longest=2000)}", file=sys.stderr, flush=True)  # noqa: T201


@dataclass(eq=False)
class Endpoints:
    """Asks several endpoints of one model. Lives in one event loop."""

    endpoints: Sequence[Endpoint]
    timeout: float  # seconds an answer may take
    retries: int  # times a request is sent again
    first_wait: float  # seconds before the first of them
    key_name: str  # the environment variable of the key, named in errors
    patience: float = 0.0  # seconds that servers which are gone are waited for
    jitter: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic  # seconds
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    say: Callable[[str], None] = say  # how people hear of waiting
    _gone_since: float | None = field(default=None, init=False)  # None since the last good answer
    _told: bool = field(default=False, init=False)  # people know that we wait

    async def complete(self, request: dict[str, Any]) -> Completion:
        """A chat completion. Raises Unanswered."""
        failed: Endpoint | None = None
        attempts, good = 0, self._good
        while True:
            endpoint = await self._next(failed)
            began = self.clock()
            endpoint.open += 1
            endpoint.asked += 1
            try:
                async with asyncio.timeout(self.timeout):
                    answer = await endpoint.post(request)
                completion = read_completion(answer)
            except (openai.APIError, TimeoutError, NoCompletion) as error:
                reason, said = self._explain(endpoint, error, request), _said(error)
                pause = self._note(endpoint, error, reason, began, attempts)
                gone = _is_gone(error)
            else:
                self._answered(endpoint)
                return completion
            finally:
                endpoint.open -= 1
            failed = endpoint
            # A try at a server that is gone says nothing about the query: only patience ends it.
            if not (gone and good == self._good and self._patient()):
                attempts += 1
            good = self._good
            if attempts > self.retries:
                break
            if pause:
                await self.sleep(pause)
        times = f"{attempts} times" if self.retries else "once"
        raise Unanswered(f"{reason}, asked {times}", said)

    @property
    def _good(self) -> int:
        """Good answers ever, of all endpoints."""
        return sum(one.good for one in self.endpoints)

    def _note(
        self, endpoint: Endpoint, error: Exception, reason: str, began: float, attempt: int
    ) -> float:
        """Keeps a failure in mind; returns the seconds that its query waits before it goes on."""
        now = self.clock()
        doubled = min(max(attempt, endpoint.rests), MOST_DOUBLED)
        wait = min(LONGEST_WAIT, self.first_wait * 2**doubled)
        told = _retry_after(error)
        gone = _is_gone(error)
        if gone and self._gone_since is None:
            self._gone_since = now
        lost = isinstance(error, openai.APIConnectionError)
        if gone or lost or endpoint.faults + 1 >= IN_A_ROW:
            endpoint.failed(reason, began, now, rest=max(wait, told or 0.0))
            return 0.0  # others may be awake; if not, `_next` waits
        endpoint.failed(reason, began, now, rest=0.0)
        # One that has just gone wrong too is no reason not to wait: two would be asked in turn.
        others = any(one.awake_at <= now and not one.faults for one in self.endpoints)
        return 0.0 if others else wait * self.jitter.uniform(0.5, 1.0)

    async def _next(self, failed: Endpoint | None) -> Endpoint:
        """The endpoint to ask now; waits while all rest. One that just failed comes last."""
        while True:
            now = self.clock()
            awake = [one for one in self.endpoints if one.awake_at <= now]
            if awake:
                return min(awake, key=lambda one: (one is failed, one.open, one.asked))
            rests = min(one.rests for one in self.endpoints)
            trouble = self.endpoints[0].trouble
            if self._patient():
                if rests >= TOLD_AFTER and not self._told:
                    self._told = True
                    self.say(f"{trouble}: waiting up to {self.patience:g} s (judge.patience)")
            elif rests > self.retries:
                if self._told:
                    self._told = False
                    self.say(f"no answer within {self.patience:g} s (judge.patience): giving up")
                raise Unanswered(f"no judge answers any more: {trouble}")
            wait = min(one.awake_at for one in self.endpoints) - now
            await self.sleep(wait * self.jitter.uniform(1.0, 1.5))

    def _patient(self) -> bool:
        """Whether servers that are gone are still waited for."""
        since = self._gone_since
        return since is not None and self.clock() - since < self.patience

    def _answered(self, endpoint: Endpoint) -> None:
        """A good answer came: nobody waits any longer."""
        endpoint.answered()
        if self._told and self._gone_since is not None:
            waited = self.clock() - self._gone_since
            self.say(f"{endpoint.url} answers again, after {waited:.0f} s")
        self._gone_since, self._told = None, False

    def _explain(self, endpoint: Endpoint, error: Exception, request: dict[str, Any]) -> str:
        """A failed request in words. Raises Unanswered where it would only fail again."""
        where, said, field = endpoint.url, _said(error), ""
        match error:
            case openai.RateLimitError() if error.code == "insufficient_quota":
                raise Unanswered(f"{where} says that the account has no quota left: {said}", said)
            case openai.RateLimitError():
                return f"{where} was too busy (429)"
            case openai.APIStatusError(status_code=401 | 403):
                why = (
                    f"{where} refuses the key ({said}): export {self.key_name} with a valid one "
                    "and name it as api_key_env in the judge's settings (unless named, a key goes "
                    "to https://api.openai.com only)"
                )
            case openai.APIStatusError(status_code=code):
                field, setting = refused_field(str(_told(error)), _param(error), request)
                passes = code in PASSES or code >= 500
                if passes and field not in ("system", "response_format"):
                    return f"{where} answered {code} ({said}){self._hint(endpoint, code, request)}"
                why = f"{where} refuses the request ({code}: {said})"
                if field:
                    why = f"{why}: {setting}"
                elif code == 404:
                    why = (
                        f"{where} does not know the model {request['model']!r} or has no chat "
                        f"there ({said}): {where}/models lists its models, and the URL must end as "
                        "the server's base URL does, mostly in /v1"
                    )
            case Redirected():
                raise Unanswered(f"{where} {error.reason}")
            case NoCompletion(refused=True):
                why = f"{where} refuses the request: it answered with {error.reason}"
                field, setting = refused_field(error.reason, None, request)
                why += f": {setting}" if field else ""
            case NoCompletion():
                return f"{where} answered with {error.reason}"
            case TimeoutError() | openai.APITimeoutError():
                return f"{where} gave no answer within {self.timeout:g} seconds"
            case openai.APIConnectionError():
                return (
                    f"{where} cannot be reached, or hung up ({one_line(error.__cause__ or error)})"
                )
            case _:
                return f"{where} gave no answer ({said})"
        raise Unanswered(why, said, field)

    def _hint(self, endpoint: Endpoint, code: int, request: dict[str, Any]) -> str:
        """What a 500 may mean that says nothing: SGLang's, where a chat template has no system
        role."""
        system = any(message.get("role") == "system" for message in request["messages"])
        if code != 500 or endpoint.good or not system:
            return ""
        return "; if the model's chat template has no system role, set openai.system: folded"


def _said(error: Exception) -> str:
    """What the server said with an error, on one line."""
    return error.reply if isinstance(error, NoCompletion) else one_line(_told(error))


def _told(error: Exception) -> object:
    """The same in full length."""
    body = getattr(error, "body", None)
    if isinstance(body, list) and len(body) == 1 and isinstance(body[0], dict):  # Gemini's
        body = body[0].get("error", body[0])
    return body.get("message", body) if isinstance(body, dict) else body or error


def _is_gone(error: Exception) -> bool:
    """Whether a server is not there or takes no requests now, whatever is asked."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in GONE or _retry_after(error) is not None
    # Not where a connection broke in the middle: the request may have brought the server down.
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout")


def _param(error: openai.APIStatusError) -> object:
    """The field that an error names beside its message, as OpenAI's do."""
    return error.body.get("param") if isinstance(error.body, dict) else None


def _retry_after(error: Exception) -> float | None:
    """Seconds that a server asks to wait: a number or a date; None where it says nothing."""
    response = getattr(error, "response", None)
    told = response.headers.get("retry-after", "") if response is not None else ""
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_TOLD) if seconds == seconds else None
