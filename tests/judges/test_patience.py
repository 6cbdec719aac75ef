"""Servers that are gone for a while are waited for; what is the query's own fault is not."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from got_r1.judges import load_judge
from got_r1.judges.cache import CachedJudge
from got_r1.judges.completions import Completion
from got_r1.judges.endpoints import Endpoints, Unanswered, connect
from got_r1.judges.worker import WorkerJudge
from got_r1.recipes.sections import JudgeSection
from got_r1.records import JudgeFailure
from judges.asking import ask, judge_of, numbered
from judges.scripted_server import (
    Action,
    Drop,
    Mortal,
    Raw,
    Request,
    ScriptedServer,
    Slow,
    Status,
    score,
)

# -- on a clock of our own -------------------------------------------------------------------------


@dataclass
class Clocked:
    """Endpoints whose clock only moves when they wait."""

    servers: list[ScriptedServer]
    patience: float
    now: float = 0.0
    said: list[str] = field(default_factory=list)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds

    async def _ask(self, times: int) -> list[Completion | Unanswered]:
        endpoints = Endpoints(
            [connect(server.url, "none", 1) for server in self.servers],
            timeout=30.0,
            retries=5,
            first_wait=0.5,
            key_name="OPENAI_API_KEY",
            patience=self.patience,
            jitter=random.Random(0),
            clock=lambda: self.now,
            sleep=self._sleep,
            say=self.said.append,
        )
        came: list[Completion | Unanswered] = []
        for _ in range(times):
            try:
                came.append(await endpoints.complete({"model": "m", "messages": []}))
            except Unanswered as error:
                came.append(error)
        for one in endpoints.endpoints:
            await one.close()
        return came

    def ask(self, times: int = 1) -> list[Completion | Unanswered]:
        return asyncio.run(self._ask(times))


GONE: dict[str, Action] = {
    "503": Status(503),
    "502": Status(502),
    "429": Status(429),
    "500 with Retry-After": Status(500, headers={"retry-after": "1"}),
}


@pytest.mark.parametrize("fault", GONE.values(), ids=GONE.keys())
def test_a_server_that_is_gone_for_a_minute_costs_about_a_minute(fault: Action) -> None:
    clocked: Clocked
    with ScriptedServer(lambda request: fault if clocked.now < 60 else score()) as server:
        clocked = Clocked([server], patience=600)
        (came,) = clocked.ask()
    assert isinstance(came, Completion)
    assert 60 <= clocked.now < 85
    begins, ends = clocked.said
    assert f"{server.url} " in begins
    assert "waiting up to 600 s (judge.patience)" in begins
    assert f"{server.url} answers again, after" in ends


@pytest.mark.parametrize("fault", GONE.values(), ids=GONE.keys())
def test_patience_ends_and_then_queries_fail_at_once(fault: Action) -> None:
    with ScriptedServer(lambda request: fault) as server:
        clocked = Clocked([server], patience=600)
        first, *others = clocked.ask(20)
    assert all(isinstance(came, Unanswered) for came in (first, *others))
    assert 600 <= clocked.now < 700
    begins, ends = clocked.said
    assert "waiting up to 600 s" in begins
    assert "no answer within 600 s (judge.patience): giving up" in ends


def test_nobody_listens_is_gone_too() -> None:
    with ScriptedServer(lambda request: score()) as server:
        pass
    clocked = Clocked([server], patience=600)
    (came,) = clocked.ask()
    assert isinstance(came, Unanswered)
    assert "cannot be reached" in came.reason
    assert 600 <= clocked.now < 640


def test_a_short_hiccup_is_not_worth_a_word() -> None:
    def script(request: Request) -> Action:
        return Status(429) if request.number % 2 == 0 else score()

    with ScriptedServer(script) as server:
        clocked = Clocked([server], patience=600)
        assert all(isinstance(came, Completion) for came in clocked.ask(10))
    assert clocked.said == []


@pytest.mark.parametrize(
    "fault", [Status(500), Status(504), Drop(), Drop(reset=True), Raw(b"{")], ids=str
)
def test_what_the_query_itself_may_have_caused_has_its_retries_and_no_more(fault: Action) -> None:
    with ScriptedServer(lambda request: fault) as server:
        clocked = Clocked([server], patience=600)
        (came,) = clocked.ask()
        assert len(server.requests) == 6
    assert isinstance(came, Unanswered)
    assert clocked.now < 60
    assert clocked.said == []


def test_another_server_is_asked_meanwhile() -> None:
    with (
        ScriptedServer(lambda request: Status(503)) as away,
        ScriptedServer(lambda request: score()) as here,
    ):
        clocked = Clocked([away, here], patience=600)
        assert all(isinstance(came, Completion) for came in clocked.ask(30))
    assert clocked.now < 1
    assert clocked.said == []


# -- on the real clock -----------------------------------------------------------------------------


def test_one_query_that_others_are_answered_around_is_not_waited_for() -> None:
    """A server that calls itself busy for one query only is not gone."""

    def script(request: Request) -> Action:
        return Status(429) if "number-7-" in request.text else Slow(0.01, score())

    with (
        ScriptedServer(script) as server,
        judge_of(server, concurrency=4, retries=2, patience=1e6) as judge,
    ):
        answers = judge.judge([numbered(n) for n in range(200)])
    failed = [n for n, answer in enumerate(answers) if isinstance(answer, JudgeFailure)]
    assert failed == [7]


def test_without_patience_a_dead_server_fails_as_ever() -> None:
    with ScriptedServer(lambda request: score()) as server:
        pass
    answer = ask(server, retries=1)
    assert isinstance(answer, JudgeFailure)
    assert "cannot be reached" in answer.reason


def test_a_server_that_is_killed_and_comes_back_loses_no_query(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def script(request: Request) -> Action:
        return score(int(request.text.split("number-")[1].split("-")[0]) % 11)

    mortal = Mortal(script, dies_at=40, after=1.0)
    with mortal, judge_of(mortal.url, concurrency=8, retries=3, patience=300) as judge:
        answers = judge.judge([numbered(n) for n in range(120)])
    assert [getattr(answer, "score", None) for answer in answers] == [
        pytest.approx(n % 11 / 10) for n in range(120)
    ]
    assert mortal.lives[1].requests
    begins, ends = capfd.readouterr().err.splitlines()
    assert begins.startswith("got-r1: judge: ")
    assert "waiting up to 300 s (judge.patience)" in begins
    assert "answers again, after" in ends


def test_a_recipes_patience_reaches_the_worker_and_a_commands_judge_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[float] = []
    start = WorkerJudge.__init__

    def spied(self: WorkerJudge, settings: Any, wording: Any, patience: float = -1.0) -> None:
        given.append(patience)
        start(self, settings, wording, patience)

    monkeypatch.setattr(WorkerJudge, "__init__", spied)
    spec = "openai:Qwen2.5-VL@http://127.0.0.1:9/v1"
    file = tmp_path / "judge.yaml"
    file.write_text("openai: {model: Qwen2.5-VL, urls: http://127.0.0.1:9/v1}")
    for judge in (
        JudgeSection(spec=spec),
        JudgeSection(spec=str(file), patience=7),
        JudgeSection(spec="oracle", r_pi=spec, patience=8),
        spec,
        str(file),
    ):
        load_judge(judge)
    assert given == [600.0, 7.0, 8.0, 0.0, 0.0]
    assert isinstance(load_judge(spec), CachedJudge)
