"""What is checked before a conversion writes its first byte."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from transformers import JanusConfig, JanusForConditionalGeneration

from got_r1.checkpoints.shards import BYTES, DTYPES, Source
from got_r1.errors import BadInput, explained, first_line

__all__ = [
    "check_disk",
    "check_tensors",
    "common_dtype",
    "model_shapes",
    "no_janus",
]

Shape = tuple[int, ...]


def no_janus(src: Path) -> AbstractContextManager[None]:
    """Turns what the library says to impossible settings into BadInput."""
    return explained(
        lambda error: BadInput(f"the settings in {src} make no Janus: {first_line(error)}")
    )


def model_shapes(config: JanusConfig) -> dict[str, Shape]:
    """Names and shapes of a model's weights, from the meta device."""
    with torch.device("meta"):
        model = JanusForConditionalGeneration(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def check_tensors(src: Path, found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    """Raises BadInput naming tensors that are missing, surplus or misshapen."""
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} is surplus" for name in found if name not in wanted]
    problems += [
        f"{name} has shape {list(found[name])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape
    ]
    if problems:
        shown = "; ".join(problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise BadInput(f"the tensors of {src} do not make up its Janus model: {shown}{more}.")


def common_dtype(src: Path, source: Source, names: Mapping[str, Shape], wanted: str | None) -> str:
    """The type to write. Raises BadInput for mixed types that no choice resolves."""
    kinds: Counter[str] = Counter()
    example: dict[str, str] = {}
    for name in names:
        kind = source.tensors[name].dtype
        kinds[kind] += 1
        example.setdefault(kind, name)
    for kind in kinds:
        if kind not in BYTES:
            raise BadInput(
                f"{example[kind]} in {src} is of type {kind}: a quantised checkpoint cannot be "
                "converted, take the one it was made from."
            )
    if wanted is not None:
        return wanted
    if len(kinds) > 1:
        said = ", ".join(f"{kind} ({n}, such as {example[kind]})" for kind, n in kinds.items())
        raise BadInput(f"{src} mixes types: {said}; choose one with --dtype.")
    (kind,) = kinds
    if kind not in DTYPES:
        raise BadInput(f"{src} is of type {kind}; choose a smaller one with --dtype.")
    return kind


def check_disk(dst: Path, needed: int) -> None:
    """Raises BadInput where the destination's disk has too little room."""
    place = next(parent for parent in dst.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise BadInput(
            f"the disk has too little room for {dst}: {needed / 1e9:.1f} GB are needed and "
            f"{free / 1e9:.1f} GB are free; choose a destination on another disk."
        )
