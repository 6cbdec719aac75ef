"""Vision models behind light judges and benchmarks, through transformers and without torchvision.

`base` holds what may be asked of them, `settings` what they are. One `load_*` per interface: an
explicit `match` that imports inside each arm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from got_r1.vision.base import (
    VQA,
    DepthEstimator,
    Detection,
    Detector,
    ImageQuality,
    TextImageSimilarity,
)

if TYPE_CHECKING:
    from got_r1.vision.settings import (
        DepthSettings,
        DetectorSettings,
        QualitySettings,
        SimilaritySettings,
        VQASettings,
    )

__all__ = [
    "VQA",
    "DepthEstimator",
    "Detection",
    "Detector",
    "ImageQuality",
    "TextImageSimilarity",
    "load_depth",
    "load_detector",
    "load_quality",
    "load_similarity",
    "load_vqa",
]


def load_detector(settings: DetectorSettings) -> Detector:
    """The detector. Raises `BadInput` where its folder is missing or holds another model."""
    match settings.kind:
        case "grounding_dino":
            from got_r1.vision.grounding_dino import GroundingDINO

            return GroundingDINO(settings)
        case "owlv2":
            from got_r1.vision.owlv2 import OWLv2

            return OWLv2(settings)
        case "mask2former":
            from got_r1.vision.mask2former import Mask2Former

            return Mask2Former(settings)


def load_similarity(settings: SimilaritySettings) -> TextImageSimilarity:
    """CLIP. Raises `BadInput` as `load_detector` does; so do all of these."""
    from got_r1.vision.clip import CLIP

    return CLIP(settings)


def load_vqa(settings: VQASettings) -> VQA:
    """BLIP-VQA."""
    from got_r1.vision.blip import BlipVQA

    return BlipVQA(settings)


def load_depth(settings: DepthSettings) -> DepthEstimator:
    """DPT."""
    from got_r1.vision.dpt import DPT

    return DPT(settings)


def load_quality(settings: QualitySettings) -> ImageQuality:
    """HPS v2.1."""
    from got_r1.vision.hps import HPS

    return HPS(settings)
