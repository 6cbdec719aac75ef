"""The interface of the benchmarks: finished samples in, rows of metrics in [0, 1] out.

One row per image; `evaluation` turns rows into means with their intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from got_r1.files.sample_files import SampleFiles
from got_r1.records import Chain, Prompt

__all__ = [
    "Benchmark",
    "ImageLayout",
    "Row",
    "Sample",
    "sample_prompts_evenly",
]

Row = Mapping[str, float | str | None]
"""The metrics of one sample, each in [0, 1]; None where a metric does not apply to its prompt. Text
is evidence for people, of which no mean is made."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model made of one prompt. `image`: uint8 [height, width, 3]; `name`: its file in the
    folder it was read from, where it was read from one."""

    prompt: Prompt
    chain: Chain
    image: np.ndarray
    name: str = ""


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """Some of a benchmark's prompts and where their images lie, numbered from 0.

    `images`: a folder that holds nothing but them, where there is one. `beside`: further files of
    the official layout, by their paths.
    """

    files: SampleFiles
    prompts: tuple[Prompt, ...]
    images: Path | None = None
    beside: Mapping[Path, str] = field(default_factory=dict)


class Benchmark(Protocol):
    """A set of prompts and a way to score what a model makes of them."""

    name: str

    size: int
    """How many prompts make the benchmark (of each category, where categories are files)."""

    images_per_prompt: int
    """How many images of each prompt do."""

    reads_chains: bool
    """Whether scoring needs the chains; images made elsewhere have none."""

    averages: Mapping[str, Sequence[str]]
    """Metrics that are plain means over other metrics, whatever their numbers of prompts."""

    def prompts(self, split: str, n: int, seed: int) -> list[Prompt]:
        """`n` prompts of `split` ("dev" or "val"), the same for the same seed."""
        ...

    def layouts(
        self, folder: Path, prompts: Sequence[Prompt], images_per_prompt: int
    ) -> list[ImageLayout]:
        """How images of these prompts lie in a folder, in the official layout."""
        ...

    def score(self, samples: Sequence[Sample]) -> list[Row]:
        """One row a sample. Where several images of a prompt count, they stand together."""
        ...

    def scorers(self) -> dict[str, str]:
        """What gave the numbers, in words with its version, by its part."""
        ...

    def deviations(self, made: Mapping[str, Any]) -> dict[str, list[str]]:
        """By metric, why a number cannot stand beside published ones; none where it can.

        `made`: the content of an evaluation but for this, to see what was measured.
        """
        ...


def sample_prompts_evenly(items: Sequence[T], n: int) -> list[T]:
    """`n` of the items at even distances, the first among them, or all where there are fewer.
    Lists of prompts are often sorted by kind, so that their first `n` are all of one."""
    if n >= len(items):
        return list(items)
    return [items[place * len(items) // n] for place in range(n)]
