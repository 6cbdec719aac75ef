"""What a benchmark of pictures needs beside the pictures: the user's copy of it, and its models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["BenchmarkSettings"]


@dataclass(frozen=True, slots=True)
class BenchmarkSettings:
    """Where the benchmark's own files lie, and which models look at the images.

    Models are folders or hub ids; an empty one is the benchmark's own choice. `detector` is
    `KIND:MODEL` (`grounding_dino:FOLDER`, `owlv2:`, `mask2former:`), or `icons` for the embedded
    world's. `detections` are files made by another detector instead, `FILE` or `CATEGORY=FILE`,
    and `detections_by` its name. `vqa_size`: the side in pixels of the square that BLIP sees.
    """

    data: Path | None = None
    split: str = "val"
    categories: tuple[str, ...] = ()
    detector: str = ""
    detections: tuple[str, ...] = ()
    detections_by: str = ""
    vqa: str = ""
    vqa_size: int = 480
    clip: str = ""
    depth: str = ""
    device: str = ""
    tagger: Literal["auto", "spacy", "fallback"] = "auto"
    corrected: bool = False
    options: tuple[str, ...] = ()
