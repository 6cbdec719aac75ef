"""Opens a run's trackers, and continues them when the run is resumed.

    tracking.json   {"id": the run's id, "shown": {tracker: last step that it was given}}

A run that was killed has shown steps beyond the checkpoint that it is resumed from. TensorBoard
replaces them. W&B and Trackio cannot: they keep them, and the resumed run, which repeats these
steps with the same results, leaves them out.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from got_r1.files.atomic import write_text
from got_r1.files.trackers.base import TrackedRun, Tracker, Tracking
from got_r1.files.trackers.process import TrackerProcess
from got_r1.files.trackers.tensorboard import TensorBoard
from got_r1.progress import note

__all__ = ["open_trackers"]

STATE = "tracking.json"
LONGEST_NAME = 128  # characters, W&B's limit for the name of a run


def open_trackers(
    folder: Path, tracking: Tracking, resumed_from: int | None, logged: int = 0
) -> dict[str, Tracker]:
    """The trackers of the run in `folder`, by name.

    `resumed_from`: the step of the checkpoint, None in a new run; `logged`: the last step whose
    metrics the run has written before.
    """
    trackers: dict[str, Tracker] = {}
    elsewhere = [name for name in tracking.names if name != "tensorboard"]
    if "tensorboard" in tracking.names:
        purge = None if resumed_from is None else resumed_from + 1
        trackers["tensorboard"] = TensorBoard(folder / "tensorboard", purge)
    if not elsewhere and not (folder / STATE).exists():
        return trackers
    state = _read_state(folder / STATE)
    shown = {name: max(step, logged) for name, step in state["shown"].items()}
    state["shown"] = dict.fromkeys(elsewhere, 0) | shown
    write_text(folder / STATE, json.dumps(state) + "\n")
    for name in elsewhere:
        run = TrackedRun(
            folder=folder.resolve(),
            name=folder.resolve().name[:LONGEST_NAME],
            id=state["id"],
            project=tracking.project,
            config=tracking.config,
        )
        try:
            trackers[name] = TrackerProcess(name, run, state["shown"][name])
        except OSError as error:
            note(f"{name} does not track this run: its process did not start ({error.strerror}).")
    return trackers


def _read_state(path: Path) -> dict[str, Any]:
    """What the file says; a new id where it is missing or says something else."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        shown = {str(name): int(step) for name, step in state["shown"].items()}
        return {"id": str(state["id"]), "shown": shown}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"id": uuid.uuid4().hex[:12], "shown": {}}
