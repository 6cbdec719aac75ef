"""How many images share a forward pass: only those that need no padding to do so.

Padding is where batching leaks into answers: a convolution sees it, and a window of a Swin
transformer attends to it. So images are grouped by the size that their model gives them; images of
one run nearly always have one size, and then nothing is lost.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["as_pictures", "pixel_values", "same_shape"]


def same_shape(keys: Sequence[Hashable], batch: int) -> Iterator[list[int]]:
    """Indices of items with equal keys, at most `batch` at a time; every index once.

    Groups come in the order in which their keys appear first.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    for group in groups.values():
        for start in range(0, len(group), batch):
            yield group[start : start + batch]


def as_pictures(images: Sequence[np.ndarray]) -> list[Image.Image]:
    """PIL pictures of uint8 [height, width, 3] arrays.

    Processors guess from an array's shape where its channels are, and guess wrong for an image
    three pixels high; a picture leaves nothing to guess. Raises ValueError for other arrays.
    """
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"an image must be uint8 [height, width, 3], not {image.dtype} {image.shape}"
            )
    return [Image.fromarray(image, "RGB") for image in images]


def pixel_values(processor: Any, images: Sequence[np.ndarray]) -> list[Tensor]:
    """What a processor makes of each image alone, [3, height, width]; sizes may differ."""
    return [
        processor([picture], return_tensors="pt")["pixel_values"][0]
        for picture in as_pictures(images)
    ]
