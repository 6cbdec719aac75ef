"""The seams of the vision models: what a judge or a benchmark may ask of them.

Images are uint8 [height, width, 3], of any sizes mixed. Each call answers in the order given,
however it batches inside, and batching does not change an answer: only what needs no padding shares
a batch. Nothing here imports torch, so that arithmetic over detections and logits needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "VQA",
    "DepthEstimator",
    "Detection",
    "Detector",
    "ImageQuality",
    "PixelBox",
    "TextImageSimilarity",
]

PixelBox = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the image that was given, origin top-left: x from 0 to its width, y
to its height. The right and lower edges are exclusive: a box around the whole image ends at
(width, height)."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that a detector found.

    `label` is the word it was asked for (or the model's own class), `score` its confidence in
    [0, 1], `mask` bool [height, width] of the image where the detector segments, else None.
    """

    label: str
    box: PixelBox
    score: float
    mask: NDArray[np.bool_] | None = None


@runtime_checkable
class Detector(Protocol):
    """Finds named things in images."""

    name: str
    """What stands beside a number that it made: kind and model."""

    labels: tuple[str, ...] | None
    """The classes of a detector that knows no others; None for one with an open vocabulary."""

    def detect(
        self, images: Sequence[np.ndarray], vocabularies: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """For each image, the things of its own vocabulary that are in it, most confident first.

        A box is given once, under the word that fits it best. Raises `BadInput` for a word that a
        closed detector does not know: finding none of it would look like an answer.
        """
        ...


@runtime_checkable
class TextImageSimilarity(Protocol):
    """Embeds images and texts in one space; the cosine says how well they fit."""

    name: str

    def embed_images(self, images: Sequence[np.ndarray]) -> NDArray[np.float32]:
        """[images, dimensions], each row of length 1."""
        ...

    def embed_texts(self, texts: Sequence[str], *, whole: bool = False) -> NDArray[np.float32]:
        """[texts, dimensions], each row of length 1.

        A text longer than the model reads is cut off, as the official implementations do; `whole`
        reads it in pieces and gives their mean direction, weighted by length.
        """
        ...


@runtime_checkable
class VQA(Protocol):
    """Answers questions about images that have the answer yes or no."""

    name: str

    def yes_no_logits(
        self, images: Sequence[np.ndarray], questions: Sequence[str]
    ) -> NDArray[np.float32]:
        """[questions, 2]: logits of "yes" and "no" as the answer's first token, one question an
        image."""
        ...


@runtime_checkable
class DepthEstimator(Protocol):
    """Estimates how near things are."""

    name: str

    def estimate(self, images: Sequence[np.ndarray]) -> list[NDArray[np.float32]]:
        """For each image its relative inverse depth (larger = nearer), on the grid on which the
        model predicts it."""
        ...


@runtime_checkable
class ImageQuality(Protocol):
    """Rates how much people would like an image for its prompt."""

    name: str

    def rate(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> NDArray[np.float32]:
        """[images] ratings on the model's own scale."""
        ...
