"""From a detector's own coordinates to pixels of the image that it was given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from got_r1.records import Box
from got_r1.vision.base import Detection, PixelBox

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["corners", "overlap", "ranked", "suppressed", "to_thousandths"]


def corners(
    boxes: Tensor, image: tuple[int, int], frame: tuple[int, int] | None = None
) -> NDArray[np.float64]:
    """Boxes in pixels, x1, y1, x2, y2, cut to the image: [queries, 4].

    `boxes`: (centre x, centre y, width, height) as shares of a frame, which begins at the image's
    upper left corner. `image` and `frame` are (width, height); without a frame it is the image.
    """
    middle, half = boxes[:, :2].double().numpy(), boxes[:, 2:].double().numpy() / 2
    pixels = np.concatenate([middle - half, middle + half], axis=1)
    return (pixels * ((frame or image) * 2)).clip(0, image * 2)


def ranked(detections: Iterable[Detection]) -> list[Detection]:
    """The most confident first; equals in the order given."""
    return sorted(detections, key=lambda one: -one.score)


def overlap(a: PixelBox, b: PixelBox) -> float:
    """Intersection over union of two pixel boxes; 0 where neither has an area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)


def suppressed(detections: Sequence[Detection], limit: float) -> list[Detection]:
    """Those that no more confident one of the same label overlaps by more than `limit`."""
    kept: list[Detection] = []
    for one in ranked(detections):
        rivals = (other for other in kept if other.label == one.label)
        if all(overlap(one.box, other.box) <= limit for other in rivals):
            kept.append(one)
    return kept


def to_thousandths(box: PixelBox, width: int, height: int) -> Box:
    """A pixel box in the plan's coordinates: 0 is the left or upper edge, 999 the right or lower.

    Rounded to the nearest and kept inside; at least one thousandth wide and high.
    """
    x1, x2 = (_within(x * 999 / width) for x in (box[0], box[2]))
    y1, y2 = (_within(y * 999 / height) for y in (box[1], box[3]))
    x1, y1 = min(x1, 998), min(y1, 998)
    return Box(x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))


def _within(value: float) -> int:
    return min(999, max(0, round(value)))
