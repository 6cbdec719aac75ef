"""Run folders to watch, written by what writes those of training."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from got_r1.files.runlog import RunLog
from got_r1.files.trackers.base import Tracking

IMAGE = np.full((40, 40, 3), 255, np.uint8)
BOX = "<|box_start|>(0,0),(400,400)<|box_end|>"


def record(text: str = "a star", advantage: float | None = 0.5, **more: Any) -> dict[str, Any]:
    """What a run keeps of a sample, `text` wherever it has some."""
    return {
        "prompt": text,
        "category": text,
        "chain": f"There is <|obj_start|>{text}<|obj_end|> {BOX}.",
        "objects": [{"name": text, "box": [0, 0, 400, 400]}],
        "problems": [],
        "found": [{"name": text, "box": [10, 0, 400, 400]}],
        "reward": {"total": 0.8, "terms": {"r_sem": 0.5, "r_pi": 1.0}},
        "evidence": {"r_sem": text, "r_pi": "seen", "r_spa": text},
        "advantage": advantage,
        **more,
    }


def write_run(folder: Path, steps: int = 4, *, text: str = "a star", planned: int = 8) -> RunLog:
    """A run with a gallery, a group and fixed prompts at every step; goes on with `write_step`."""
    settings = {"run": {"dir": text, "seed": 1}, "model": {"path": text}, "rl": {"steps": planned}}
    config = yaml.safe_dump(settings)
    log = RunLog.create(folder, config, tracking=Tracking(()))
    for step in range(1, steps + 1):
        write_step(log, step, text)
    return log


def write_step(log: RunLog, step: int, text: str = "a star") -> None:
    """The next step of a run."""
    log.log_metrics(step, {"reward/total": 1 - 1 / step, "loss": 1 / step, "seconds/total": 1.0})
    log.save_gallery(step, [(IMAGE, record(text)), (IMAGE, record(text, None))])
    group = [record(text, advantage) for advantage in (0.1, -1.5, None, 1.0)]
    log.save_group(step, [(IMAGE, one) for one in group])
    log.save_probes(step, [(IMAGE, record(text)), (IMAGE, record("a heart"))])
