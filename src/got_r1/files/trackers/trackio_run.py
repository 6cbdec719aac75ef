"""Trackio: a local database, where `trackio show` looks for it.

That is TRACKIO_DIR, by default ~/.cache/huggingface/trackio: runs of several folders are compared
in one dashboard, and nothing has to be set to see them. A Space or a server gets the run only where
TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence

# Trackio asks the hub who is logged in, for a local run too. Read when it is imported.
if not (os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")):
    os.environ["HF_HUB_OFFLINE"] = "1"

import trackio

from got_r1.files.trackers.base import GalleryRow, TrackedRun, gallery_table

__all__ = ["TrackioRun"]


class TrackioRun:
    """One session of a run; for a process of its own, whose warnings it listens to."""

    def __init__(self, run: TrackedRun, patience: float) -> None:
        self._problem: str | None = None
        warnings.showwarning = self._hear  # type: ignore[assignment]
        self._run = trackio.init(
            project=run.project,
            name=run.name,
            config=dict(run.config),
            # Trackio resumes by name, and folders elsewhere may have that name: we go by the id.
            resume="never",
            embed=False,
            auto_log_cpu=False,
        )
        self._run.id = run.id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds one step's metrics."""
        self._check()
        self._run.log(dict(metrics), step=step)

    def gallery(self, step: int, rows: Sequence[GalleryRow]) -> None:
        """Adds a table of the samples to its step."""
        self._check()
        columns, cells = gallery_table(rows, trackio.Image)
        self._run.log({"samples": trackio.Table(columns=columns, data=cells)}, step=step)

    def close(self, wait: float) -> None:
        """Writes what is left, for 30 seconds at most."""
        self._run.finish()
        self._check()

    def _hear(self, message: Warning | str, *_: object) -> None:
        """Keeps a warning of Trackio's: it warns of what it cannot write, instead of raising."""
        text = " ".join(str(message).split()).rstrip(".")
        if "trackio" in text.lower():
            self._problem = self._problem or text

    def _check(self) -> None:
        """Raises RuntimeError where Trackio has warned."""
        if self._problem:
            raise RuntimeError(self._problem)
