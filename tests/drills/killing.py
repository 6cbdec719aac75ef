"""A command that is killed again and again and started again as documented, against one that nobody
killed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drills.forks import Kill, run

KILLS = 3  # in a row, before the command is left to its end


@dataclass(frozen=True, slots=True)
class Command:
    """`argv(folder)` writes into `folder`; `again` is what it takes to go on; `same` compares two
    finished folders. Where it has finished, it may say `finished` and fail instead."""

    argv: Callable[[Path], list[str]]
    again: list[str]
    same: Callable[[Path, Path], None]
    finished: str = "\0"  # nothing


def rounds(long_form: bool) -> int:
    """Of each command."""
    return int(os.environ.get("GOT_R1_DRILL_ROUNDS", "12")) if long_form else 1


def drill(name: str, command: Command, folder: Path, rounds: int) -> int:
    """Runs a command to its end; then, `rounds` times, kills it up to three times, starts it again
    as documented, and compares. Returns how often it was killed."""
    whole = folder / "whole" / "out"
    whole.parent.mkdir()
    undisturbed = run(command.argv(whole), whole)
    assert undisturbed.code == 0, undisturbed.said
    assert undisturbed.changes
    chosen, kills = random.Random(name), 0
    for number in range(rounds):
        broken = folder / f"broken{number}" / "out"
        broken.parent.mkdir()
        again: list[str] = []
        for _ in range(KILLS):
            kill = choose_kill(chosen, undisturbed.changes, whole)
            ended = run([*command.argv(broken), *again], broken, kill)
            if ended.code >= 0:  # done before it came, or refused: what is there is finished
                assert ended.code == 0 or command.finished in ended.said, ended.said
                continue
            kills += 1
            again = command.again
        ended = run([*command.argv(broken), *again], broken)
        assert ended.code == 0 or command.finished in ended.said, ended.said
        command.same(whole, broken)
        shutil.rmtree(broken.parent)
    assert kills
    return kills


def choose_kill(chosen: random.Random, changes: int, whole: Path) -> Kill:
    """Mostly before a change of the file system, else in the middle of a write or at any time."""
    match chosen.choice(["change", "change", "bytes", "seconds"]):
        case "change":
            return Kill("change", chosen.randrange(changes))
        case "bytes":
            largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
            return Kill("bytes", int(largest ** chosen.random()))
        case _:
            return Kill("seconds", chosen.uniform(0, 4))


def assert_same_files(one: Path, other: Path) -> None:
    assert contents(one) == contents(other)


def contents(folder: Path) -> dict[str, object]:
    """Every file by its path in the folder: without its own path, and JSON without its times."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
            name = str(path.relative_to(folder))
            if name == "audit.html":  # it shows the judge's seconds; audit.json has the rest
                content = re.sub(rb"<td>[0-9.]+</td>", b"", content)
            found[name] = timeless(json.loads(content)) if path.suffix == ".json" else content
    return found


def timeless(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: timeless(item)
            for key, item in value.items()
            if "seconds" not in key and "time" not in key
        }
    return [timeless(item) for item in value] if isinstance(value, list) else value
