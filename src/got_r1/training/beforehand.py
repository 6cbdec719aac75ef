"""What can be refused before torch is imported, which takes seconds: mistakes in a recipe and in
what it names. The training loops check the same again where they use it."""

from __future__ import annotations

from pathlib import Path

from got_r1 import rewards
from got_r1.checkpoints.models import check_model
from got_r1.checkpoints.official_sizes import official_name
from got_r1.data import source_files
from got_r1.errors import BadInput
from got_r1.files.runlog import RunLog
from got_r1.judges import check_judge
from got_r1.judges.probing import probe_servers
from got_r1.recipes.checks import check_settings
from got_r1.recipes.sections import Recipe
from got_r1.recipes.stages import Stage, section_of
from got_r1.training.held_out import held_out_judge, watch_prompts
from got_r1.training.prompts import load_prompts
from got_r1.training.resuming import changes_since

__all__ = ["check_start"]


def check_start(
    recipe: Recipe, stage: Stage, *, resume: bool = False, dry_run: bool = False
) -> None:
    """Raises BadInput where `train <stage>` cannot start: settings without effect, a run folder
    that is in use or belongs to another recipe, a model, data, prompts or a judge that are missing
    or unreadable. Tells which servers of a judge cannot be reached, and raises RunFailed where they
    are not to be waited for.

    A dry run takes the names of official sizes as models too (`official_name`), and starts nothing.
    """
    check_settings(recipe, stage)
    if stage == "judge" and dry_run:
        raise BadInput("--dry-run plans vq, sft and rl; a student is small.")
    if stage == "rl":
        rewards.check_config(recipe.reward)
    if not dry_run:
        check_folder(recipe, stage, resume)
    path = recipe.model.path
    if stage in ("sft", "rl") and not (dry_run and official_name(path)):
        check_model(path)
    if dry_run:
        return
    if stage == "sft" and recipe.data.source and not recipe.data.shards:
        source_files(recipe.data.source, recipe.data.split)
    if stage == "rl":
        terms = rewards.active_terms(recipe.reward)
        check_judge(recipe.judge, terms)
        if (held_out := held_out_judge(recipe)) is not None:
            check_judge(held_out, terms)
            watch_prompts(recipe)
        load_prompts(recipe.data, quiet=True)
        for judge in filter(None, (recipe.judge, held_out)):
            probe_servers(judge, terms)


def check_folder(recipe: Recipe, stage: Stage, resume: bool) -> None:
    """Raises BadInput where the run folder is not new and cannot be continued either."""
    folder = Path(recipe.run.dir)
    if resume and (folder / "config.yaml").is_file():
        changes_since(folder, recipe, getattr(recipe, section_of(stage)))
    else:
        RunLog.check_new(folder)
