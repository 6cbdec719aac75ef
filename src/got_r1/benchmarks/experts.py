"""The models that look at a benchmark's images: loaded when first asked, named in every score.

One place turns what the user named into models (`vision`), so that a benchmark asks for a detector
or for answers and need not know which.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput
from got_r1.vision.base import Detection

if TYPE_CHECKING:
    from got_r1.vision.base import VQA, DepthEstimator, Detector, TextImageSimilarity

__all__ = ["Experts", "IconDetector", "named_like"]


class Experts:
    """The models of `settings`. Every one raises BadInput where its folder is missing or holds
    another model."""

    def __init__(self, settings: BenchmarkSettings, *, clip: str) -> None:
        self.settings = settings
        self._clip = clip

    @cached_property
    def detector(self) -> Detector:
        """The detector. Raises BadInput where none is named: there is no number without one, and
        none of them is the benchmark's own."""
        from got_r1.vision import load_detector
        from got_r1.vision.settings import detector_named

        named = self.settings.detector
        if named == "icons":
            return IconDetector()
        if not named:
            raise BadInput(
                "the scores need a detector: --detector KIND:MODEL (or --detections FILE for "
                "detections made elsewhere)."
            )
        return load_detector(detector_named(named, self.settings.device))

    @cached_property
    def vqa(self) -> VQA:
        """BLIP-VQA; T2I-CompBench shows it more pixels than its checkpoint was trained on."""
        from got_r1.vision import load_vqa
        from got_r1.vision.settings import VQASettings

        model = self.settings.vqa or str(VQASettings.model_fields["model"].default)
        return load_vqa(
            VQASettings(model=model, device=self.settings.device, size=self.settings.vqa_size)
        )

    @cached_property
    def clip(self) -> TextImageSimilarity:
        """CLIP, the benchmark's own where the user names none."""
        from got_r1.vision import load_similarity
        from got_r1.vision.settings import SimilaritySettings

        model = self.settings.clip or self._clip
        return load_similarity(SimilaritySettings(model=model, device=self.settings.device))

    @cached_property
    def depth(self) -> DepthEstimator:
        """DPT."""
        from got_r1.vision import load_depth
        from got_r1.vision.settings import DepthSettings

        model = self.settings.depth or str(DepthSettings.model_fields["model"].default)
        return load_depth(DepthSettings(model=model, device=self.settings.device))

    def loaded(self) -> dict[str, str]:
        """The names of the models that were asked for anything, by their part, and "versions":
        hashes of their weights, since a folder's name says little, and of the library."""
        parts = ("detector", "vqa", "clip", "depth")
        asked = {part: vars(self)[part] for part in parts if part in vars(self)}
        found = {part: expert.name for part, expert in asked.items()}
        models = {part: one.model for part, one in asked.items() if hasattr(one, "model")}
        if models:
            import transformers

            from got_r1.files.weights import fingerprint

            hashes = (f"{part} weights {fingerprint(model)[-8:]}" for part, model in models.items())
            found["versions"] = ", ".join([*hashes, f"transformers {transformers.__version__}"])
        return found


def named_like(name: str, official: str) -> bool:
    """Whether a model calls itself as the official one: a folder or hub id that ends in its name.

    Nothing else is known of weights, so a renamed folder is believed, or not.
    """
    return name.split()[-1].split("/")[-1] == official if name.split() else False


class IconDetector:
    """The embedded world's detector as a `Detector`: labels are nouns, boxes to the pixel.

    It measures what the world's own benchmark measures, so tests have true numbers.
    """

    name = "icon detector"
    labels: tuple[str, ...] | None

    def __init__(self) -> None:
        from got_r1.icons.world import NOUNS

        self.labels = NOUNS

    def detect(
        self, images: Sequence[np.ndarray], vocabularies: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """As `Detector.detect`; all that it finds is certain."""
        from got_r1.icons.detect import detect

        found = []
        for image, vocabulary in zip(images, vocabularies, strict=True):
            height, width = image.shape[:2]
            across, down = width / 1000, height / 1000
            found.append(
                [
                    Detection(
                        icon.noun,
                        (
                            icon.box.x1 * across,
                            icon.box.y1 * down,
                            (icon.box.x2 + 1) * across,
                            (icon.box.y2 + 1) * down,
                        ),
                        1.0,
                    )
                    for icon in detect(image)
                    if icon.noun in vocabulary
                ]
            )
        return found
