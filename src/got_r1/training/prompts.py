"""The prompts that RL trains on: sources, mixed by weight, without what is held out."""

from __future__ import annotations

import glob
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from got_r1.errors import BadInput
from got_r1.files.inputs import read_prompts
from got_r1.icons.prompts import prompt_list
from got_r1.recipes.sections import DataSection, PromptSource
from got_r1.records import Prompt

__all__ = ["PromptMix", "load_prompts"]

ICONS = "icons"  # the path that stands for the icon world's own list
ICON_PROMPTS = 5000  # of the world's training list; more than any run of the recipe sees


@dataclass(frozen=True, slots=True)
class PromptMix:
    """Sources of prompts with the share of each in what is drawn; shares add up to 1."""

    sources: tuple[tuple[Prompt, ...], ...]
    shares: tuple[float, ...]
    held_out: int = 0
    """How many prompts were removed because they are held out."""

    def draw(self, count: int, seed: int) -> list[Prompt]:
        """`count` prompts, a function of `seed` alone, so that a resumed run draws the same.

        Each place falls to a source by the shares, independently of the others. The prompts that a
        source gives in one draw all differ, as long as it has that many: the same prompt twice in
        a step would be the same samples twice.
        """
        rng = np.random.default_rng(seed)
        owners = rng.choice(len(self.sources), count, p=self.shares)
        drawn: dict[int, Prompt] = {}
        for index, source in enumerate(self.sources):
            places = np.flatnonzero(owners == index)
            for first in range(0, len(places), len(source)):
                some = places[first : first + len(source)]
                chosen = rng.choice(len(source), len(some), replace=False)
                drawn |= {int(place): source[i] for place, i in zip(some, chosen, strict=True)}
        return [drawn[place] for place in range(count)]

    def describe(self) -> str:
        """What is drawn from, in a line for people."""
        sizes = ", ".join(
            f"{len(source):,} ({share:.0%})"
            for source, share in zip(self.sources, self.shares, strict=True)
        )
        removed = f"; {self.held_out:,} held-out prompts removed" if self.held_out else ""
        return f"prompts by source: {sizes}{removed}"


def load_prompts(data: DataSection, quiet: bool = False) -> PromptMix:
    """The training prompts of a recipe; without a source, the icon world's train list.

    A prompt counts once in its source. What `data.held_out` holds is removed wherever it says the
    same, whatever its case, spaces and punctuation; how much that was is told on stderr, unless
    `quiet`. Raises BadInput where a file is missing, unreadable or without a prompt, and where a
    source has nothing left.
    """
    held_out = {
        normalise(prompt.text)
        for pattern in data.held_out
        for path in matching_files(pattern)
        for prompt in read_prompts(path)
    }
    settings = data.prompts or [PromptSource(path=ICONS)]
    sources, removed = [], 0
    for source in settings:
        prompts = read_source(source)
        kept = tuple(prompt for prompt in prompts if normalise(prompt.text) not in held_out)
        if not kept:
            raise BadInput(
                f"all {len(prompts)} prompts of the source {source.path} are held out by "
                "data.held_out; remove the source, or hold out less."
            )
        sources.append(kept)
        removed += len(prompts) - len(kept)
    weights = np.array([source.weight for source in settings])
    mix = PromptMix(tuple(sources), tuple((weights / weights.sum()).tolist()), removed)
    if data.held_out and not quiet:
        Console(stderr=True).print(mix.describe(), highlight=False, markup=False)
    return mix


def read_source(source: PromptSource) -> list[Prompt]:
    """All prompts of a source, each text once, in the order of its files."""
    if source.path == ICONS:
        return prompt_list("train", ICON_PROMPTS, seed=0)
    prompts = (
        prompt
        for path in matching_files(source.path)
        for prompt in read_prompts(path, source.column)
    )
    return list({prompt.text: prompt for prompt in prompts}.values())


def matching_files(pattern: str) -> list[str]:
    """The files of a path or pattern, sorted. Raises BadInput where a pattern names none."""
    if Path(pattern).exists() or not glob.has_magic(pattern):
        return [pattern]
    files = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (patterns may be absolute)
    if not files:
        raise BadInput(f"no prompt file matches {pattern}; check the path.")
    return files


def normalise(text: str) -> str:
    """What two wordings must share to be the same prompt: letters and digits, in order."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split())
