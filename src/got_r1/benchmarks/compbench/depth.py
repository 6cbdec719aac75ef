"""3D-spatial: is the first object in front of the second, or behind it?

The arithmetic of T2I-CompBench's `3D_spatial_eval.py`: detections and a depth map in, a score in
[0, 1] out; and `depth_map`, the official way from a depth network's output to that map. Odd, but
kept without a switch:

- The boxes must overlap: IoU 0 is worth 0 even where the depths are right, and so is exactly 0.5.
- There is no cut-off, so one found object does score here.
- Of several boxes with an object's label the latest one before both are found counts.
- A box thinner than a pixel, or outside the map, has no mean depth and a position of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from got_r1.benchmarks.compbench.frames import FrameBox, FramedObject, names
from got_r1.benchmarks.compbench.quirks import OFFICIAL, Quirks
from got_r1.benchmarks.compbench.spatial import asked_objects
from got_r1.benchmarks.compbench.tagger import Token
from got_r1.vision.boxes import overlap

__all__ = ["DepthScore", "as_stored", "depth_map", "mean_depth", "position_score", "score"]

LOCALITIES = ("in front of", "behind", "hidden")
FULL_OVERLAP = 0.5  # IoU from which a right order is worth 1


@dataclass(frozen=True, slots=True)
class DepthScore:
    """The score and what led to it.

    Indices are into the detections; means are in [0, 1], larger is nearer, None for no mean;
    `position` is None where not both objects were found.
    """

    obj1: str
    obj2: str
    obj1_index: int | None
    obj2_index: int | None
    locality: str | None
    mean_depth_1: float | None
    mean_depth_2: float | None
    position: float | None
    score: float


def score(
    prompt: str,
    tokens: Sequence[Token],
    detections: Sequence[FramedObject],
    depth: NDArray[np.float32],
    *,
    quirks: Quirks = OFFICIAL,
) -> DepthScore:
    """The 3D-spatial score of one image, in [0, 1].

    `depth`: float32 [height, width] of the frame that the boxes are in, in [0, 1], larger is
    nearer. Raises BadInput for a prompt without a noun.
    """
    asked = next((phrase for phrase in LOCALITIES if phrase in prompt), None)
    obj1, obj2 = asked_objects(tokens)
    assert obj1 is not None
    assert obj2 is not None  # only complex prompts can lack a pair
    index1, index2 = find_both(obj1, obj2, [found.label for found in detections], quirks)
    mean1 = mean2 = position = None
    found = [detections[index] for index in (index1, index2) if index is not None]
    total = sum(0.25 * one.score for one in found)
    if len(found) == 2:
        boxes = [one.box for one in found]
        mean1, mean2 = (mean_depth(depth, box, quirks) for box in boxes)
        position = position_score(overlap(boxes[0], boxes[1]), mean1, mean2, asked)
        total += 0.5 * position
    return DepthScore(obj1, obj2, index1, index2, asked, mean1, mean2, position, total)


def find_both(
    first: str, second: str, labels: Sequence[str], quirks: Quirks
) -> tuple[int | None, int | None]:
    """Where both objects are among the labels: each at its latest place when both are first seen;
    where only one is there, its first place."""
    at: list[int | None] = [None, None]
    first_seen: list[int | None] = [None, None]
    for index, label in enumerate(labels):
        for which, word in enumerate((first, second)):
            if names(label, word, quirks):
                at[which] = index
                if first_seen[which] is None:
                    first_seen[which] = index
        if None not in at:
            return at[0], at[1]
    return first_seen[0], first_seen[1]


def mean_depth(
    depth: NDArray[np.float32], box: FrameBox, quirks: Quirks = OFFICIAL
) -> float | None:
    """Mean of the map over a box, its coordinates cut to whole pixels; None for no pixel.

    Summed by torch in float32, in the order of the official code: two boxes in front of the same
    surface differ by rounding alone, and which of them is nearer depends on it.
    """
    import torch

    x1, y1, x2, y2 = map(int, box)
    pixels = torch.from_numpy(np.ascontiguousarray(depth))
    region = pixels[x1:x2, y1:y2] if quirks.depth_axes_swapped else pixels[y1:y2, x1:x2]
    if not region.numel():
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads add a large box in another order: other last digits
    try:
        return region.mean().item()
    finally:
        torch.set_num_threads(threads)


def position_score(
    iou: float, mean1: float | None, mean2: float | None, asked: str | None
) -> float:
    """What the order in depth is worth, in [0, 1]: 0 where it is wrong, else by the IoU."""
    if mean1 is None or mean2 is None or asked is None:
        return 0.0
    in_order = mean1 > mean2 if asked == "in front of" else mean1 < mean2
    if not in_order or iou == FULL_OVERLAP:
        return 0.0
    return min(iou / FULL_OVERLAP, 1.0)


# -- from a depth network's output to the map ------------------------------------------------------


def depth_map(
    raw: NDArray[np.float32], source: tuple[int, int], frame: tuple[int, int]
) -> NDArray[np.float32]:
    """A network's raw output as the map that `score` reads: float32 [height, width] of the frame.

    The official script stores the map as an 8-bit picture of the source's size and reads it back in
    the frame, so both roundings are part of the score. `raw`: [rows, columns], any scale, larger is
    nearer. `source`, `frame`: (width, height).
    """
    stored = Image.fromarray(as_stored(raw, source))
    return np.asarray(stored.resize(frame, Image.Resampling.BILINEAR), np.float32) / np.float32(255)


def as_stored(raw: NDArray[np.float32], source: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture that the official script stores: the raw output from 0 to 1 over the picture,
    bilinear with aligned corners to the source's size, times 255, cut. uint8 [height, width].

    A map that is flat everywhere is 0 (the official code divides by zero there).
    """
    import torch
    from torch.nn.functional import interpolate

    values = torch.as_tensor(np.ascontiguousarray(raw, np.float32))[None, None]
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low) if high > low else torch.zeros_like(values)
    width, height = source
    large = interpolate(scaled, (height, width), mode="bilinear", align_corners=True)
    picture: NDArray[np.uint8] = (large[0, 0] * 255).to(torch.uint8).numpy()
    return picture
