"""Fixed prompts that a run draws again and again: the policy alone makes the difference, and the
run is as it would be without them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from got_r1.errors import BadInput
from got_r1.training import rl
from small_runs import MakeRecipe, assert_same_run

ICONS = {
    "model": {"path": "icons"},
    "rollout": {"chain_limit": 60, "guidance": 1.0},
}


def files(folder: Path, step: int) -> dict[str, bytes]:
    """Pictures, and records without the step."""
    found = {}
    for path in sorted((folder / "probes" / f"step_{step:06d}").iterdir()):
        content = path.read_bytes()
        found[path.name] = content.replace(f'"step": {step}'.encode(), b"")
    return found


def test_fixed_prompts_change_nothing_and_only_by_the_policy(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """With a learning rate of 1e-12 nothing is learned, so all pictures are the same."""
    for name, probes in (("with", 3), ("without", 0)):
        section = {"steps": 3, "prompts": 1, "learning_rate": 1e-12, "sample_every": 2}
        rl.train(
            make_recipe(name, **ICONS, rl=section, eval={"prompts": 0, "probes": probes}),
            quiet=True,
        )
    assert_same_run(tmp_path / "with", tmp_path / "without")
    assert not (tmp_path / "without" / "probes").exists()
    at = sorted(path.name for path in (tmp_path / "with" / "probes").iterdir())
    assert at == ["step_000000", "step_000002", "step_000003"]
    first, *later = (files(tmp_path / "with", step) for step in (0, 2, 3))
    assert set(first) == {f"{index:03d}.{kind}" for index in range(3) for kind in ("json", "png")}
    assert later == [first, first]
    record = json.loads((tmp_path / "with/probes/step_000000/000.json").read_text())
    assert record["reward"]["terms"].keys() == {"r_sem", "r_spa", "r_ri", "r_pi"}
    report = (tmp_path / "with" / "report.html").read_text()
    assert "Before and after" in report


def test_other_prompts_than_the_icon_worlds_come_from_the_runs_own(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red heart\na blue star\n")
    recipe = make_recipe(
        "run",
        **ICONS,
        data={"prompts": [{"path": str(prompts)}]},
        rl={"steps": 1, "prompts": 1, "group": 2},
        eval={"prompts": 0, "probes": 2},
    )
    rl.train(recipe, quiet=True)
    shown = {
        json.loads(path.read_text())["prompt"]
        for path in (tmp_path / "run/probes/step_000001").glob("*.json")
    }
    assert shown == {"a red heart", "a blue star"}


def test_their_number_is_bounded(make_recipe: MakeRecipe) -> None:
    with pytest.raises((BadInput, ValueError)):
        make_recipe("run", eval={"probes": 10**9})
