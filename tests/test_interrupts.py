"""Ctrl-C and SIGTERM end a run that waits for a judge, and what was trained stays resumable."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from judges.scripted_server import Action, Held, Reply, Request, ScriptedServer, score

pytestmark = pytest.mark.slow

# Whoever runs the tests in the background has Ctrl-C ignored, and children inherit that.
LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
RUN = f"{LISTEN}from got_r1.cli import run; run()"
PATIENCE = 500.0  # seconds; a busy machine is not a wrong program


def answer(request: Request) -> Action:
    if '"bbox_2d"' in request.text:
        return Reply('{"label": "x", "bbox_2d": []}')
    return score(request.number % 11)


@contextmanager
def started(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def recipe(folder: Path, url: str, **judge: str) -> tuple[str, Path]:
    run = folder / "run"
    path = folder / "recipe.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "run": {"dir": str(run)},
                "model": {"path": "icons"},
                "judge": {"spec": f"openai:Qwen2.5-VL@{url}", "cache": "off", **judge},
                "rollout": {"chain_limit": 60, "guidance": 1.0},
                "rl": {"steps": 3, "prompts": 1, "group": 4, "save_every": 1, "sample_every": 9},
                "eval": {"prompts": 0},
            }
        )
    )
    return str(path), run


@pytest.mark.parametrize(
    ("sent", "code", "told", "hangs_at", "judge"),
    [
        (signal.SIGINT, 130, "interrupted", "number 8", {}),  # both stages of a step wait
        (signal.SIGTERM, 143, "terminated", "a chain", {"r_pi": "oracle"}),  # a thread of a mixture
    ],
)
def test_a_run_whose_judge_hangs_ends_when_told_and_can_be_resumed(
    tmp_path: Path, sent: signal.Signals, code: int, told: str, hangs_at: str, judge: dict[str, str]
) -> None:
    open_again = False
    hanging: list[Request] = []

    def script(request: Request) -> Action:
        hangs = {
            "number 8": request.number >= 8,
            "a chain": "completeness" in request.text.lower(),
        }[hangs_at]
        if hangs and not open_again:
            hanging.append(request)
            return Held(lambda: False, score())
        return answer(request)

    with ScriptedServer(script) as server:
        path, run = recipe(tmp_path, server.url, **judge)
        with started(RUN, "train", "rl", path) as process:
            wait_for(lambda: bool(hanging), process)
            time.sleep(0.5)
            process.send_signal(sent)
            assert process.wait(60) == code
            assert process.stderr is not None
            assert f"got-r1: {told}; the same command goes on" in process.stderr.read()
        open_again = True
        with started(RUN, "train", "rl", path, "--resume") as process:
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


STUBBORN = (
    LISTEN + "import sys, time; from got_r1 import cli; cli.GRACE = float(sys.argv[1])\n"
    "cli.end_on_signals()\n"
    "ready = 'ready'\n"
    "while True:\n"
    "    try:\n"
    "        if ready:  # said inside: the signal comes at once\n"
    "            print(ready, flush=True)\n"
    "            ready = ''\n"
    "        time.sleep(1000)\n"
    "    except KeyboardInterrupt as error:\n"
    "        print(type(error).__name__, flush=True)\n"
)


@pytest.mark.parametrize(
    ("sent", "name", "code"),
    [(signal.SIGINT, "KeyboardInterrupt", 130), (signal.SIGTERM, "Terminated", 143)],
)
def test_a_process_that_does_not_come_to_an_end_is_ended(
    sent: signal.Signals, name: str, code: int
) -> None:
    with started(STUBBORN, "5") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        assert process.stdout.readline() == f"{name}\n"
        assert process.wait(60) == code
        assert process.stderr is not None
        assert "the same command goes on" in process.stderr.read()


def test_a_second_ctrl_c_ends_at_once() -> None:
    with started(STUBBORN, "1e6") as process:
        assert process.stdout is not None
        for said in ("ready\n", "KeyboardInterrupt\n"):
            assert process.stdout.readline() == said
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_an_ignored_signal_stays_ignored() -> None:
    code = (
        "import signal, os; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "from got_r1 import cli; cli.GRACE = 0.0; cli.end_on_signals()\n"
        "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('alive', flush=True)"
    )
    with started(code) as process:
        assert process.communicate(timeout=60)[0] == "alive\n"
        assert process.returncode == 0
