"""The interface of a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from got_r1.files.parsing import valid_unicode
from got_r1.files.redaction import redact
from got_r1.plan.layout import draw_plan
from got_r1.records import Box, PlannedObject

__all__ = ["DEFAULT", "GalleryRow", "TrackedRun", "Tracker", "Tracking", "gallery_table"]

# A sample of a gallery: its image, uint8 [height, width, 3], and its record (see `runlog`).
GalleryRow = tuple[np.ndarray, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Tracking:
    """What a recipe asks for: names of trackers (`run.track`), the project that they file the run
    under, and the recipe as nested dicts of plain values."""

    names: Sequence[str] = ("tensorboard",)
    project: str = "got-r1"
    config: Mapping[str, Any] = field(default_factory=dict)


DEFAULT = Tracking()


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as a tracker is told of it; `id` stays the same when the run is resumed."""

    folder: Path
    name: str
    id: str
    project: str
    config: Mapping[str, Any]


class Tracker(Protocol):
    """Shows one run. Its methods may raise anything: the run then goes on without this tracker."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows one step's metrics. Steps are counted from 1, each larger than the one before."""

    def gallery(self, step: int, rows: Sequence[GalleryRow]) -> None:
        """Shows the samples that were saved for a step, after its metrics."""

    def close(self, wait: float) -> None:
        """Ends the run here; returns after `wait` seconds at the latest."""


def gallery_table(rows: Sequence[GalleryRow], picture: Any) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows of cells) of a gallery: prompt, chain, the plan as a drawing, the image,
    total reward, one column for each term, advantage.

    `picture` makes a tracker's image from uint8 [height, width, 3].
    """
    terms = list(dict.fromkeys(term for _, record in rows for term in _terms(record)))
    columns = ["prompt", "chain", "plan", "image", "reward", *terms, "advantage"]
    cells = [
        [
            _text(record.get("prompt")),
            _text(record.get("chain")),
            picture(_drawing(record)),
            picture(image),
            (record.get("reward") or {}).get("total"),
            *(_terms(record).get(term) for term in terms),
            record.get("advantage"),
        ]
        for image, record in rows
    ]
    return columns, cells


def _terms(record: Mapping[str, Any]) -> Mapping[str, float]:
    terms: Mapping[str, float] = (record.get("reward") or {}).get("terms") or {}
    return terms


def _drawing(record: Mapping[str, Any]) -> np.ndarray:
    objects = []
    for planned in record.get("objects") or ():
        x1, y1, x2, y2 = planned["box"]
        box = Box(x1, y1, x2, y2, planned.get("depth"), planned.get("time"))
        objects.append(PlannedObject(_text(planned["name"]), box))
    return draw_plan(objects, (256, 256))


def _text(value: object) -> str:
    """Text that may be shown to others: no secrets, and valid Unicode."""
    return valid_unicode(redact(str(value or "")))
