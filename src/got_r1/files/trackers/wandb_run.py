"""Weights & Biases: `wandb/` of the run folder, and its server unless WANDB_MODE=offline.

The step of W&B's history is the run's own, so that the sessions of a resumed run fit together, on
the server and when offline sessions are uploaded with `wandb sync`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import wandb

from got_r1.files.trackers.base import GalleryRow, TrackedRun, gallery_table

__all__ = ["WandbRun"]


class WandbRun:
    """One session of a run. Raises RuntimeError where there is no API key."""

    def __init__(self, run: TrackedRun, patience: float) -> None:
        # Images of tables wait there for their upload: in the home folder, if not told otherwise.
        os.environ.setdefault("WANDB_DATA_DIR", str(run.folder / "wandb" / "data"))
        # Without `prompt`, a missing key is an answer, not a question on the terminal.
        offline = wandb.setup().settings.mode not in ("online", "shared", "run")
        if not offline and not wandb.login(prompt=False):
            raise RuntimeError(
                "there is no W&B API key: run `wandb login` once, set WANDB_API_KEY, or set "
                "WANDB_MODE=offline to write to the run folder alone"
            )
        self._run = wandb.init(
            project=run.project,
            name=run.name,
            id=run.id,
            config=dict(run.config),
            dir=str(run.folder),
            resume=None if offline else "allow",  # W&B warns that offline there is nothing to ask
            settings=wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                save_code=False,
                x_save_requirements=False,
                silent=True,
                finish_timeout=patience,
                finish_timeout_raises=True,
            ),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds one step's metrics."""
        self._run.log(dict(metrics), step=step)

    def gallery(self, step: int, rows: Sequence[GalleryRow]) -> None:
        """Adds a table of the samples to its step."""
        columns, cells = gallery_table(rows, wandb.Image)
        self._run.log({"samples": wandb.Table(columns=columns, data=cells)}, step=step)

    def close(self, wait: float) -> None:
        """Uploads what is left, for `patience` seconds at most."""
        self._run.finish()
