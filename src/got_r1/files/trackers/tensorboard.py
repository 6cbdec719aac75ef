"""TensorBoard: the numbers, in `tensorboard/` of the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from got_r1.files.trackers.base import GalleryRow

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes event files. `purge_step`: the first step of a resumed run; what was written about it
    and later steps is replaced."""

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        self._folder = folder
        self._purge_step = purge_step
        self._board: SummaryWriter | None = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds one step's metrics."""
        if self._board is None:
            # Imported here: it brings torch, which the report's reader must not need.
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._folder), purge_step=self._purge_step)
        for key, value in metrics.items():
            self._board.add_scalar(key, value, step)

    def gallery(self, step: int, rows: Sequence[GalleryRow]) -> None:
        """Nothing: the images are in `samples/` and in the report."""

    def close(self, wait: float) -> None:
        """Flushes and closes the event file."""
        if self._board is not None:
            self._board.close()
            self._board = None
