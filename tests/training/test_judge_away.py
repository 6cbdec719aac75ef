"""A run whose judge's server goes away: it waits as long as `judge.patience` says, then stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import RunFailed
from got_r1.recipes.sections import Recipe
from got_r1.training import rl
from judges.scripted_server import Action, Mortal, Reply, Request, score

MakeRecipe = Callable[..., Recipe]

pytestmark = pytest.mark.slow


def judged(request: Request) -> Action:
    if '"bbox_2d"' in request.text:
        return Reply('{"label": "x", "bbox_2d": []}')
    return score(request.number % 11)


def small(make_recipe: MakeRecipe, folder: Path, url: str, **judge: Any) -> Recipe:
    file = folder / "judge.yaml"
    file.write_text(f"openai: {{model: Qwen2.5-VL, urls: {url}, retries: 2, first_wait: 0.01}}")
    return make_recipe(
        "run",
        model={"path": "icons"},
        judge={"spec": str(file), "cache": "off", **judge},
        rollout={"chain_limit": 60, "guidance": 1.0},
        rl={"steps": 3, "prompts": 1, "group": 4, "learning_rate": 1e-4, "save_every": 3},
        eval={"prompts": 0},
    )


def test_a_run_goes_on_when_its_judge_comes_back(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with Mortal(judged, dies_at=12, after=2.0) as mortal:
        recipe = small(make_recipe, tmp_path, mortal.url, patience=300)
        summary = rl.train(recipe, quiet=True)
    assert summary["steps"] == 3
    failures = Path(recipe.run.dir) / "judge_failures.jsonl"
    assert not failures.is_file() or failures.read_text() == ""
    assert mortal.lives[1].requests


def test_a_run_whose_judge_stays_away_is_saved_and_goes_on_later(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    with Mortal(judged, dies_at=12, after=300.0) as mortal:
        recipe = small(make_recipe, tmp_path, mortal.url, patience=0.2)
        with pytest.raises(
            RunFailed, match=r"the judge failed on .*: the run is saved|nothing was"
        ):
            rl.train(recipe, quiet=True)
        mortal.come_back()
        patient = small(make_recipe, tmp_path, mortal.url, patience=30)
        assert rl.train(patient, resume=True, quiet=True)["steps"] == 3
