"""The frame in which the official detectors see a picture, and boxes in it.

The official loader scales a picture so that its short side has 479 pixels, and less where the long
side would pass 480; boxes come out in pixels of that frame, and the limit of 150 pixels for "near"
is meant there. A square picture of any size has the frame 479 x 479.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from got_r1.benchmarks.compbench.quirks import Quirks
from got_r1.errors import BadInput

__all__ = ["FrameBox", "FramedObject", "frame_size", "names", "to_frame"]

SHORT_SIDE = 479
LONG_SIDE = 480

FrameBox = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the frame, origin top-left."""


@dataclass(frozen=True, slots=True)
class FramedObject:
    """One detection: the text of the detector's label, its score in [0, 1], its box."""

    label: str
    score: float
    box: FrameBox


def frame_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the frame of a picture of this size."""
    scale = SHORT_SIDE / min(width, height)
    if max(width, height) * scale > LONG_SIDE:
        scale = LONG_SIDE / max(width, height)
    return int(width * scale + 0.5), int(height * scale + 0.5)


def to_frame(label: str, score: float, box: Sequence[float], size: tuple[int, int]) -> FramedObject:
    """A detection whose box is in pixels of a picture of `size` (width, height), in its frame.

    The box is cut to the picture, as the official detector's boxes are: a coordinate below 0 would
    count from the far end when a depth map is sliced. Raises BadInput for a box that is none.
    """
    x1, y1, x2, y2 = map(float, box)
    if not (x1 <= x2 and y1 <= y2):  # also where one is not a number
        raise BadInput(
            f"the box {list(box)} of {label!r} is not [x1, y1, x2, y2] with x1 <= x2 and y1 <= y2; "
            "check the detections."
        )
    frame = frame_size(*size)
    (across, down), (right, bottom) = (
        (frame[0] / size[0], frame[1] / size[1]),
        (float(frame[0]), float(frame[1])),
    )
    return FramedObject(
        label,
        float(score),
        (
            min(max(x1 * across, 0.0), right),
            min(max(y1 * down, 0.0), bottom),
            min(max(x2 * across, 0.0), right),
            min(max(y2 * down, 0.0), bottom),
        ),
    )


def names(label: str, word: str, quirks: Quirks) -> bool:
    """Whether a label names a word: anywhere inside it, or corrected, as whole words of it."""
    if quirks.labels_by_substring:
        return word in label
    return re.search(rf"\b{re.escape(word)}\b", label) is not None
