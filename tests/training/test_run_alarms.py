"""Alarms of real runs: told while they run, the same afterwards, and acted on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from got_r1.cli import main
from got_r1.errors import StoppedByAlarm
from got_r1.recipes.sections import Recipe
from got_r1.training import rl
from small_runs import MakeRecipe

# It likes whatever is drawn, and from its 12th batch on it likes nothing: each step has two
# batches, each look one, and one for the images that it is asked about again.
MOODY = """
from got_r1.records import FoundObject, GroundingQuery, Verdict

class Moody:
    asked = 0

    def judge(self, queries):
        self.asked += 1
        return [
            Verdict(None, found=tuple(FoundObject(o.name, o.box) for o in query.chain.objects))
            if isinstance(query, GroundingQuery)
            else Verdict(1.0 if self.asked < 12 else 0.1)
            for query in queries
        ]
"""


@pytest.fixture
def judge(tmp_path: Path) -> str:
    path = tmp_path / "moody.py"
    path.write_text(MOODY)
    return f"{path}:Moody"


def recipe_of(make_recipe: MakeRecipe, name: str, judge: str, **alarms: str) -> Recipe:
    return make_recipe(
        name,
        model={"path": "icons"},
        rollout={"chain_limit": 120, "guidance": 1.0},
        rl={"steps": 5, "prompts": 1, "group": 2, "learning_rate": 1e-5, "save_every": 1},
        judge={"spec": judge},
        eval={"prompts": 0, "probes": 0, "split": "dev"},
        watch={
            "judge": "oracle", "every": 1, "size": 10, "samples": 0, "window": 2, "alarms": alarms,
        },
    )  # fmt: skip


def alarms(folder: Path) -> list[dict[str, Any]]:
    path = folder / "alarms.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_run_tells_what_audit_run_tells_afterwards_and_a_killed_one_as_well(
    make_recipe: MakeRecipe, tmp_path: Path, judge: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rl.train(recipe_of(make_recipe, "whole", judge, saturation="save"), quiet=True)
    folder = tmp_path / "whole"
    live = alarms(folder)
    names = [alarm["name"] for alarm in live]
    assert "judge_drift" in names
    assert "dead_signal" in names  # all samples of a group got the same
    assert len(names) == len(set(names))
    for alarm in live:
        assert {"step", "since", "message", "cause", "advice", "samples"} <= alarm.keys()
        assert alarm["samples"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for alarm in live:
        assert rows[alarm["step"] - 1][f"alarm/{alarm['name']}"] == 1
    assert len(list((folder / "watched" / "step_000000").glob("*.png"))) == 10

    assert main(["audit", "run", str(folder), "--json"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["alarms"] == live
    assert "judge drift" in said.err

    # As if it had been killed behind the third step's checkpoint; the judge forgets its mood.
    torn = recipe_of(make_recipe, "torn", judge.replace("Moody", "Calm"))
    calm = MOODY.replace("class Moody", "class Calm").replace("if self.asked < 12", "")
    path = Path(judge.partition(":")[0])
    path.write_text(path.read_text() + calm.replace("else 0.1", ""))
    rl.train(torn, quiet=True)
    before = alarms(tmp_path / "torn")
    (tmp_path / "torn/checkpoints/step_000005").rename(tmp_path / "away")
    with (tmp_path / "torn/alarms.jsonl").open("a") as file:
        file.write('{"name": "kl", "step": 5}\n{"name": "co')
    rl.train(torn, resume=True, quiet=True)
    assert alarms(tmp_path / "torn") == before
    assert "dead_signal" in [alarm["name"] for alarm in before]
    assert "judge_drift" not in [alarm["name"] for alarm in before]


def test_save_keeps_a_checkpoint_and_stop_ends_the_run_which_can_go_on(
    make_recipe: MakeRecipe, tmp_path: Path, judge: str
) -> None:
    recipe = recipe_of(make_recipe, "run", judge, dead_signal="save", judge_drift="stop")
    with pytest.raises(StoppedByAlarm, match=r"watch\.alarms\.judge_drift=stop") as ended:
        rl.train(recipe, quiet=True)
    assert ended.value.exit_code == 4
    folder = tmp_path / "run"
    rung = {alarm["name"]: alarm["step"] for alarm in alarms(folder)}
    at, kept = rung["judge_drift"], f"kept_{rung['dead_signal']:06d}"
    assert at < 5
    steps = len((folder / "metrics.jsonl").read_text().splitlines())
    assert steps == at
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert {kept, f"step_{at:06d}", "final"} <= names
    assert (folder / "report.html").is_file()
    rl.train(recipe, resume=True, quiet=True)
    assert kept in {path.name for path in (folder / "checkpoints").iterdir()}
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 5
    rung_after = [alarm["name"] for alarm in alarms(folder)]
    assert rung_after[: len(rung)] == list(rung)
    assert len(set(rung_after)) == len(rung_after)
