"""Every long command, killed again and again and started again as documented, ends as one that
nobody killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from drills.killing import Command, assert_same_files, drill, rounds
from got_r1.icons.data import triples
from got_r1.training import rl, vq
from small_runs import MakeRecipe, assert_same_run

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
                "exists and is not an empty folder",
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
    record_property("kills", drill(name, command(name), tmp_path, rounds(long_form)))
