"""What every training loop shares: the run folder, checkpoints, resuming, progress.

All randomness of a step is a function of (run.seed, step), so weights, optimizer state and the
step number are a whole checkpoint: a resumed run repeats the uninterrupted one bit for bit (on
another number of processes: up to rounding).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch

from got_r1.errors import RunFailed
from got_r1.files.atomic import replace_folder
from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking
from got_r1.progress import TrainingProgress, note
from got_r1.recipes.recipe_file import recipe_text
from got_r1.recipes.resuming import Change, plain
from got_r1.recipes.sections import OptimizerSection, Recipe
from got_r1.training.checkpoint import (
    KEPT_CHECKPOINTS,
    Learner,
    Trained,
    last_saved,
    load_checkpoint,
    newest_whole_checkpoint,
    not_finite,
    save_checkpoint,
)
from got_r1.training.distributed import ALONE, Ranks
from got_r1.training.precision import is_fast_in_bfloat16
from got_r1.training.resuming import changes_since, judge_text, record_changes
from got_r1.training.threads import set_threads

__all__ = ["KEPT_CHECKPOINTS", "Run", "seed_step"]

UNUSUAL = 20  # steps in a row without anything to learn from that are worth a note (our choice)


def seed_step(seed: int, step: int) -> int:
    """Seeds torch for one step; returns the derived 63-bit seed."""
    digest = hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest()
    derived = int.from_bytes(digest) >> 1
    torch.manual_seed(derived)
    return derived


Model = TypeVar("Model", bound=Trained)


class Run(Generic[Model]):
    """An open training run; use as a context manager.

    Of several processes the first alone writes (`records`) and shows; the others follow.
    """

    def __init__(
        self,
        log: RunLog | None,
        progress: TrainingProgress,
        recipe: Recipe,
        section: OptimizerSection,
        policy: Model,
        optimizer: torch.optim.Optimizer,
        start: int,
        ranks: Ranks,
        judge: Learner | None,
    ) -> None:
        self._records = log
        self.ranks = ranks
        self.progress = progress
        self.folder = Path(recipe.run.dir)
        self.section = section
        self.policy = policy
        self.optimizer = optimizer
        self.judge = judge
        self.start = start
        self.recipe = recipe
        self.skipped_updates = 0  # in all, and since the last one that was made
        self._skipped_in_a_row = 0
        self._steps_without_signal = 0
        self._began = time.perf_counter()

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        section: OptimizerSection,
        policy: Model,
        optimizer: torch.optim.Optimizer,
        *,
        title: str,
        resume: bool,
        quiet: bool = False,
        ranks: Ranks = ALONE,
        judge: Learner | None = None,
    ) -> Self:
        """Creates the run folder, or continues from its newest whole checkpoint with `resume`.

        `judge`: one that learns beside the policy, and is saved with it. From here on torch has the
        recipe's number of CPU threads (`threads.set_threads`).

        Raises BadInput where the folder exists and `resume` was not asked for, or where the
        recipe differs from the one that the run was started with in what changes results; RunFailed
        where every checkpoint is damaged.
        """
        folder = Path(recipe.run.dir)
        # One rank looks and tells the others: a slower one would find the file that the first is
        # about to write, take the run for an old one, and wait for what no other rank sends.
        going_on = ranks.run_on_rank0(lambda: resume and (folder / "config.yaml").is_file())

        changes: list[Change] = []

        def checkpoint_to_go_on_from() -> Path | None:
            changes.extend(changes_since(folder, recipe, section))
            return newest_whole_checkpoint(folder)

        newest = ranks.run_on_rank0(checkpoint_to_go_on_from) if going_on else None
        start, threads = (
            (0, 0) if newest is None else load_checkpoint(newest, policy, optimizer, ranks, judge)
        )
        set_threads(recipe.run.threads, threads, quiet=quiet or not ranks.main)
        log: RunLog | None = None

        def open_log() -> None:
            nonlocal log
            tracking = Tracking(recipe.run.track, recipe.run.project, plain(recipe))
            if going_on:
                log = RunLog.resume(folder, start, tracking=tracking)
                if log.missing_steps:
                    note(
                        f"{folder / 'metrics.jsonl'} lacks {log.missing_steps} of the {start} "
                        "steps before: it was deleted or changed, and the report's curves lack them"
                    )
                record_changes(log, start, changes, recipe, section, quiet=quiet)
            else:
                texts = recipe_text(recipe), judge_text(recipe, section)
                log = RunLog.create(folder, *texts, tracking=tracking)

        quiet = quiet or not ranks.main
        if section.autocast and not is_fast_in_bfloat16(policy.device.type) and not quiet:
            note(
                "autocast has no effect here: this processor has no instructions for bfloat16 and "
                "is much faster in float32"
            )
        ranks.run_on_rank0(open_log)
        progress = TrainingProgress(title, section.steps, start_step=start, quiet=quiet)
        return cls(log, progress, recipe, section, policy, optimizer, start, ranks, judge)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        if self._records is not None:
            interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
            self._records.close(interrupted=interrupted)

    @property
    def records(self) -> RunLog:
        """The run folder's writer, on the first rank."""
        if self._records is None:
            raise RuntimeError("only the first process writes the run folder")
        return self._records

    @property
    def fresh(self) -> bool:
        """Whether the run starts at its first step."""
        return self.start == 0

    def steps(self) -> Iterator[int]:
        """The steps still to do, 1-based; saves a checkpoint behind every `save_every`th."""
        self.progress.__enter__()  # here: what comes before the first step shows its own progress
        for step in range(self.start + 1, self.section.steps + 1):
            self._began = time.perf_counter()
            yield step
            if step % self.section.save_every == 0 or step == self.section.steps:
                self.save_checkpoint(step)

    def save_checkpoint(self, step: int, *, kept: bool = False) -> None:
        """Saves the weights behind `step`, with `kept` beside those that are pruned. Every rank
        calls it. Raises RunFailed as `save_checkpoint` and `RunLog.check_folder`."""
        self.ranks.run_on_rank0(lambda: self.records.check_folder())
        model, optimizer, judge = self.policy, self.optimizer, self.judge
        save_checkpoint(self.folder, step, model, optimizer, self.ranks, kept=kept, judge=judge)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes one step's metrics and the seconds since it began, and shows them; nothing but on
        the first rank."""
        if self.ranks.main:
            seconds = time.perf_counter() - self._began
            self.records.log_metrics(step, {**metrics, "seconds/total": seconds})
            self.progress.update(step, metrics)

    def watch(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tells of a skipped update, and of long times without anything to learn from. Every rank
        calls it behind each step, with the same metrics.

        Raises RunFailed when `max_skipped_updates` in a row were skipped. What was trained until
        then is saved.
        """
        # RL counts groups over all ranks.
        groups = getattr(self.section, "prompts", None)
        without = groups is not None and metrics.get("skipped_groups") == groups
        self._steps_without_signal = self._steps_without_signal + 1 if without else 0
        if self._steps_without_signal and self._steps_without_signal % UNUSUAL == 0:
            self.progress.note(
                f"step {step}: no group has had anything to learn from for "
                f"{self._steps_without_signal} steps, since all samples of a prompt got the same "
                "reward; see samples/ and the rewards in metrics.jsonl, and take other prompts, a "
                "larger rl.group or another judge"
            )
        if "skipped_updates" not in metrics:
            self._skipped_in_a_row = 0
            return
        self.skipped_updates += 1
        self._skipped_in_a_row += 1
        found = f"loss {metrics['loss']:g}, gradient norm {metrics['grad_norm']:g}"
        most = self.section.max_skipped_updates
        self.progress.note(
            f"step {step}: update skipped, its numbers are not finite ({found}); "
            f"{self._skipped_in_a_row} in a row, the run stops at {most}"
        )
        if self._skipped_in_a_row < most:
            return
        done = step - 1  # nothing has changed since
        damaged = self.ranks.max(float(not_finite(self.policy.trainable()) is not None))
        if done > self.start and done % self.section.save_every and not damaged:
            self.save_checkpoint(done)
        raise RunFailed(
            f"{most} updates in a row, up to step {step}, were skipped because their numbers are "
            f"not finite ({found}): start again with a lower learning_rate, without autocast and "
            f"with model.dtype=float32, or other data; {last_saved(self.folder)}"
        )

    def finish(self) -> Path:
        """Writes the trained model as a transformers folder: `checkpoints/final`.

        Raises RunFailed, with nothing written, where a weight is not finite or the run folder was
        deleted.
        """
        final = self.folder / "checkpoints" / "final"
        # Sharded weights come together one by one; only the first rank keeps them.
        tensors = self.policy.merged_tensors()
        state = {name: tensor.cpu() for name, tensor in tensors if self.ranks.main}

        def save() -> None:
            self.records.check_folder()
            if name := not_finite(state):
                raise RunFailed(
                    f"the trained model is not written, because {name} holds numbers that are not "
                    f"finite; {last_saved(self.folder)}"
                )
            with replace_folder(final) as beside:
                self.policy.save_state(beside, state, getattr(torch, self.recipe.model.dtype))

        self.ranks.run_on_rank0(save)
        return final

    def summary(self, **facts: object) -> dict[str, object]:
        """What a training command returns: where the run lives, and `facts`."""
        skipped = {"skipped_updates": self.skipped_updates} if self.skipped_updates else {}
        return {"run_dir": str(self.folder), "steps": self.section.steps, **skipped, **facts}
