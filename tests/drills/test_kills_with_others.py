"""Commands in which others take part (a judge's server, trackers, the hub, raters), killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from audit.conftest import MakeRun, make_run
from checkpoints.hub_server import HubServer
from checkpoints.test_hub import hub
from drills.killing import Command, assert_same_files, drill, rounds
from got_r1.cli import main
from got_r1.training import sft
from judges.scripted_server import Action, Reply, Request, ScriptedServer, score
from small_runs import MakeRecipe, assert_same_run

__all__ = ["hub", "make_run"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

Count = Callable[[str, object], None]


def answer(request: Request) -> Action:
    """The same to the same question, in whatever order questions come."""
    if '"bbox_2d"' in request.text:
        return Reply('{"label": "x", "bbox_2d": []}')
    return score(len(json.dumps(request.body["messages"])) % 11)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as server:
        yield server


def test_a_run_with_a_served_judge_and_trackers(
    server: ScriptedServer,
    make_recipe: MakeRecipe,
    long_form: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Count,
) -> None:
    if not long_form:
        pytest.skip("in the long form: make drills")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    judge = tmp_path / "judge.yaml"
    judge.write_text(f"openai: {{model: Qwen2.5-VL, urls: '{server.url}', first_wait: 0.01}}\n")

    def argv(folder: Path) -> list[str]:
        recipe = make_recipe(
            str(folder),
            run={"dir": str(folder), "seed": 5, "track": ["tensorboard", "wandb", "trackio"]},
            model={"path": "icons"},
            judge=str(judge),
            rollout={"chain_limit": 60, "guidance": 1.0},
            rl={"steps": 4, "prompts": 1, "save_every": 2, "sample_every": 1},
            eval={"prompts": 0},
        )
        path = folder.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(recipe.model_dump()))
        return ["train", "rl", str(path), "--json"]

    command = Command(argv, ["--resume"], assert_same_run)
    record_property("kills", drill("served", command, tmp_path, rounds(long_form)))


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own
def test_push(
    hub: HubServer,
    make_recipe: MakeRecipe,
    long_form: bool,
    tmp_path: Path,
    record_property: Count,
) -> None:
    if not long_form:
        pytest.skip("in the long form: make drills")
    recipe = make_recipe("run", sft={"steps": 1, "batch": 2}, eval={"prompts": 0})
    sft.train(recipe, quiet=True)

    def argv(folder: Path) -> list[str]:
        if not folder.exists():
            shutil.copytree(recipe.run.dir, folder)
        return ["push", str(folder), f"someone/{folder.parent.name}", "--json"]

    def newest(folder: Path) -> dict[str, Any]:
        *_, files = hub.repositories[f"someone/{folder.parent.name}"].commits.values()
        own = folder.parent.name.encode()
        return {
            name: content.replace(str(folder).encode(), b"RUN").replace(own, b"NAME")
            for name, content in files.items()
        }

    def same(one: Path, other: Path) -> None:
        assert newest(one) == newest(other)
        assert_same_files(one, other)

    record_property("kills", drill("push", Command(argv, [], same), tmp_path, rounds(long_form)))


@pytest.mark.parametrize("name", ["build", "import", "report"])
def test_a_study(
    name: str, make_run: MakeRun, long_form: bool, tmp_path: Path, record_property: Count
) -> None:
    if not long_form and name != "import":
        pytest.skip("in the long form: make drills")
    runs = [str(make_run(run, steps=2)) for run in ("run-1", "run-2")]
    build = ["audit", "human", "build", *runs, "--items", "20", "--out"]
    study, sheets = tmp_path / "study", []
    assert main([*build, str(study)]) == 0
    for rater in ("ann", "bob"):
        sheet = tmp_path / f"{rater}.csv"
        export = ["audit", "human", "export", str(study), "--rater", rater, "--out", str(sheet)]
        assert main(export) == 0
        first, *rows = sheet.read_text().splitlines()
        rated = [f"{row.removesuffix(',,,,')},{int(row[:3]) % 11},5,3," for row in rows]
        sheet.write_text("\n".join([first, *rated]) + "\n")
        sheets.append(str(sheet))

    def argv(folder: Path) -> list[str]:
        if name == "build":
            return [*build, str(folder)]
        if not folder.exists():
            shutil.copytree(study, folder)
            if name == "report":
                assert main(["audit", "human", "import", str(folder), *sheets]) == 0
        if name == "import":
            return ["audit", "human", "import", str(folder), *sheets, "--replace"]
        return ["audit", "human", "report", str(folder)]

    finished = "exists and is not an empty folder" if name == "build" else "\0"
    command = Command(argv, [], assert_same_files, finished)
    record_property("kills", drill(f"study {name}", command, tmp_path, rounds(long_form)))
