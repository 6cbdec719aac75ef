"""Every long command, killed again and again and started again as documented, ends as one that
nobody killed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from drills.killing import Ended, Kill, run
from got_r1.icons.data import triples
from got_r1.training import rl, vq
from small_runs import MakeRecipe, assert_same_run

ROUNDS = int(os.environ.get("GOT_R1_DRILL_ROUNDS", "12"))  # of each command, in the long form
KILLS = 3  # in a row, before the command is left to its end


@dataclass(frozen=True, slots=True)
class Command:
    """`argv(folder)` writes into `folder`; `again` is what it takes to go on; `same` compares two
    finished folders."""

    argv: Callable[[Path], list[str]]
    again: list[str]
    same: Callable[[Path, Path], None]


Commands = Callable[[str], Command]


@pytest.fixture
def command(
    model_folder: Path, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Commands:
    """The long commands by name, at a tiny size."""
    for name, value in (("CORPUS", 300), ("SCENES", 16), ("MEASURED", 16)):
        monkeypatch.setattr(vq, name, value)
    icons = {"model": {"path": "icons"}, "rollout": {"chain_limit": 60, "guidance": 1.0}}
    sections: dict[str, dict[str, Any]] = {
        "train vq": {},
        "train sft": {"sft": {"steps": 5, "batch": 4, "save_every": 2}},
        "train rl": icons | {"rl": {"steps": 4, "prompts": 1, "save_every": 2}},
        "prepare": {"data": {"size": 24, "shard_records": 4}},
    }

    def recipe(name: str, folder: Path) -> str:
        path = folder.with_suffix(".yaml")
        given = make_recipe(str(folder), **{"eval": {"prompts": 2}} | sections[name])
        path.write_text(yaml.safe_dump(given.model_dump()))
        return str(path)

    def training(stage: str) -> Command:
        return Command(
            lambda folder: ["train", stage, recipe(f"train {stage}", folder), "--json"],
            ["--resume"],
            assert_same_run,
        )

    def report_of(folder: Path) -> list[str]:
        if not folder.exists():
            shutil.copytree(finished_run(), folder)
        return ["report", str(folder)]

    def finished_run() -> Path:
        run_folder = tmp_path / "reported"
        if not run_folder.exists():
            rl.train(make_recipe("reported", **icons, eval={"prompts": 2}), quiet=True)
        return run_folder

    def make(name: str) -> Command:
        prompts = tmp_path / "color_val.txt"
        prompts.write_text("".join(f"{t.prompt.text}\n" for t in triples(3, seed=5)))
        model = ["--model", str(model_folder)]
        small = ["--batch", "2", "--seed", "9", "--guidance", "1", "--json"]
        commands = {
            "train vq": training("vq"),
            "train sft": training("sft"),
            "train rl": training("rl"),
            "prepare": Command(
                lambda folder: ["prepare", recipe("prepare", folder), str(folder), "--json"],
                [],
                assert_same_files,
            ),
            "sample": Command(
                lambda folder: [
                    *("sample", *model, "--prompts", str(prompts), "--n", "2", *small),
                    *("--chain-limit", "40", "--layout", "compbench", "--out", str(folder)),
                ],
                ["--resume"],
                assert_same_files,
            ),
            "eval run": Command(
                lambda folder: [
                    *("eval", "run", *model, "--prompts", "4", "--name", "m", *small),
                    *("--out", str(folder)),
                ],
                ["--resume"],
                assert_same_files,
            ),
            "audit judge": Command(
                lambda folder: ["audit", "judge", "--pairs", "2", "--out", str(folder), "--json"],
                [],
                assert_same_files,
            ),
            "convert": Command(
                lambda folder: ["convert", "--to-official", str(model_folder), str(folder)],
                [],
                assert_same_files,
            ),
            "report": Command(report_of, [], assert_same_files),
        }
        return commands[name]

    return make


LONG = [
    *("train vq", "train sft", "train rl", "prepare", "sample"),
    *("eval run", "audit judge", "convert", "report"),
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", LONG)
def test_a_killed_command_ends_as_an_undisturbed_one(
    name: str,
    command: Commands,
    long_form: bool,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    if not long_form and name not in ("prepare", "train sft"):
        pytest.skip("in the long form: make drills")
    drilled, whole = command(name), tmp_path / "whole" / "out"
    whole.parent.mkdir()
    undisturbed = run(drilled.argv(whole), whole)
    assert undisturbed.code == 0, undisturbed.said
    assert undisturbed.changes > 2
    chosen, kills, rounds = random.Random(name), 0, ROUNDS if long_form else 1
    for number in range(rounds):
        broken = tmp_path / f"broken{number}" / "out"
        broken.parent.mkdir()
        if name == "report":
            drilled.argv(broken)  # its run folder
        again: list[str] = []
        for _ in range(KILLS):
            kill = choose_kill(chosen, undisturbed.changes, whole)
            ended = run([*drilled.argv(broken), *again], broken, kill)
            if ended.code >= 0:  # done before it came, or refused: what is there is finished
                assert ended.code == 0 or already_converted(name, ended), ended.said
                continue
            kills += 1
            again = drilled.again
        ended = run([*drilled.argv(broken), *again], broken)
        assert ended.code == 0 or already_converted(name, ended), ended.said
        drilled.same(whole, broken)
        shutil.rmtree(broken.parent)
    assert kills
    record_property("kills", kills)


def already_converted(name: str, ended: Ended) -> bool:
    """A finished conversion is refused; that it is whole is compared."""
    refused = "exists and is not an empty folder" in ended.said
    return name == "convert" and ended.code == 2 and refused


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
