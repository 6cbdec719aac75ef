"""The prompts that RL trains on: sources, mixed by weight, without what is held out."""

from __future__ import annotations

import glob
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from got_r1.errors import BadInput, listed
from got_r1.files.prompt_files import read_paraphrases, read_prompts
from got_r1.icons.layouts import layout_prompts
from got_r1.icons.prompts import prompt_list
from got_r1.icons.wordings import draw_of, seen_paraphrases
from got_r1.recipes.sections import DataSection, PromptSource
from got_r1.records import Prompt

__all__ = ["PromptMix", "load_prompts"]

# The paths that stand for the icon world's own lists.
ICONS, LAYOUTS = "icons", "icons-layouts"
ICON_PROMPTS = 5000  # of a list of the world; more than any run of the recipe sees


@dataclass(frozen=True, slots=True)
class PromptMix:
    """Sources of prompts with the share of each in what is drawn; shares add up to 1."""

    sources: tuple[tuple[Prompt, ...], ...]
    shares: tuple[float, ...]
    held_out: int = 0
    """How many prompts were removed because they are held out."""
    repeated: int = 0
    """How many prompts were left out because they stand in their source before."""
    paraphrases: Mapping[Prompt, tuple[str, ...]] = field(default_factory=dict)
    """The other wordings of each prompt, where groups are asked in several (`rl.paraphrases`)."""

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

    def draw_groups(self, count: int, seed: int, wordings: int = 1) -> list[tuple[Prompt, ...]]:
        """The prompts of `draw`, each followed by `wordings` - 1 of its other wordings at random.

        The first wordings of a seed do not depend on how many there are. No sentence stands in a
        draw twice, as long as a prompt has others left.
        """
        drawn = self.draw(count, seed)
        rng = np.random.default_rng((seed, wordings))
        taken = {prompt.text for prompt in drawn}
        groups = []
        for prompt in drawn:
            others = [text for text in self.paraphrases.get(prompt, ()) if text not in taken]
            if len(others) < wordings - 1:
                others = list(self.paraphrases.get(prompt, ()))
            texts = [others[i] for i in rng.permutation(len(others))[: wordings - 1]]
            taken.update(texts)
            groups.append((prompt, *(replace(prompt, text=text) for text in texts)))
        return groups

    def texts(self) -> list[str]:
        """Every sentence that may be asked."""
        own = [prompt.text for source in self.sources for prompt in source]
        return own + [text for others in self.paraphrases.values() for text in others]

    def describe(self) -> str:
        """What is drawn from, in a line for people."""
        sizes = ", ".join(
            f"{len(source):,} ({share:.0%})"
            for source, share in zip(self.sources, self.shares, strict=True)
        )
        repeated = f"; {self.repeated:,} repeated prompts left out" if self.repeated else ""
        removed = f"; {self.held_out:,} held-out prompts removed" if self.held_out else ""
        return f"prompts by source: {sizes}{repeated}{removed}"


def load_prompts(data: DataSection, quiet: bool = False, wordings: int = 1) -> PromptMix:
    """The training prompts of a recipe; without a source, the icon world's train list.

    A prompt counts once in its source. What `data.held_out` holds is removed wherever it says the
    same, whatever its case, spaces and punctuation, in any of its wordings. How much either was,
    and which files hold out nothing, is told on stderr, unless `quiet`. Raises BadInput where a
    file is missing, unreadable or without a prompt, where a source has nothing left, and where a
    prompt has fewer than `wordings` wordings.
    """
    files = [
        (path, {normalise(prompt.text) for prompt in read_prompts(path, entry.column)})
        for entry in data.held_out
        for path in matching_files(entry.path)
    ]
    held_out = {text for _, texts in files for text in texts}
    settings = data.prompts or [PromptSource(path=ICONS)]
    sources, removed, repeated = [], 0, 0
    paraphrases: dict[Prompt, tuple[str, ...]] = {}
    matched: set[str] = set()
    for source in settings:
        prompts, repeats = read_source(source, data, wordings)
        kept = dict(prompts)
        for prompt, others in prompts.items() if held_out else ():
            found = held_out.intersection(map(normalise, (prompt.text, *others)))
            if found:
                matched |= found
                del kept[prompt]
        if not kept:
            raise BadInput(
                f"all {len(prompts)} prompts of the source {source.path} are held out by "
                "data.held_out; remove the source, or hold out less."
            )
        check_wordings(kept, source.path, wordings)
        sources.append(tuple(kept))
        paraphrases |= {p: others for p, others in kept.items() if others}
        removed += len(prompts) - len(kept)
        repeated += repeats
    weights = np.array([source.weight for source in settings])
    shares = tuple((weights / weights.sum()).tolist())
    mix = PromptMix(tuple(sources), shares, removed, repeated, paraphrases)
    if not quiet:
        tell(mix, [f"{path} ({len(texts):,})" for path, texts in files if not texts & matched])
    return mix


def check_wordings(prompts: Mapping[Prompt, tuple[str, ...]], source: str, wordings: int) -> None:
    """Raises BadInput where a prompt has fewer wordings than a group is asked in: asking one twice
    would be the same samples twice."""
    for prompt, others in prompts.items():
        if 1 + len(others) < wordings:
            raise BadInput(
                f"rl.paraphrases is {wordings}, but the prompt {prompt.text[:60]!r} of the source "
                f"{source} has {1 + len(others)} different wordings with its own; add some "
                "(data.prompts.N.paraphrases names their columns), or lower rl.paraphrases."
            )


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


def read_source(
    source: PromptSource, data: DataSection, wordings: int = 1
) -> tuple[dict[Prompt, tuple[str, ...]], int]:
    """The prompts of a source in the order of its files, each text once, with their other
    wordings; and how many repeats of them were left out.

    The icon world's wordings are made only where groups are asked in several, and prompts about
    layouts have one each. Of a prompt that is repeated all wordings count.
    """
    if source.path == LAYOUTS:
        return dict.fromkeys(layout_prompts("train", ICON_PROMPTS), ()), 0
    if source.path == ICONS:
        made = prompt_list("train", ICON_PROMPTS, 0, draw_of(data.wordings), data.depth)
        return {
            prompt: seen_paraphrases(prompt.text, data.wordings) if wordings > 1 else ()
            for prompt in made
        }, 0
    found = [
        pair
        for path in matching_files(source.path)
        for pair in read_paraphrases(path, source.column, source.paraphrases)
    ]
    once = {prompt.text: prompt for prompt, _ in found}
    others: dict[str, dict[str, None]] = {text: {} for text in once}
    for prompt, texts in found:
        others[prompt.text] |= dict.fromkeys(texts)
    prompts = {prompt: tuple(others[text]) for text, prompt in once.items()}
    return prompts, len(found) - len(prompts)


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
