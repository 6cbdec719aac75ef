"""The served judge against a real HTTP server that plays every failure; no answer is ever lost."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.judges.base import LONGEST_FAILED, answers_of, checked
from got_r1.judges.endpoints import Endpoints, Unanswered, connect
from got_r1.judges.openai_api import OpenAIJudge
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.judges.worker import WorkerJudge
from got_r1.plan.chain import parse
from got_r1.records import (
    Box,
    GroundingQuery,
    ImageQuery,
    JudgeFailure,
    Prompt,
    SemanticQuery,
    SpatialQuery,
    Verdict,
)
from judges.asking import ask, judge_of
from judges.scripted_server import (
    Action,
    Drop,
    Half,
    Held,
    Message,
    Raw,
    Reply,
    Request,
    ScriptedServer,
    Slow,
    Status,
    in_turn,
    score,
)

CHAIN = parse(
    "A <|obj_start|>red vase<|obj_end|> <|box_start|>(100,200),(400,900)<|box_end|> and a "
    "<|obj_start|>clock<|obj_end|> <|box_start|>(600,200),(900,500)<|box_end|>."
)
PROMPT = Prompt("a red vase on the left of a clock", "spatial")
IMAGE = np.random.default_rng(0).integers(0, 256, (392, 392, 3), dtype=np.uint8)
SEMANTIC = SemanticQuery(PROMPT, CHAIN)

Build = Callable[..., OpenAIJudge]


@pytest.fixture
def build() -> Iterator[Build]:
    """`build(server, ..., setting=value)`: a judge of these servers, in a hurry."""
    judges: list[OpenAIJudge] = []

    def make(*servers: ScriptedServer | str, wording: Any = None, **given: Any) -> OpenAIJudge:
        values = {
            "model": "scripted",
            "urls": [one if isinstance(one, str) else one.url for one in servers],
            "timeout": 30.0,
            "first_wait": 0.01,
        } | given
        judges.append(OpenAIJudge(OpenAISettings(**values), wording or MLLMSettings()))
        return judges[-1]

    yield make
    for judge in judges:
        judge.close()


def number_of(request: Request) -> int:
    """The number that `numbered` put into a prompt."""
    return int(request.text.split("number-")[1].split("-")[0])


def numbered(number: int) -> SemanticQuery:
    return SemanticQuery(Prompt(f"a vase number-{number}-"), CHAIN)


def only(answers: list[Verdict | JudgeFailure]) -> Verdict | JudgeFailure:
    (answer,) = answers
    return answer


# -- what is sent ----------------------------------------------------------------------------------


def test_a_request_says_the_model_the_wording_and_how_to_answer(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with ScriptedServer(lambda request: score()) as server:
        wording = MLLMSettings(max_tokens=99, temperature=0.25)
        judge = build(
            server,
            wording=wording,
            model="qwen",
            extra_body={"top_k": 5},
            api_key_env="OPENAI_API_KEY",
        )
        answer = only(judge.judge([SEMANTIC]))
    assert isinstance(answer, Verdict)
    assert answer.score == 0.7
    assert json.loads(answer.reply)["score"] == 7
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer secret"
    sent = {
        key: value
        for key, value in request.body.items()
        if key not in ("messages", "response_format")
    }
    assert sent == {
        "model": "qwen",
        "max_tokens": 99,
        "temperature": 0.25,
        "seed": 0,
        "top_k": 5,
    }
    assert "a red vase on the left of a clock" in request.text
    assert "<|" not in request.text
    assert request.images == []


def test_pictures_arrive_as_they_were(build: Build) -> None:
    """392 is a multiple of 28: nothing is resized, and PNG changes no pixel."""
    with ScriptedServer(lambda request: score()) as server:
        build(server).judge([ImageQuery(PROMPT, IMAGE)])
    (image,) = server.requests[0].images
    assert np.array_equal(image, IMAGE)


def test_the_layout_is_judged_by_a_drawing(build: Build) -> None:
    with ScriptedServer(lambda request: score(9)) as server:
        answer = only(build(server).judge([SpatialQuery(PROMPT, CHAIN)]))
    assert isinstance(answer, Verdict)
    assert answer.score == 0.9
    (drawing,) = server.requests[0].images
    assert drawing.ndim == 3
    assert "100,200" not in server.requests[0].text


def test_each_planned_name_is_located_in_the_image(build: Build) -> None:
    def locate(request: Request) -> Action:
        left = "red vase" in request.text
        box = [39.2, 78.4, 156.8, 352.8] if left else [235.2, 78.4, 352.8, 196.0]
        return Reply("```json\n" + json.dumps([{"bbox_2d": box, "label": "it"}]) + "\n```")

    with ScriptedServer(locate) as server:
        answer = only(build(server).judge([GroundingQuery(CHAIN, IMAGE)]))
    assert isinstance(answer, Verdict)
    assert answer.score is None
    found = {item.name: item.box for item in answer.found}
    assert found.keys() == {"red vase", "clock"}
    for name, wanted in (("red vase", Box(100, 200, 400, 900)), ("clock", Box(600, 200, 900, 500))):
        got = found[name]
        assert max(abs(getattr(got, k) - getattr(wanted, k)) for k in ("x1", "y1", "x2", "y2")) <= 1
    assert len(server.requests) == 2


def test_a_key_is_needed_only_where_one_is_named(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ScriptedServer(lambda request: score()) as server:
        assert isinstance(only(build(server).judge([SEMANTIC])), Verdict)
        with pytest.raises(BadInput, match=r"api_key_env is MY_KEY.*export MY_KEY="):
            build(server, api_key_env="MY_KEY")
        monkeypatch.setenv("MY_KEY", "mine")
        build(server, api_key_env="MY_KEY").judge([SEMANTIC])
    assert server.requests[-1].headers["authorization"] == "Bearer mine"


@pytest.mark.parametrize(
    ("url", "named", "key"),
    [
        ("https://api.openai.com/v1", False, "secret"),
        ("https://api.openai.com.example.org/v1", False, "none"),
        ("http://api.openai.com/v1", False, "none"),
        ("https://judges.example.org/v1", False, "none"),
        ("http://localhost:8000/v1", False, "none"),
        ("https://judges.example.org/v1", True, "secret"),
        ("http://localhost:8000/v1", True, "secret"),
        ("http://[::1]:8000/v1", True, "secret"),
    ],
)
def test_a_key_goes_only_to_whom_it_was_named_for(
    monkeypatch: pytest.MonkeyPatch, url: str, named: bool, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    given = {"api_key_env": "OPENAI_API_KEY"} if named else {}
    assert OpenAISettings(model="m", urls=[url], **given).key(url) == key


def test_a_server_that_nobody_named_a_key_for_sees_none(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with ScriptedServer(lambda request: score()) as server:
        build(server).judge([SEMANTIC])
    assert "secret" not in str(dict(server.requests[-1].headers))


def test_no_key_travels_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    settings = OpenAISettings(model="m", urls=["http://gpu1:8000/v1"], api_key_env="MY_KEY")
    with pytest.raises(BadInput, match="gpu1 would get the key of MY_KEY over plain http"):
        OpenAIJudge(settings, MLLMSettings())


# -- failures that pass ----------------------------------------------------------------------------

PAST = "Wed, 21 Oct 2015 07:28:00 GMT"

PASSING: dict[str, Action] = {
    "429": Status(429),
    "429 with Retry-After": Status(429, headers={"retry-after": "0.05"}),
    "429 with a date": Status(429, headers={"retry-after": PAST}),
    "429 with nonsense": Status(429, headers={"retry-after": "soon"}),
    "500": Status(500),
    "503 with Retry-After": Status(503, headers={"retry-after": "0.05"}),
    "dropped": Drop(),
    "reset": Drop(reset=True),
    "half-closed in the body": Half(),
    "empty body": Raw(b""),
    "empty text": Raw(b"", "text/plain"),
    "a web page": Raw(b"<html>busy</html>", "text/html"),
    "no JSON": Raw(b"{"),
    "wrong JSON": Raw(b'{"choices": []}'),
    "an error with status 200": Raw(b'{"error": {"message": "out of memory"}}'),
    "cut off": Reply('{"score": 7}', finish="length"),
    "garbage": Reply("as an AI I see 7 of them"),
    "refusal": Reply("I'm sorry, I can't help with that."),
    "silence": Reply(""),
}


@dataclass
class Waits:
    """Endpoints whose clock only moves when they wait."""

    servers: list[ScriptedServer]
    waited: list[float] = field(default_factory=list)

    async def fail(self) -> None:
        now = 0.0

        async def sleep(seconds: float) -> None:
            nonlocal now
            self.waited.append(seconds)
            now += seconds

        endpoints = Endpoints(
            [connect(server.url, "none", 1) for server in self.servers],
            timeout=30.0,
            retries=5,
            first_wait=0.5,
            key_name="OPENAI_API_KEY",
            jitter=random.Random(0),
            clock=lambda: now,
            sleep=sleep,
        )
        with pytest.raises(Unanswered):
            await endpoints.complete({"model": "m", "messages": []})
        for one in endpoints.endpoints:
            await one.close()


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("told", ["0", "-3", "0.2", PAST])
def test_a_short_retry_after_does_not_switch_backoff_off(code: int, told: str) -> None:
    with ScriptedServer(lambda request: Status(code, headers={"retry-after": told})) as server:
        waits = Waits([server])
        asyncio.run(waits.fail())
    own = [0.5, 1.0, 2.0, 4.0, 8.0]
    assert len(server.requests) == 6
    assert all(w <= got <= 1.5 * w for w, got in zip(own, waits.waited, strict=True))
    assert len({got / w for w, got in zip(own, waits.waited, strict=True)}) == 5  # jitter


def test_a_long_retry_after_is_waited_for() -> None:
    with ScriptedServer(lambda request: Status(429, headers={"retry-after": "20"})) as server:
        waits = Waits([server])
        asyncio.run(waits.fail())
    assert len(waits.waited) == 5
    assert all(20 <= got <= 30 for got in waits.waited)


def test_two_broken_servers_are_not_asked_in_turn_without_a_wait() -> None:
    broken = lambda request: Status(500)  # noqa: E731
    with ScriptedServer(broken) as one, ScriptedServer(broken) as other:
        waits = Waits([one, other])
        asyncio.run(waits.fail())
    # The first fault moves the request to the other server at once; from there on it waits.
    assert len(one.requests) + len(other.requests) == 6
    assert len(waits.waited) >= 3
    assert sum(waits.waited) > 4.0


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_passes_is_tried_again(build: Build, fault: Action) -> None:
    with ScriptedServer(in_turn([fault, fault, score(4)])) as server:
        answer = only(build(server).judge([SEMANTIC]))
    assert isinstance(answer, Verdict)
    assert answer.score == 0.4
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_does_not_pass_is_a_failure_and_never_a_score(build: Build, fault: Action) -> None:
    with ScriptedServer(lambda request: fault) as server:
        judge = build(server, retries=2, wording=MLLMSettings(retries_unreadable=2))
        answer = only(judge.judge([SEMANTIC]))
    assert isinstance(answer, JudgeFailure)
    assert answer.reason
    assert len(server.requests) == 3
    if isinstance(fault, Reply):
        assert answer.reply == fault.text


def test_an_answer_that_takes_too_long_is_asked_for_again(build: Build) -> None:
    with ScriptedServer(in_turn([Slow(60, score(1)), score(8)])) as server:
        answer = only(build(server, timeout=1.0).judge([SEMANTIC]))
        assert isinstance(answer, Verdict)
        assert answer.score == 0.8


def test_nobody_there(build: Build) -> None:
    with ScriptedServer(lambda request: score()) as server:
        url = server.url  # nobody listens there any more
    answer = only(build(url, retries=1).judge([SEMANTIC]))
    assert isinstance(answer, JudgeFailure)
    assert f"{url} cannot be reached" in answer.reason


def test_unreadable_replies_are_asked_again_with_another_seed_and_some_temperature(
    build: Build,
) -> None:
    with ScriptedServer(in_turn([Reply("?"), Reply('{"score": "many"}'), score(3)])) as server:
        answer = only(build(server, wording=MLLMSettings(retries_unreadable=2)).judge([SEMANTIC]))
    assert isinstance(answer, Verdict)
    sent = [(request.body["seed"], request.body["temperature"]) for request in server.requests]
    assert sent == [(0, 0.0), (1, 0.7), (2, 0.7)]


def test_tokens_are_all_that_were_written_for_the_ask(build: Build) -> None:
    """The scripted server says 10 a completion."""
    with ScriptedServer(in_turn([Reply("?"), Status(500), score(3)])) as server:
        assert only(build(server).judge([SEMANTIC])).tokens == 20
    with ScriptedServer(lambda request: Reply("?")) as server:
        failed = only(build(server, wording=MLLMSettings(retries_unreadable=2)).judge([SEMANTIC]))
        assert isinstance(failed, JudgeFailure)
        assert failed.tokens == 30
    with ScriptedServer(lambda request: Reply("[]")) as server:
        assert only(build(server).judge([GroundingQuery(CHAIN, IMAGE)])).tokens == 20  # two names


@pytest.mark.parametrize("usage", [{}, None, [], {"completion_tokens": True}, "many"])
def test_a_server_may_keep_its_count_to_itself(build: Build, usage: object) -> None:
    body = {"choices": [{"message": {"content": '{"score": 7}'}}], "usage": usage}
    with ScriptedServer(lambda request: Raw(json.dumps(body).encode())) as server:
        answer = only(build(server).judge([SEMANTIC]))
    assert isinstance(answer, Verdict)
    assert answer.tokens is None


def test_a_name_that_cannot_be_located_fails_the_ask(build: Build) -> None:
    def script(request: Request) -> Action:
        if "clock" in request.text:
            return Reply("somewhere on the right")
        return Reply('[{"bbox_2d": [1, 2, 30, 40]}]')

    with ScriptedServer(script) as server:
        answer = only(build(server).judge([GroundingQuery(CHAIN, IMAGE)]))
    assert isinstance(answer, JudgeFailure)
    assert answer.reply == "somewhere on the right"


# -- failures that do not --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Status(400, "prompt too long"), r"refuses the request \(400: prompt too long\)"),
        (Status(401, "no such key"), r"refuses the key \(no such key\): export OPENAI_API_KEY"),
        (Status(403, "not yours"), r"refuses the key \(not yours\)"),
        (Status(404, "no model"), r"does not know the model 'scripted'.*/v1/models lists"),
        (Status(422, "what?"), r"refuses the request \(422: what\?\)"),
    ],
)
def test_what_is_refused_is_not_sent_again(build: Build, fault: Action, told: str) -> None:
    with ScriptedServer(lambda request: fault) as server:
        answer = only(build(server).judge([SEMANTIC]))
    assert isinstance(answer, JudgeFailure)
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(answer.reason)
    assert len(server.requests) == 1


# A server that answers 200 may say anything at all.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "error", "refusal", "index"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(body=json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30))
def test_no_body_breaks_the_judge(fuzzed: tuple[list[bytes], OpenAIJudge], body: bytes) -> None:
    said, judge = fuzzed
    said[:] = [body]
    assert isinstance(only(judge.judge([SEMANTIC])), JudgeFailure)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[list[bytes], OpenAIJudge]]:
    """A judge of a server that says what stands in the list, and that never rests."""
    said = [b""]
    with ScriptedServer(lambda request: Raw(said[0])) as server:
        chosen = OpenAISettings(model="m", urls=[server.url], retries=0, first_wait=1e-6)
        judge = OpenAIJudge(chosen, MLLMSettings(retries_unreadable=0))
        yield said, judge
        judge.close()


# -- many at once ----------------------------------------------------------------------------------


def test_no_more_requests_are_open_than_allowed_and_order_is_kept(build: Build) -> None:
    def later_ones_first(request: Request) -> Action:
        number = number_of(request)
        return Slow(0.002 * (100 - number), score(number % 11))

    with ScriptedServer(later_ones_first) as server:
        answers = build(server, concurrency=7).judge([numbered(n) for n in range(100)])
    assert [answer.score for answer in answers if isinstance(answer, Verdict)] == [
        pytest.approx(n % 11 / 10) for n in range(100)
    ]
    assert server.most == 7


@pytest.mark.slow
def test_thousands_of_queries_at_concurrency_64_lose_none() -> None:
    """Each query meets, by its number, one of the failures on its way to a score of its own; all go
    through the worker process, as those of a run do."""
    faults = [None, *PASSING.values()]
    met: set[int] = set()

    def script(request: Request) -> Action:
        number = number_of(request)
        fault = faults[number % 97] if number % 97 < len(faults) else None
        if fault is not None and number not in met:
            met.add(number)
            return fault
        return score(number % 1001 / 100)

    with ScriptedServer(script) as server:
        chosen = OpenAISettings(
            model="scripted", urls=[server.url], concurrency=64, retries=50, first_wait=0.01
        )
        judge = WorkerJudge(chosen, MLLMSettings())
        answers = judge.judge([numbered(n) for n in range(2_000)])
        judge.close()
    assert len(answers) == 2_000
    assert [answer.score for answer in answers if isinstance(answer, Verdict)] == [
        pytest.approx(n % 1001 / 1000) for n in range(2_000)
    ]
    assert server.most <= 64
    assert len(server.requests) == 2_000 + len(met)


def test_two_threads_share_the_open_requests(build: Build) -> None:
    def held(request: Request) -> Action:  # until as many are open as may be
        return Held(lambda: server.most >= 5, score(number_of(request) % 11))

    with ScriptedServer(held) as server:
        judge = build(server, concurrency=5)
        said: dict[int, list[Verdict | JudgeFailure]] = {}

        def ask(start: int) -> None:
            said[start] = judge.judge([numbered(n) for n in range(start, start + 40)])

        threads = [threading.Thread(target=ask, args=(start,)) for start in (0, 1000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for start, answers in said.items():
        assert [getattr(answer, "score", None) for answer in answers] == [
            pytest.approx(n % 11 / 10) for n in range(start, start + 40)
        ]
    assert server.most == 5


def test_nothing_asked_is_nothing_answered(build: Build) -> None:
    assert build("http://127.0.0.1:9/v1").judge([]) == []


# -- several endpoints -----------------------------------------------------------------------------


def test_the_load_goes_to_who_is_free(build: Build) -> None:
    """One server answers at once, the other not before the first has been asked a hundred times."""
    held_at_a_hundred: list[int] = []

    def at_once(request: Request) -> Action:
        if request.number == 100:
            held_at_a_hundred.append(len(busy.requests))
        return score(1)

    free = ScriptedServer(at_once)
    busy = ScriptedServer(lambda request: Held(lambda: bool(held_at_a_hundred), score(2)))
    with free, busy:
        answers = build(free, busy, concurrency=8).judge([numbered(n) for n in range(160)])
    assert all(isinstance(answer, Verdict) for answer in answers)
    assert len(free.requests) + len(busy.requests) == 160
    assert held_at_a_hundred[0] in (4, 5)  # half of the eight, and kept waiting no others


@pytest.mark.parametrize("fault", [Status(500), Drop(), Raw(b"{"), Status(429)], ids=str)
def test_a_broken_endpoint_rests_while_the_other_works(build: Build, fault: Action) -> None:
    """It answers fastest, and would otherwise be asked for everything."""
    broken = ScriptedServer(lambda request: fault)
    good = ScriptedServer(lambda request: Slow(0.01, score()))
    with broken, good:
        judge = build(broken, good, concurrency=8, first_wait=5.0)
        answers = judge.judge([numbered(n) for n in range(200)])
    assert all(isinstance(answer, Verdict) for answer in answers)
    assert len(good.requests) == 200
    assert len(broken.requests) < 30


def test_a_dead_endpoint_is_tried_again_and_comes_back(build: Build) -> None:
    with ScriptedServer(lambda request: score(2)) as gone:
        port = gone.port
    with ScriptedServer(lambda request: Slow(0.002, score(1))) as good:
        judge = build(f"http://127.0.0.1:{port}/v1", good)
        assert all(isinstance(answer, Verdict) for answer in judge.judge([numbered(0)] * 5))
        dead = judge.endpoints[0]
        assert dead.rests > 0
        with ScriptedServer(lambda request: score(2), port=port) as back:
            deadline = time.monotonic() + 60
            while not back.requests and time.monotonic() < deadline:
                judge.judge([numbered(n) for n in range(4)])
        assert back.requests
        assert dead.rests == 0


def test_when_all_are_dead_only_the_first_asks_wait(build: Build) -> None:
    """What a thousand queries cost is a few rounds of tries, not a round for each."""
    with ScriptedServer(lambda request: score()) as server:
        url = server.url
    judge = build(url, retries=2, concurrency=16, first_wait=0.2)
    answers = judge.judge([numbered(n) for n in range(1000)])
    reasons = [answer.reason for answer in answers if isinstance(answer, JudgeFailure)]
    assert len(reasons) == 1000
    assert all(f"{url} cannot be reached" in reason for reason in reasons)
    (dead,) = judge.endpoints
    assert 3 <= dead.rests <= 10
    assert dead.asked <= 16 * dead.rests


def test_one_bad_ask_does_not_put_a_good_endpoint_to_rest(build: Build) -> None:
    """A server that breaks on one picture still serves all others."""

    def script(request: Request) -> Action:
        return Status(500) if number_of(request) == 7 else Slow(0.001, score())

    with ScriptedServer(script) as server:
        judge = build(server, concurrency=8, retries=3)
        answers = judge.judge([numbered(n) for n in range(300)])
        assert judge.endpoints[0].rests == 0
    assert [n for n, answer in enumerate(answers) if isinstance(answer, JudgeFailure)] == [7]


# -- life and death --------------------------------------------------------------------------------


def test_a_judge_that_nobody_holds_leaves_no_thread(build: Build) -> None:
    before = threading.active_count()
    with ScriptedServer(lambda request: score()) as server:
        serving = threading.active_count()
        judge = OpenAIJudge(OpenAISettings(model="m", urls=[server.url]), MLLMSettings())
        judge.judge([SEMANTIC])
        assert threading.active_count() > serving
        del judge
        gc.collect()
        assert threading.active_count() == serving
    assert threading.active_count() == before


def test_a_closed_judge_may_be_closed_again(build: Build) -> None:
    judge = build("http://127.0.0.1:9/v1")
    judge.close()
    judge.close()


# -- where requests go, and how much is read -------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_not_followed(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-0123456789")
    with ScriptedServer(lambda request: score()) as other:
        location = {"location": f"{other.url}/chat/completions?api_key=abc"}
        with ScriptedServer(lambda request: Status(code, headers=location)) as server:
            answer = ask(server, ImageQuery(PROMPT, IMAGE), api_key_env="SOME_KEY")
            assert len(server.requests) == 1
    assert isinstance(answer, JudgeFailure)
    assert f"redirects to {other.url}/chat/completions, another server" in answer.reason
    assert other.requests == []


def test_a_redirect_on_the_same_server_is_followed() -> None:
    def script(request: Request) -> Action:
        if request.path.endswith("/v1/chat/completions"):
            return Status(307, headers={"location": "/v2/chat/completions"})
        return score()

    with ScriptedServer(script) as server:
        assert isinstance(ask(server), Verdict)


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1:{port}/v1", "https://127.0.0.1/v1", "http://["]
)
def test_neither_is_one_to_the_same_hosts_https(target: str) -> None:
    with ScriptedServer(
        lambda request: Status(308, headers={"location": target.format(port=server.port)})
    ) as server:
        answer = ask(server)
        assert len(server.requests) == 1
    assert isinstance(answer, JudgeFailure)
    assert "redirects to" in answer.reason


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("packed", [False, True])
def test_a_body_that_is_too_long_is_not_read(code: int, packed: bool) -> None:
    body = b"x" * (9 << 20)
    headers = {"content-encoding": "gzip"} if packed else {}
    body = gzip.compress(b"x" * (100 << 20)) if packed else body
    with ScriptedServer(lambda request: Raw(body, code=code, headers=headers)) as server:
        answer = ask(server, retries=1)
        assert len(server.requests) == 2
        assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}
    assert isinstance(answer, JudgeFailure)
    assert "a body of more than" in answer.reason


# -- what is kept of replies -----------------------------------------------------------------------


def test_of_a_long_reply_the_beginning_and_the_length_are_kept() -> None:
    text = "no score " * 500_000
    once = MLLMSettings(retries_unreadable=0)
    with ScriptedServer(lambda request: Reply(text)) as server, judge_of(server, wording=once) as j:
        (answer,) = answers_of(j, [SEMANTIC])
    assert isinstance(answer, JudgeFailure)
    assert len(answer.reply) == LONGEST_FAILED
    assert answer.reply.startswith("no score no score")
    assert answer.reply.endswith(f" ... ({len(text)} characters in all)")
    assert checked(SEMANTIC, answer) == answer


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (Reply('{"reasoning": "half \ud800", "score": 7}'), Verdict),
        (Reply("nothing \udc80"), JudgeFailure),
        (Status(400, "what \ud800"), JudgeFailure),
        (Raw(json.dumps({"error": "\ud800"}).encode()), JudgeFailure),
        (Raw(b'{"choices": ' * 5000), JudgeFailure),
        (Raw(b'{"choices": ' + b"[" * 90 + b"]" * 90 + b"}"), JudgeFailure),
        (Message({"content": json.loads("[" * 90 + "]" * 90)}), JudgeFailure),
        (Message({"reasoning": json.loads('{"a":' * 500 + "1" + "}" * 500)}), JudgeFailure),
        (Reply('{"score": ' + "1" * 6000 + "}"), JudgeFailure),
        (Reply("[" * 5000), JudgeFailure),
    ],
)
def test_what_is_kept_can_be_written(reply: Action, kept: type) -> None:
    """Half a surrogate pair, in whatever a server says, and nesting without end."""
    with ScriptedServer(lambda request: reply) as server:
        wording = MLLMSettings(retries_unreadable=0)
        with judge_of(server, retries=0, wording=wording) as judge:
            (answer,) = answers_of(judge, [SEMANTIC])
    assert isinstance(answer, kept)
    assert json.dumps(asdict(answer), ensure_ascii=False).encode()
