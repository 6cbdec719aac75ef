"""Training by a recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from got_r1.errors import BadInput, listed
from got_r1.recipes.recipe_file import load_recipe
from got_r1.recipes.sections import Recipe
from got_r1.recipes.stages import STAGES, Stage

__all__ = ["read_recipe", "train"]


def train(
    stage: Stage,
    recipe: str | Path | Recipe,
    overrides: Mapping[str, object] | Sequence[str] = (),
    *,
    resume: bool = False,
    quiet: bool = False,
) -> dict[str, object]:
    """Trains a model by a recipe, as `got-r1 train` does; progress goes to stderr unless `quiet`.

    Args:
        stage: "vq" (image tokens), "sft" (fine-tuning), "rl" (GRPO) or "judge" (a student judge).
        recipe: a YAML file, or a packaged recipe by name ("icons", "janus-1b", "janus-7b"); with
            `resume` also a run folder, for its own recipe.
        overrides: settings by their dotted keys, {"run.dir": "runs/mine", "rl.steps": 100}, or as
            on the command line, ["rl.steps=100"].
        resume: go on from the newest checkpoint.

    Returns a summary: `run_dir`, `steps`, the trained `model`'s folder, and of "rl" the `report`.

    Raises BadInput for settings, files or folders that cannot be used, and for too little memory or
    disk; RunFailed where the run cannot go on: what it saved stays, and `resume` continues it.
    """
    if stage not in STAGES:
        raise BadInput(f"the stage is {stage!r}; give {listed(STAGES)}.")
    loaded = read_recipe(recipe, overrides, goes_on=resume)
    rank = os.environ.get("RANK", "0")
    if rank == "0":  # under torchrun others may see what the first has begun
        from got_r1.training.beforehand import check_start

        check_start(loaded, stage, resume=resume)
    if stage in ("vq", "judge") and os.environ.get("WORLD_SIZE", "1") != "1":
        raise BadInput(f"train {stage} is for one process: start it without torchrun.")

    from got_r1.progress import import_modules, note

    silent = quiet or rank != "0"  # of several processes the first speaks for all
    import_modules(f"got_r1.training.{stage}", "got_r1.sizing.estimate", quiet=silent)
    import torch

    from got_r1.sizing.dry_run import check_room, device_bytes
    from got_r1.sizing.estimate import estimate

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if stage != "judge":  # a student is small
        needed = estimate(loaded, stage, gpu=torch.cuda.is_available(), processes=processes)
        check_room(needed, Path(loaded.run.dir), device_bytes(processes))
    if stage in ("sft", "rl") and not silent:
        note(f"loading the model {loaded.model.path}")
    return loop(stage)(loaded, resume, quiet)


def loop(stage: Stage) -> Callable[[Recipe, bool, bool], dict[str, object]]:
    """The training loop of a stage, as `train(recipe, resume, quiet) -> summary`."""
    match stage:
        case "vq":
            from got_r1.training import vq

            return vq.train
        case "sft":
            from got_r1.training import sft

            return sft.train
        case "judge":
            from got_r1.training import judge

            return judge.train
        case "rl":
            from got_r1.training import rl

            return rl.train


def read_recipe(
    recipe: str | Path | Recipe,
    overrides: Mapping[str, object] | Sequence[str] = (),
    *,
    goes_on: bool = False,
) -> Recipe:
    """A recipe with its overrides, as for `train`. A run folder stands for its own recipe, wherever
    it lies now; raises BadInput where the run in it is not to go on."""
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={_yaml(value)}" for key, value in overrides.items()]
    if isinstance(recipe, Recipe):
        if overrides:
            raise BadInput("a Recipe takes no overrides; set them in it, or give its file.")
        return recipe
    own = Path(recipe, "config.yaml")
    if not own.is_file():
        return load_recipe(recipe, overrides)
    if not goes_on:
        raise BadInput(
            f"{recipe} is a run folder: add --resume to continue the run in it (in Python "
            "resume=True), or give a recipe to start another."
        )
    return load_recipe(own, [f"run.dir={recipe}", *overrides])


def _yaml(value: object) -> str:
    """A setting's value as an override has it."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)
