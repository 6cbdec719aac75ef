"""Checkpoints by `torch.distributed.checkpoint`: trained weights, their optimizer state, the step.

The same files whatever the number of processes and whether weights are sharded: tensors are stored
by the names that they have in the bare model, in pieces that any number of processes can read. A
folder gets its name when all of it is on the disk.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from got_r1.errors import BadInput, GotR1Error, RunFailed, first_line, interrupt
from got_r1.files.atomic import replace_folder
from got_r1.files.digests import find_damage, write_digests
from got_r1.files.step_folders import step_folders
from got_r1.progress import note
from got_r1.training.distributed import Ranks
from got_r1.training.metadata import METADATA, Reader, read_metadata

__all__ = [
    "KEPT_CHECKPOINTS",
    "Learner",
    "Trained",
    "last_saved",
    "load_checkpoint",
    "newest_checkpoint",
    "newest_whole_checkpoint",
    "not_finite",
    "save_checkpoint",
]

KEPT_CHECKPOINTS = 2


class Trained(Protocol):
    """What a run has to know of the model that it trains."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def trainable(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name."""
        ...

    def merged_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors of the trained model, one by one; every rank goes through all."""
        ...

    def save_state(self, folder: Path, state: dict[str, Tensor], dtype: torch.dtype) -> None:
        """Writes the trained model."""
        ...


class Learner(NamedTuple):
    """A model with its optimizer."""

    model: Trained
    optimizer: torch.optim.Optimizer


# Keys in a checkpoint: "step", "threads" (torch's, on the CPU; rounding depends on them, and older
# checkpoints lack it), "weights/<name>", "optimizer/<name>/<AdamW's own key>"; those two below
# "judge/" too, where a judge learns beside the policy.
WEIGHTS, OPTIMIZER = "weights/", "optimizer/"
BESIDE = "judge/"


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run (a folder gets its name only when it is complete)."""
    return next(reversed(step_folders(folder / "checkpoints").values()), None)


def newest_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run none of whose files has changed since it was written; of each
    newer one, what is wrong with it is told in a line on stderr. None where there is no checkpoint.

    Reads all files of it, so one process calls it. Checkpoints without digests, of older versions,
    are taken as whole if their metadata can be read.

    Raises:
        RunFailed: there are checkpoints, and each is damaged.
        BadInput: one names something that could run code.
    """
    problems: list[str] = []
    for checkpoint in reversed(step_folders(folder / "checkpoints").values()):
        problem = find_damage(checkpoint)
        if problem is None and (checkpoint / METADATA).is_file():
            try:
                read_metadata(checkpoint)
            except RunFailed as error:
                problem = str(error)
        if problem is None:
            for one in problems:
                note(f"{one}: resuming from {checkpoint.name} instead")
            return checkpoint
        problems.append(problem)
    if problems:
        raise RunFailed(
            f"no checkpoint of {folder} is whole, so it cannot be resumed: {'; '.join(problems)}; "
            "copy them again from where they came, or start a new run in another run.dir"
        )
    return None


def save_checkpoint(
    folder: Path,
    step: int,
    model: Trained,
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
    *,
    kept: bool = False,
    judge: Learner | None = None,
) -> None:
    """Writes a checkpoint beside, renames it, then prunes older ones. All ranks call it.

    `judge`: one that learns beside the model, the same on every rank. With `kept` the checkpoint is
    one of its own, `kept_<step>`: nothing prunes it, it prunes nothing, and a run resumes from it
    only where it is renamed to `step_<step>`.

    Raises RunFailed, with nothing written or pruned, where a number in it is not finite.
    """
    state: dict[str, Any] = {
        "step": torch.tensor(step),
        "threads": torch.tensor(torch.get_num_threads()),
    }
    for prefix, learner in learners(model, optimizer, judge):
        for name, parameter in learner.model.trainable().items():
            state[f"{prefix}{WEIGHTS}{name}"] = parameter.detach()
            # Not torch's get_optimizer_state_dict: where a parameter has no state yet, it would
            # make one by a step of its own, and Adam's count would differ from the uninterrupted
            # run's.
            for key, value in learner.optimizer.state.get(parameter, {}).items():
                state[f"{prefix}{OPTIMIZER}{name}/{key}"] = value
    checkpoints = folder / "checkpoints"
    if ranks.max(float(not_finite(state) is not None)):
        name = not_finite(state) or "a tensor of another process"
        raise RunFailed(
            f"{name} holds numbers that are not finite behind step {step}, which is therefore not "
            f"saved: start again with a lower learning_rate or another model; {last_saved(folder)}"
        )
    path = checkpoints / f"{'kept' if kept else 'step'}_{step:06d}"
    with written_together(path, ranks) as beside, first_failure():
        save(state, checkpoint_id=beside, no_dist=ranks.size == 1)
    if ranks.main and not kept:
        # Newer ones are damaged ones that the run did not resume from: they do not count.
        until_now = [old for number, old in step_folders(checkpoints).items() if number <= step]
        for old in until_now[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old)


def learners(
    model: Trained, optimizer: torch.optim.Optimizer, judge: Learner | None
) -> list[tuple[str, Learner]]:
    """What a checkpoint holds the weights of, each with what its keys begin with."""
    found = [("", Learner(model, optimizer))]
    return found if judge is None else [*found, (BESIDE, judge)]


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor (of a divided one this rank's part) that holds NaN or infinity;
    None where all are finite."""
    for name, tensor in tensors.items():
        part = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        if not bool(part.isfinite().all()):
            return name
    return None


def last_saved(folder: Path) -> str:
    """A sentence's end that names a run's newest checkpoint."""
    newest = newest_checkpoint(folder)
    return "nothing was saved yet" if newest is None else f"{newest} is the newest checkpoint"


class Restored(NamedTuple):
    """Where a run goes on: behind which step, and with how many CPU threads (0: not known)."""

    step: int
    threads: int


def load_checkpoint(
    checkpoint: Path,
    model: Trained,
    optimizer: torch.optim.Optimizer,
    ranks: Ranks,
    judge: Learner | None = None,
) -> Restored:
    """Restores weights and optimizer state; returns what else was saved. All ranks call it.
    `judge` as it was saved.

    Digests are not compared: `newest_whole_checkpoint` has done that, once for all ranks.

    Raises:
        BadInput: the checkpoint is of another format or of another recipe, or names something that
            could run code.
        RunFailed: it cannot be read.
    """
    if not (checkpoint / METADATA).is_file():
        raise BadInput(
            f"{checkpoint} was written by an older version, which this one does not read: "
            "resume with that version, or start a new run"
        )
    keys = read_metadata(checkpoint).state_dict_metadata.keys()
    state: dict[str, Any] = {key: torch.tensor(0) for key in ("step", "threads") if key in keys}
    moments: list[tuple[str, torch.optim.Optimizer, nn.Parameter, str]] = []
    for prefix, learner in learners(model, optimizer, judge):
        weights, optimizing = prefix + WEIGHTS, prefix + OPTIMIZER
        trainable = learner.model.trainable()
        saved = {key.removeprefix(weights) for key in keys if key.startswith(weights)}
        described = {
            key: key.removeprefix(optimizing).rpartition("/")
            for key in keys
            if key.startswith(optimizing)
        }
        moved = {name for name, _, _ in described.values()}
        if saved != trainable.keys() or not moved <= saved or "step" not in keys:
            raise BadInput(
                f"{checkpoint} holds other parameters than this recipe trains: "
                "use the recipe that the run was started with"
            )
        for name, parameter in trainable.items():
            state[weights + name] = parameter.detach()
        for key, (name, _, kind) in described.items():
            empty = torch.zeros_like(trainable[name].detach())
            state[key] = torch.tensor(0.0) if kind == "step" else empty
            moments.append((key, learner.optimizer, trainable[name], kind))
    with first_failure(checkpoint):
        load(state, storage_reader=Reader(checkpoint), no_dist=ranks.size == 1)
    for key, optimizing_it, parameter, kind in moments:
        optimizing_it.state[parameter][kind] = state[key]
    return Restored(int(state["step"]), int(state.get("threads", 0)))


@contextmanager
def written_together(path: Path, ranks: Ranks) -> Iterator[Path]:
    """`replace_folder` for all ranks: the first makes the folder, and renames it in the end."""
    with ExitStack() as stack:
        beside = ranks.run_on_rank0(lambda: stack.enter_context(replace_folder(path)))
        yield beside
        ranks.max(0)  # all have written

        def finish() -> None:
            write_digests(beside)
            stack.close()

        ranks.run_on_rank0(finish)


@contextmanager
def first_failure(read: Path | None = None) -> Iterator[None]:
    """Lets the first of the errors that torch collects from all processes through as itself, so
    that a full disk is named; with `read`, one of reading as a sentence.

    torch also warns that one process writes alone: it is meant to.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*assuming the intent is to")
            yield
    except CheckpointException as failed:
        errors = [error for error, _ in failed.failures.values()]
        error = errors[0]
        for told in filter(None, map(interrupt, errors)):
            raise told from failed  # Ctrl-C is no damage
        if read is None or isinstance(error, GotR1Error):
            raise error from failed
        raise unreadable(read, error) from failed
    except (OSError, ValueError, EOFError) as error:
        if read is None:
            raise
        raise unreadable(read, error) from error


def unreadable(checkpoint: Path, error: BaseException) -> RunFailed:
    """The error for a checkpoint that cannot be read."""
    return RunFailed(
        f"{checkpoint} cannot be read ({first_line(error)}): move it away to resume from the one "
        "before"
    )
