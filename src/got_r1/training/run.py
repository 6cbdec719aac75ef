"""What every training loop shares: the run folder, checkpoints, resuming, progress.

All randomness of a step is a function of (run.seed, step), so weights, optimizer state and the
step number are a whole checkpoint: a resumed run repeats the uninterrupted one bit for bit.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file

from got_r1.atomic import replace_folder
from got_r1.config import OptimizerSection, Recipe
from got_r1.errors import BadInput
from got_r1.policy.janus import Policy
from got_r1.progress import TrainingProgress
from got_r1.recipe_file import load_recipe, recipe_text
from got_r1.runlog import RunLog

__all__ = ["Run", "seed_step"]

KEPT_CHECKPOINTS = 2


def seed_step(seed: int, step: int) -> int:
    """Seeds torch for one step; returns the derived 63-bit seed."""
    digest = hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest()
    derived = int.from_bytes(digest) >> 1
    torch.manual_seed(derived)
    return derived


class Run:
    """An open training run; use as a context manager."""

    def __init__(
        self,
        log: RunLog,
        progress: TrainingProgress,
        recipe: Recipe,
        section: OptimizerSection,
        policy: Policy,
        optimizer: torch.optim.Optimizer,
        start: int,
    ) -> None:
        self.records = log
        self.progress = progress
        self.folder = Path(recipe.run.dir)
        self.section = section
        self.policy = policy
        self.optimizer = optimizer
        self.start = start
        self.rollout = recipe.rollout

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        section: OptimizerSection,
        policy: Policy,
        optimizer: torch.optim.Optimizer,
        *,
        title: str,
        resume: bool,
        quiet: bool = False,
    ) -> Self:
        """Creates the run folder, or continues from its newest checkpoint with `resume`.

        Raises BadInput where the folder exists and `resume` was not asked for, or where the
        recipe differs from the one that the run was started with.
        """
        folder = Path(recipe.run.dir)
        start = 0
        if resume and (folder / "config.yaml").is_file():
            check_same_recipe(folder / "config.yaml", recipe)
            newest = newest_checkpoint(folder)
            if newest is not None:
                start = load_checkpoint(newest, policy, optimizer)
            log = RunLog.resume(folder, start)
        else:
            log = RunLog.create(folder, recipe_text(recipe))
        progress = TrainingProgress(title, section.steps, start_step=start, quiet=quiet)
        return cls(log, progress, recipe, section, policy, optimizer, start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        self.records.close()

    @property
    def fresh(self) -> bool:
        """Whether the run starts at its first step."""
        return self.start == 0

    def steps(self) -> Iterator[int]:
        """The steps still to do, 1-based; saves a checkpoint behind every `save_every`th."""
        self.progress.__enter__()  # here: what comes before the first step shows its own progress
        for step in range(self.start + 1, self.section.steps + 1):
            yield step
            if step % self.section.save_every == 0 or step == self.section.steps:
                save_checkpoint(self.folder, step, self.policy, self.optimizer)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one step's metrics and shows them."""
        self.records.log_metrics(step, metrics)
        self.progress.update(step, metrics)

    def finish(self) -> Path:
        """Writes the trained model as a transformers folder: `checkpoints/final`."""
        final = self.folder / "checkpoints" / "final"
        # Whoever samples from the model gets the settings it was trained for.
        settings = self.policy.model.generation_config
        settings.guidance_scale = self.rollout.guidance
        settings.temperature = self.rollout.image_temperature
        settings.do_sample = True
        with replace_folder(final) as beside:
            self.policy.save(beside)
        return final

    def summary(self, **facts: object) -> dict[str, object]:
        """What a training command returns: where the run lives, and `facts`."""
        return {"run_dir": str(self.folder), "steps": self.section.steps, **facts}


def check_same_recipe(saved: Path, recipe: Recipe) -> None:
    """Raises BadInput naming the first setting that differs from the saved recipe."""
    before = flatten(load_recipe(saved).model_dump())  # settings newer than the run: their defaults
    now = flatten(recipe.model_dump())
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise BadInput(
                f"cannot resume {saved.parent}: it was started with {key}={before.get(key)!r}, "
                f"now it is {now.get(key)!r}; use the same recipe or another run.dir"
            )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= (
            flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


# -- checkpoints -----------------------------------------------------------------------------------


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint (a folder gets its name only when it is complete)."""
    found = sorted((folder / "checkpoints").glob("step_[0-9]*[0-9]"))
    return found[-1] if found else None


def save_checkpoint(
    folder: Path, step: int, policy: Policy, optimizer: torch.optim.Optimizer
) -> None:
    """Writes trained weights (safetensors) and optimizer state beside, renames, then prunes."""
    checkpoints = folder / "checkpoints"
    with replace_folder(checkpoints / f"step_{step:06d}") as beside:
        weights = {name: p.detach().contiguous() for name, p in policy.trainable().items()}
        save_file(weights, beside / "trained.safetensors")
        torch.save({"step": step, "optimizer": optimizer.state_dict()}, beside / "state.pt")
    for old in sorted(checkpoints.glob("step_[0-9]*[0-9]"))[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)


def load_checkpoint(checkpoint: Path, policy: Policy, optimizer: torch.optim.Optimizer) -> int:
    """Restores weights and optimizer; returns the step."""
    weights = load_file(checkpoint / "trained.safetensors")
    trainable = policy.trainable()
    if weights.keys() != trainable.keys():
        raise BadInput(
            f"{checkpoint} holds other parameters than this recipe trains: "
            "use the recipe that the run was started with"
        )
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
