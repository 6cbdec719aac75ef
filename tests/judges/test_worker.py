"""The served judge in a worker process: the same answers, and what happens when a side dies."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from got_r1.errors import BadInput, RunFailed
from got_r1.judges.settings import MLLMSettings, OpenAISettings
from got_r1.judges.worker import WorkerJudge
from got_r1.plan.chain import parse
from got_r1.records import JudgeFailure, Prompt, SemanticQuery, Verdict
from judges.scripted_server import Held, Reply, Request, ScriptedServer, score

CHAIN = parse("A <|obj_start|>heart<|obj_end|> <|box_start|>(1,2),(300,400)<|box_end|>.")
PATIENCE = 120.0


def numbered(count: int, start: int = 0) -> list[SemanticQuery]:
    return [
        SemanticQuery(Prompt(f"a heart number-{n}-"), CHAIN) for n in range(start, start + count)
    ]


def answer(request: Request) -> Reply:
    return score(int(request.text.split("number-")[1].split("-")[0]) % 11)


def judge_of(server: ScriptedServer) -> WorkerJudge:
    return WorkerJudge(OpenAISettings(model="m", urls=[server.url]), MLLMSettings())


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as running:
        yield running


def test_answers_are_those_of_the_judge_inside_in_order(server: ScriptedServer) -> None:
    judge = judge_of(server)
    for _ in range(2):
        scores = [getattr(one, "score", None) for one in judge.judge(numbered(30))]
        assert scores == [pytest.approx(n % 11 / 10) for n in range(30)]
    assert judge.judge([]) == []
    judge.close()


def test_failures_come_with_their_reply() -> None:
    with ScriptedServer(lambda request: Reply("no comment")) as server:
        judge = judge_of(server)
        (said,) = judge.judge(numbered(1))
        judge.close()
    assert isinstance(said, JudgeFailure)
    assert said.reply == "no comment"


def test_a_batch_does_not_wait_for_another(server: ScriptedServer) -> None:
    """The first batch is answered only when the second one has been."""
    second = threading.Event()

    def script(request: Request) -> Held | Reply:
        late = "number-1-" in request.text
        return Held(second.is_set, answer(request)) if late else answer(request)

    server.script = script
    judge = judge_of(server)
    first: list[object] = []
    waiting = threading.Thread(target=lambda: first.extend(judge.judge(numbered(1, start=1))))
    waiting.start()
    assert len(judge.judge(numbered(1, start=2))) == 1
    second.set()
    waiting.join(PATIENCE)
    assert len(first) == 1
    judge.close()


def test_a_worker_that_is_killed_ends_the_run_in_a_sentence(server: ScriptedServer) -> None:
    server.script = lambda request: Held(lambda: False, score())  # never answers
    judge = judge_of(server)
    errors: list[BaseException] = []

    def ask() -> None:
        with pytest.raises(RunFailed, match=r"has ended \(exit code -9\): start again") as caught:
            judge.judge(numbered(1))
        errors.append(caught.value)

    waiting = threading.Thread(target=ask)
    waiting.start()
    wait_for(lambda: bool(server.requests))
    os.kill(judge._worker._process.pid, signal.SIGKILL)
    waiting.join(PATIENCE)
    assert len(errors) == 1
    ask()  # nor does it hang afterwards
    judge.close()


def test_a_judge_that_nobody_holds_leaves_no_process(server: ScriptedServer) -> None:
    """No thread and no pipe either. A process that nobody waited for would keep its number."""
    gc.collect()  # what earlier tests have left
    threads, pipes = threads_and_pipes()
    for _ in range(3):
        judge = judge_of(server)
        assert isinstance(judge.judge(numbered(1))[0], Verdict)
        pid = judge._worker._process.pid
        del judge
        gc.collect()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    # The server's side closes when it notices. Something of earlier tests may go meanwhile, too.
    wait_for(lambda: threads_and_pipes()[0] <= threads and threads_and_pipes()[1] <= pipes)


def test_a_closed_judge_is_gone(server: ScriptedServer) -> None:
    judge = judge_of(server)
    judge.close()
    judge.close()
    with pytest.raises(RunFailed, match="has ended"):
        judge.judge(numbered(1))


@pytest.mark.parametrize("error", [BadInput("a sentence"), RunFailed("a sentence")])
def test_errors_for_people_keep_their_kind(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    with (
        closing(answered_by(monkeypatch, error)) as judge,
        pytest.raises(type(error), match=r"^a sentence$"),
    ):
        judge.judge([])
    out, err = capfd.readouterr()
    assert (out, err) == ("", "noise\n")  # what is printed there is seen, and breaks no answer


def test_faults_come_with_where_they_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        closing(answered_by(monkeypatch, ZeroDivisionError("oh"))) as judge,
        pytest.raises(RuntimeError, match=r"(?s)worker.*Traceback.*ZeroDivisionError: oh"),
    ):
        judge.judge([])


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_the_worker_ends_with_its_parent(
    server: ScriptedServer, tmp_path: Path, end: signal.Signals
) -> None:
    """Killed, or by Ctrl-C, which the terminal sends to both."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import signal, sys, time\n"
        # Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from got_r1.judges.worker import WorkerJudge\n"
        "from got_r1.judges.settings import MLLMSettings, OpenAISettings\n"
        f"judge = WorkerJudge(OpenAISettings(model='m', urls=['{server.url}']), MLLMSettings())\n"
        "print(judge.judge([]), judge._worker._process.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline().split()[1])
    if end == signal.SIGINT:
        os.killpg(parent.pid, end)
    else:
        parent.send_signal(end)
    parent.wait(PATIENCE)
    parent.stdout.close()
    wait_for(lambda: not running(worker))


def answered_by(monkeypatch: pytest.MonkeyPatch, error: Exception) -> WorkerJudge:
    """A judge whose worker raises `error` at every batch: its own loop, around a broken judge."""
    code = (
        "from got_r1.errors import *; from got_r1.judges import openai_api, worker\n"
        "class Broken:\n"
        "    def __init__(self, *settings): pass\n"
        f"    def judge(self, queries): print('noise', flush=True); raise {error!r}\n"
        "openai_api.OpenAIJudge = Broken; worker.serve()"
    )
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **kept: start([command[0], "-c", code], **kept)
    )
    return WorkerJudge(OpenAISettings(model="m", urls=["http://127.0.0.1:9/v1"]), MLLMSettings())


def threads_and_pipes() -> tuple[int, int]:
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
