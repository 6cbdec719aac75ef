"""Resuming with other settings: what changes results is refused, what does not is told and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from got_r1.errors import BadInput
from got_r1.files.runlog import JUDGE, RunLog
from got_r1.judges.specs import ResolvedJudge, compare_judges, resolve
from got_r1.recipes.recipe_file import load_recipe, load_section, recipe_text
from got_r1.recipes.resuming import HARMLESS, Change, compare
from got_r1.recipes.sections import JudgeSection, OptimizerSection, Recipe
from got_r1.training.held_out import held_out_judge, held_out_section

__all__ = ["changes_since", "judge_text", "record_changes"]


def changes_since(folder: Path, recipe: Recipe, section: OptimizerSection) -> list[Change]:
    """What differs from the recipe that the run in `folder` has; `section` is its vq, sft or rl.

    Judges are compared by their settings. A run of a version that did not save these is compared
    with what its spec stands for today.

    Raises BadInput naming the first setting that differs and changes results, or that makes the
    held-out judge another one than that of the run's looks.
    """
    before = load_recipe(folder / "config.yaml")  # settings newer than the run: their defaults
    changes = list(compare(before, recipe, section.uses))
    if "judge" in section.uses:
        judge = judges_of(folder, before)
        changes += compare_judges(judge, resolve(recipe.judge))
        changes += held_out_changes(folder, judge.held_out, recipe)
    for change in changes:
        if change.allowed is None:
            raise BadInput(
                f"cannot resume {folder}: it was started with {change.setting}={change.before!r}, "
                f"now it is {change.now!r}, which would change its results; set it back, or start "
                "a new run in another run.dir"
            )
    return changes


def judges_of(folder: Path, recipe: Recipe) -> ResolvedJudge:
    """The judges of the run in `folder`, which has this recipe; the held-out one is that of its
    looks, also where the recipe has none any more."""

    def read(section: JudgeSection) -> ResolvedJudge:
        try:
            return resolve(section)
        except BadInput as error:
            raise BadInput(
                f"cannot resume {folder}: what its judge {section.spec!r} stands for cannot be "
                f"read ({error}); put that back where it was"
            ) from None

    if (folder / JUDGE).is_file():
        judges = load_section(folder / JUDGE, ResolvedJudge, "judge settings")
    else:
        judges = read(recipe.judge)
    held_out = held_out_section(recipe)
    if judges.held_out is None and held_out is not None:
        judges = judges.model_copy(update={"held_out": read(held_out)})
    return judges


def held_out_changes(
    folder: Path, before: ResolvedJudge | None, recipe: Recipe
) -> Iterator[Change]:
    """The settings of the held-out judge that differ from `before`. It may come and go.

    Raises BadInput where another one would go on with the looks of the run in `folder`: the alarms
    would take the difference of the two for a change of the policy.
    """
    section = held_out_judge(recipe)
    if before is None or section is None:
        return
    for change in compare_judges(before, resolve(section), "held-out judge"):
        if change.allowed is None and (folder / "watch.jsonl").is_file():
            raise BadInput(
                f"cannot resume {folder}: its looks are of another held-out judge than "
                f"watch.judge={section.spec!r} ({change.setting} was {change.before!r}, now it is "
                f"{change.now!r}), and the alarms compare looks; set it back, leave watch.judge "
                "out, or start a new run in another run.dir"
            )
        yield replace(change, allowed=change.allowed or HARMLESS)


def judge_text(
    recipe: Recipe, section: OptimizerSection, before: ResolvedJudge | None = None
) -> str | None:
    """The settings of the recipe's judges as YAML, the held-out one among them; None for a run that
    asks no judge. `before`: those of the run that goes on, whose held-out judge stays known when it
    does not look on any more."""
    if "judge" not in section.uses:
        return None
    held_out = held_out_judge(recipe)
    looking_on = before.held_out if before is not None else None
    if held_out is not None:
        looking_on = resolve(held_out)
    return recipe_text(resolve(recipe.judge).model_copy(update={"held_out": looking_on}))


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
    asks = "judge" in section.uses
    before = judges_of(log.run_dir, load_recipe(log.run_dir / "config.yaml")) if asks else None
    log.save_recipe(step, recipe_text(recipe), judge_text(recipe, section, before), told)
    if not quiet:
        console = Console(stderr=True, soft_wrap=True)
        for change in changes:
            console.print(f"resumed with {change}", highlight=False, markup=False)
