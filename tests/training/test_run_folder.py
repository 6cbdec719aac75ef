"""A run folder that is deleted, wholly or in part, under the run that writes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import BadInput, RunFailed
from got_r1.training import sft
from small_runs import MakeRecipe


def before_step(step: int, action: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Does something in the middle of a step of SFT."""
    learn = sft.learn

    def learn_and_act(*args: Any) -> dict[str, float]:
        if args[5] == step:
            action()
        return learn(*args)

    patch.setattr(sft, "learn", learn_and_act)


def test_a_deleted_run_folder_stops_the_run(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("run", sft={"steps": 3, "save_every": 1})
    folder = Path(recipe.run.dir)
    before_step(2, lambda: shutil.rmtree(folder), monkeypatch)
    with pytest.raises(RunFailed, match=r"config\.yaml is gone: its folder was deleted or moved"):
        sft.train(recipe, quiet=True)
    assert not folder.exists(), "no part of it comes back"


def test_a_part_of_a_run_folder_is_told_as_what_it_is(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("run", sft={"steps": 1})
    sft.train(recipe, quiet=True)
    (Path(recipe.run.dir) / "config.yaml").unlink()
    for resume in (False, True):
        with pytest.raises(BadInput, match="only a part of a run: it has checkpoints, metrics"):
            sft.train(recipe, resume=resume, quiet=True)


@pytest.mark.parametrize("what", ["deleted", "cut"])
def test_metrics_that_vanish_stop_the_run_which_can_be_resumed(
    what: str,
    make_recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = make_recipe("run", sft={"steps": 4, "save_every": 1})
    metrics = Path(recipe.run.dir) / "metrics.jsonl"

    def harm() -> None:
        lines = metrics.read_bytes().splitlines(keepends=True)
        metrics.unlink()
        if what == "cut":
            metrics.write_bytes(lines[0])

    with monkeypatch.context() as patch:
        before_step(3, harm, patch)
        with pytest.raises(RunFailed, match=r"metrics\.jsonl was deleted or changed while it ran"):
            sft.train(recipe, quiet=True)
    assert metrics.exists() == (what == "cut")
    sft.train(recipe, resume=True, quiet=True)
    lost = 2 if what == "deleted" else 1
    assert f"metrics.jsonl lacks {lost} of the 2 steps before" in capsys.readouterr().err
    assert len(metrics.read_text().splitlines()) == 4 - lost
