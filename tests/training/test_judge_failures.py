"""A judge that fails: logged with its replies, and above a share the run is saved and stops."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from got_r1.errors import RunFailed
from got_r1.judges.oracle import OracleJudge
from got_r1.recipes.sections import JudgeSection, Recipe
from got_r1.records import ImageQuery, JudgeFailure, Query, Verdict
from got_r1.training import rl

MakeRecipe = Callable[..., Recipe]


class Failing(OracleJudge):
    """The oracle, silent about some images from a step on; a step asks once about images."""

    def __init__(self, share: float, first: int) -> None:
        self.share, self.first, self.step = share, first, 0

    def judge(self, queries: Sequence[Query]) -> list[Verdict | JudgeFailure]:
        answers = super().judge(queries)
        images = [place for place, query in enumerate(queries) if isinstance(query, ImageQuery)]
        self.step += bool(images)
        if self.step >= self.first:
            for place in images[: round(self.share * len(images))]:
                answers[place] = JudgeFailure(
                    "no number in it", "I would rather not say 7/10 \ud800"
                )
        return answers


def small(make_recipe: MakeRecipe, name: str) -> Recipe:
    return make_recipe(
        name,
        model={"path": "icons"},
        rollout={"chain_limit": 120, "guidance": 1.0},
        rl={"steps": 4, "prompts": 1, "group": 4, "learning_rate": 1e-4, "save_every": 3},
        eval={"prompts": 0},
    )


def train(recipe: Recipe, judge: Any, patch: pytest.MonkeyPatch, resume: bool = False) -> None:
    def load(
        section: JudgeSection, cache: Path | None, terms: Sequence[str], understanding: Any
    ) -> Any:
        assert understanding is None
        assert (section, cache) == (recipe.judge, Path(recipe.run.dir) / "judge_cache")
        assert terms == ("r_sem", "r_spa", "r_ri", "r_pi")
        return judge

    patch.setattr(rl, "load_judge", load)
    rl.train(recipe, resume=resume, quiet=True)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def numbers(run: Path) -> list[dict[str, Any]]:
    """The metrics without their clocks."""
    return [
        {key: value for key, value in row.items() if "seconds" not in key and "per_sec" not in key}
        for row in lines(run / "metrics.jsonl")
    ]


def test_a_failure_is_logged_with_its_reply(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(make_recipe, "run")
    recipe = recipe.model_copy(update={"judge": JudgeSection(max_failure_share=0.5)})
    train(recipe, Failing(0.5, first=2), monkeypatch)
    logged = lines(Path(recipe.run.dir) / "judge_failures.jsonl")
    assert {row["step"] for row in logged} <= {2, 3, 4}
    assert logged
    for row in logged:
        assert row["term"] == "r_pi"
        assert row["reason"] == "no number in it"
        assert row["reply"].startswith("I would rather not say 7/10")
        assert row["prompt"]
        assert row["sample"] in range(4)
    failures = [row["judge_failures"] for row in lines(Path(recipe.run.dir) / "metrics.jsonl")]
    assert sum(failures) == len(logged)
    assert failures[0] == 0


def test_above_the_share_the_run_is_saved_and_resumes_where_it_stopped(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = small(make_recipe, "broken"), small(make_recipe, "whole")
    folder = Path(broken.run.dir)
    with pytest.raises(
        RunFailed,
        match=r"judge failed on [234] of 4 samples of step 3 \(no number in it\): the run is saved "
        r"up to step 2, .*judge_failures\.jsonl holds the replies; fix the judge, then --resume",
    ):
        train(broken, Failing(1.0, first=3), monkeypatch)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step_000002"]
    assert {row["step"] for row in lines(folder / "judge_failures.jsonl")} == {3}

    train(broken, OracleJudge(), monkeypatch, resume=True)
    train(whole, OracleJudge(), monkeypatch)
    assert numbers(folder) == numbers(Path(whole.run.dir))
    assert (folder / "judge_failures.jsonl").read_text() == ""  # as if it had never happened


def test_nothing_is_saved_where_nothing_was_trained(
    make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(make_recipe, "run")
    with pytest.raises(RunFailed, match="nothing was trained yet"):
        train(recipe, Failing(1.0, first=1), monkeypatch)
    assert not (Path(recipe.run.dir) / "checkpoints").exists()
