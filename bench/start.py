"""How long a command takes to answer: `--help`, mistakes that it refuses, the first picture.

    PYTHONPATH=src python bench/start.py --rounds 5

Each command runs N times (5) in a process of its own, in turn with the others, after one round that
writes the bytecode and is not counted. Medians of wall time and of the processor time of all its
threads are printed beside the targets, which are for two cores with nothing else to do: on a busy
machine only processor time can be compared. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

REFUSED = 2  # the exit code of bad input
POLL = 0.02  # seconds between looks for the first picture


@dataclass
class Case:
    """A command, what is expected of it, and what was measured."""

    name: str
    words: list[str]
    target: float  # seconds
    code: int = REFUSED
    picture: bool = False  # measured until the first picture is there, not until the end
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def cases(folder: Path) -> list[Case]:
    """The commands; `folder` is empty and becomes what they are wrong about."""
    full, text, none, new = (folder / name for name in ("full", "text.txt", "none", "new"))
    full.mkdir()
    (full / "note.txt").write_text("in the way")
    text.write_bytes(b"\xff\xfe no text")
    sample = ["sample", "--prompt", "a red star above a blue tree"]
    train = ["train", "rl", "icons", f"run.dir={new}"]
    mistakes = {
        "an unknown command": ["smaple"],
        "an unknown option": [*sample, "--model", "icons", "--out", str(new), "--sede", "1"],
        "a folder that is in use": [*sample, "--model", "icons", "--out", str(full)],
        "a model that is not there": [*sample, "--model", str(none), "--out", str(new)],
        "an unreadable prompt file": [
            "sample", "--prompts", str(text), "--model", "icons", "--out", str(new)
        ],
        "an unknown setting": [*train, "rl.lr=1e-4"],
        "a value out of range": [*train, "rl.group=0"],
        "an unknown judge": [*train, "judge=orakel"],
        "a run folder that is in use": [*train, f"run.dir={full}"],
        "a model to train that is not there": [*train, f"model.path={none}"],
        "an image that is not there": [
            "score", "--prompt", "x", "--chain", str(none), "--image", str(none)
        ],
        "an unknown judge to audit": ["audit", "judge", "--judge", "orakel"],
    }  # fmt: skip
    return [
        Case("--help", ["--help"], 1.0, code=0),
        Case("train --help", ["train", "--help"], 1.0, code=0),
        *(Case(name, words, 1.0) for name, words in mistakes.items()),
        Case(
            "sample, to the first picture",
            [*sample, "--model", "icons", "--n", "4", "--out", "OUT"],
            5.0,
            code=0,
            picture=True,
        ),
    ]


def measure(case: Case, folder: Path) -> None:
    """Runs a command once and keeps what it took. Raises SystemExit where it does not end as it
    should."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        out, log = Path(place) / "out", Path(place) / "said"
        words = [str(out) if word == "OUT" else word for word in case.words]
        with log.open("wb") as said:
            start = time.perf_counter()
            child = subprocess.Popen(
                [sys.executable, "-m", "got_r1", *words], stdout=said, stderr=said
            )
            reached = None
            while not (ended := os.wait4(child.pid, os.WNOHANG if case.picture else 0))[0]:
                if reached is None and (out / "000.png").exists():
                    reached = time.perf_counter() - start
                time.sleep(POLL)
            end = time.perf_counter() - start
        child.returncode = code = os.waitstatus_to_exitcode(ended[1])
        if code != case.code:
            told = log.read_text(errors="replace")
            sys.exit(f"{case.name} ended with {code}, not {case.code}:\n{told}")
    case.wall.append(end if reached is None else reached)
    case.processor.append(ended[2].ru_utime + ended[2].ru_stime)


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each (5)")
    rounds = parser.parse_args().rounds
    # Without bytecode every process would compile what it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "given").mkdir()
        measured = cases(Path(place) / "given")
        for _ in range(1 + rounds):
            for case in measured:
                measure(case, Path(place))
    load = os.getloadavg()[0]
    print(f"{rounds} rounds, {len(os.sched_getaffinity(0))} cores, load average {load:.1f}\n")
    print(f"{'':38}{'wall s':>8}{'CPU s':>8}{'target':>8}")
    missed = 0
    for case in measured:
        wall, processor = (statistics.median(seen[1:]) for seen in (case.wall, case.processor))
        missed += wall > case.target
        verdict = "met" if wall <= case.target else "missed"
        print(f"{case.name:38}{wall:8.2f}{processor:8.2f}{case.target:8.1f}  {verdict}")
    print(f"\n{len(measured) - missed} of {len(measured)} targets met")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
