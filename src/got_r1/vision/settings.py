"""The settings of the vision models: which weights, where they run, how many images at once."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from got_r1.errors import BadInput
from got_r1.recipes.resuming import ROUNDING
from got_r1.recipes.sections import Section

__all__ = [
    "DepthSettings",
    "DetectorSettings",
    "QualitySettings",
    "SimilaritySettings",
    "VQASettings",
    "VisionSettings",
    "detector_named",
]


Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"], Field(description="dtype of the weights")
]


class VisionSettings(Section):
    """What all vision models share; plain text stands for the model."""

    shorthand = "model"

    model: str = Field(..., min_length=1, description="model folder, or its id on the hub")
    device: Annotated[str, ROUNDING] = Field(
        "", description="where it runs: cuda, cuda:1, cpu ...; empty: the GPU where there is one"
    )
    batch: Annotated[int, ROUNDING] = Field(16, ge=1, le=65536, description="images at once")


class SimilaritySettings(VisionSettings):
    """CLIP (T2I-CompBench: openai/clip-vit-base-patch32; GenEval: ViT-L/14)."""

    model: str = Field(
        "openai/clip-vit-base-patch32", min_length=1, description="CLIP folder or hub id"
    )
    dtype: Dtype = Field(
        "float32", description="dtype of the weights; embeddings are normalised in float32"
    )


class DetectorSettings(VisionSettings):
    """A detector. Always float32: deformable attention mixes types otherwise."""

    kind: Literal["grounding_dino", "owlv2", "mask2former"] = Field(
        "grounding_dino",
        description="grounding_dino and owlv2 look for any words, mask2former for its own classes "
        "(COCO), with masks",
    )
    model: str = Field(
        "IDEA-Research/grounding-dino-base", min_length=1, description="folder or hub id"
    )
    batch: Annotated[int, ROUNDING] = Field(4, ge=1, le=65536, description="images at once")
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="lowest score that counts; empty: the kind's custom (grounding_dino 0.25, "
        "owlv2 0.1, mask2former 0.3)",
    )


def detector_named(named: str, device: str = "") -> DetectorSettings:
    """The settings of a detector that a command line names as KIND:MODEL. Raises BadInput."""
    kind, _, model = named.partition(":")
    kinds = get_args(DetectorSettings.model_fields["kind"].annotation)
    if kind not in kinds or not model:
        raise BadInput(
            f"--detector {named!r} is not KIND:MODEL with a kind of {', '.join(kinds)} and a model "
            "folder or hub id."
        )
    settings: dict[str, Any] = {"kind": kind, "model": model, "device": device}
    return DetectorSettings(**settings)


class VQASettings(VisionSettings):
    """BLIP-VQA."""

    model: str = Field(
        "Salesforce/blip-vqa-capfilt-large", min_length=1, description="folder or hub id"
    )
    dtype: Dtype = "float32"
    size: int = Field(
        0,
        ge=0,
        le=8192,
        description="side of the square that images become, in pixels; 0: the folder's own "
        "(T2I-CompBench: 480, positions interpolated)",
    )


class DepthSettings(VisionSettings):
    """DPT (T2I-CompBench: the hybrid)."""

    model: str = Field("Intel/dpt-hybrid-midas", min_length=1, description="folder or hub id")
    dtype: Dtype = "float32"


class QualitySettings(VisionSettings):
    """HPS v2.1."""

    model: str = Field(
        "HPS_v2.1_compressed.pt",
        min_length=1,
        description="the official checkpoint (a file), or a CLIP folder with its weights",
    )
    tokenizer: str = Field(
        "openai/clip-vit-base-patch32",
        min_length=1,
        description="folder or hub id with CLIP's tokenizer, for a checkpoint that is a file",
    )
    dtype: Dtype = "float32"
