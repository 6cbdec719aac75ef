"""What GenEval's colour classifier sees of an object, and the words it chooses among.

A detected object is cut out along its mask and laid on grey, then cropped to its box; CLIP decides
between ten colours, each described in three sentences whose embeddings are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from got_r1.benchmarks.geneval.rules import COLORS, OFFICIAL, Detected, Options

__all__ = ["color_prompts", "cut_out"]


def color_prompts(name: str) -> list[list[str]]:
    """For each of the ten colours, in order, the sentences that describe an object of it."""
    return [
        [
            f"a photo of a {color} {name}",
            f"a photo of a {color}-colored {name}",
            f"a photo of a {color} object",
        ]
        for color in COLORS
    ]


def cut_out(
    image: NDArray[np.uint8],
    seen: Detected,
    mask: NDArray[np.bool_] | None,
    options: Options = OFFICIAL,
) -> NDArray[np.uint8]:
    """The picture of one object, uint8 [height, width, 3].

    `image`: uint8 [height, width, 3]; `mask`: [height, width], True on the object, None where the
    detector gives none. Box coordinates are rounded (halves to even numbers); what a box has
    outside the image is black, as Pillow crops.
    """
    if mask is not None and options.bgcolor != "original":
        background = np.array(ImageColor.getrgb(options.bgcolor)[:3], np.uint8)
        image = np.where(mask[..., None], image, background)
    return crop(image, seen.box) if options.crop else image


def crop(image: NDArray[np.uint8], box: Sequence[float]) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    height, width = image.shape[:2]
    cut = np.zeros((max(y2 - y1, 0), max(x2 - x1, 0), 3), np.uint8)
    top, bottom = max(y1, 0), min(y2, height)
    left, right = max(x1, 0), min(x2, width)
    if top < bottom and left < right:
        cut[top - y1 : bottom - y1, left - x1 : right - x1] = image[top:bottom, left:right]
    return cut
