"""The prompts that RL trains on: sources, mixed by weight, without what is held out."""

from __future__ import annotations

import glob
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from got_r1.errors import BadInput, listed
from got_r1.files.prompt_files import read_prompts
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
    repeated: int = 0
    """How many prompts were left out because they stand in their source before."""

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
        repeated = f"; {self.repeated:,} repeated prompts left out" if self.repeated else ""
        removed = f"; {self.held_out:,} held-out prompts removed" if self.held_out else ""
        return f"prompts by source: {sizes}{repeated}{removed}"


def load_prompts(data: DataSection, quiet: bool = False) -> PromptMix:
    """The training prompts of a recipe; without a source, the icon world's train list.

    A prompt counts once in its source. What `data.held_out` holds is removed wherever it says the
    same, whatever its case, spaces and punctuation. How much either was, and which files hold out
    nothing, is told on stderr, unless `quiet`. Raises BadInput where a file is missing, unreadable
    or without a prompt, and where a source has nothing left.
    """
    files = [
        (path, {normalise(prompt.text) for prompt in read_prompts(path, entry.column)})
        for entry in data.held_out
        for path in matching_files(entry.path)
    ]
    held_out = {text for _, texts in files for text in texts}
    settings = data.prompts or [PromptSource(path=ICONS)]
    sources, removed, repeated = [], 0, 0
    matched: set[str] = set()
    for source in settings:
        prompts, repeats = read_source(source, data.depth)
        texts = [normalise(prompt.text) for prompt in prompts]
        matched |= held_out.intersection(texts)
        kept = tuple(
            prompt for prompt, text in zip(prompts, texts, strict=True) if text not in held_out
        )
        if not kept:
            raise BadInput(
                f"all {len(prompts)} prompts of the source {source.path} are held out by "
                "data.held_out; remove the source, or hold out less."
            )
        sources.append(kept)
        removed += len(prompts) - len(kept)
        repeated += repeats
    weights = np.array([source.weight for source in settings])
    mix = PromptMix(tuple(sources), tuple((weights / weights.sum()).tolist()), removed, repeated)
    if not quiet:
        tell(mix, [f"{path} ({len(texts):,})" for path, texts in files if not texts & matched])
    return mix


def tell(mix: PromptMix, unmatched: Sequence[str]) -> None:
    """Says on stderr what was left out, and which held-out files hold out nothing: as it should be
    where they are about other things, but also what a file that is read wrongly looks like.

    `unmatched`: such files, with their numbers of prompts.
    """
    if mix.held_out or mix.repeated or unmatched:
        Console(stderr=True).print(mix.describe(), highlight=False, markup=False)
    if unmatched:
        Console(stderr=True).print(
            f"warning: none of the held-out prompts in {listed(unmatched)} is among the training "
            "prompts; check the files and their data.held_out.N.column if some should be.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def read_source(source: PromptSource, depth: float = 0.0) -> tuple[list[Prompt], int]:
    """The prompts of a source in the order of its files, each text once; and how many repeats of
    them were left out. `depth`: of the icon world's, the share that is about depth."""
    if source.path == ICONS:
        return prompt_list("train", ICON_PROMPTS, seed=0, depth=depth), 0
    prompts = [
        prompt
        for path in matching_files(source.path)
        for prompt in read_prompts(path, source.column)
    ]
    once = {prompt.text: prompt for prompt in prompts}
    return list(once.values()), len(prompts) - len(once)


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
