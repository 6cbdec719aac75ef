"""Resuming with other settings: what changes results is refused, what does not is told and kept."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from got_r1.errors import BadInput
from got_r1.files.runlog import JUDGE, RunLog
from got_r1.judges.specs import ResolvedJudge, compare_judges, resolve
from got_r1.recipes.recipe_file import load_recipe, load_section, recipe_text
from got_r1.recipes.resuming import Change, compare
from got_r1.recipes.sections import OptimizerSection, Recipe
from got_r1.training.held_out import held_out_judge

__all__ = ["changes_since", "judge_text", "record_changes"]


def changes_since(folder: Path, recipe: Recipe, section: OptimizerSection) -> list[Change]:
    """What differs from the recipe that the run in `folder` has; `section` is its vq, sft or rl.

    Judges are compared by their settings. A run of a version that did not save these is compared
    with what its spec stands for today.

    Raises BadInput naming the first setting that differs and changes results.
    """
    before = load_recipe(folder / "config.yaml")  # settings newer than the run: their defaults
    changes = list(compare(before, recipe, section.uses))
    if "judge" in section.uses:
        if (folder / JUDGE).is_file():
            judge = load_section(folder / JUDGE, ResolvedJudge, "judge settings")
        else:
            try:
                judge = resolve(before.judge)
            except BadInput as error:
                raise BadInput(
                    f"cannot resume {folder}: what its judge {before.judge.spec!r} stands for "
                    f"cannot be read ({error}); put that back where it was"
                ) from None
        changes += compare_judges(judge, resolve(recipe.judge))
    for change in changes:
        if change.allowed is None:
            raise BadInput(
                f"cannot resume {folder}: it was started with {change.setting}={change.before!r}, "
                f"now it is {change.now!r}, which would change its results; set it back, or start "
                "a new run in another run.dir"
            )
    return changes


def judge_text(recipe: Recipe, section: OptimizerSection) -> str | None:
    """The settings of the recipe's judges as YAML, the held-out one among them, which may change on
    resuming; None for a run that asks no judge."""
    if "judge" not in section.uses:
        return None
    judges = resolve(recipe.judge)
    if (held_out := held_out_judge(recipe)) is not None:
        judges = judges.model_copy(update={"held_out": resolve(held_out).spec})
    return recipe_text(judges)


def record_changes(
    log: RunLog,
    step: int,
    changes: list[Change],
    recipe: Recipe,
    section: OptimizerSection,
    *,
    quiet: bool,
) -> None:
    """Keeps the changes of a run that goes on behind `step`, and tells each in a line on stderr."""
    told = [change.to_json() for change in changes]
    log.save_recipe(step, recipe_text(recipe), judge_text(recipe, section), told)
    if not quiet:
        console = Console(stderr=True, soft_wrap=True)
        for change in changes:
            console.print(f"resumed with {change}", highlight=False, markup=False)
