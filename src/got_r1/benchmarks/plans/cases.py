"""Which prompts the plan benchmark asks: relations in several phrasings, and lists of things.

A *meaning* is one relation between two things, and often a third thing. It is asked in all forms of
`reading.paraphrases`, so that a difference between forms is one of words alone. Lists of one to
four things without a relation show how a plan fares as it grows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from got_r1.errors import BadInput, listed
from got_r1.icons.prompts import Category, draw_prompt, say
from got_r1.icons.splits import Split
from got_r1.icons.world import MAX_OBJECTS, Meaning
from got_r1.plan.layout import DEPTH_RELATIONS, RELATIONS, Relation
from got_r1.plan.reading import PromptSpec, paraphrases, read
from got_r1.plan.wordings import CONVERSES
from got_r1.records import Prompt

__all__ = ["AS_WRITTEN", "LIST", "Case", "both_ways", "file_cases", "icon_cases"]

LIST = "list"
"""The form of a prompt without a relation."""

AS_WRITTEN = "as written"
"""The form of a user's own sentence; other forms are its paraphrases."""

_PATIENCE = 4_000  # draws without a new meaning: then there is none left


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt. `meaning` numbers what it says, `form` names the words that say it."""

    prompt: Prompt
    asked: PromptSpec
    meaning: int
    form: str

    @property
    def objects(self) -> int:
        """How many single things are asked for."""
        return len(self.asked.singles)


def icon_cases(split: str, meanings: int, seed: int = 0, *, depth: bool = False) -> list[Case]:
    """`meanings` relations of the icon world in all forms, and about as many lists without one.

    The seven relations in turn, half of them between bare nouns (T2I-CompBench's "spatial") as long
    as there are such, the others of the category "complex"; lists of one to four things in turn, as
    long as there are such. In `val`, half hold a composition that training never shows. With
    `depth`, "in front of" and "behind" are relations as the others are (all of "3d_spatial").

    Raises `BadInput` for an unknown split, or one that does not hold so many meanings.
    """
    if split not in get_args(Split):
        raise BadInput(f"the icon world has no split {split!r}: use 'dev' or 'val'")
    rng = random.Random(f"plans {split} {seed}")
    draws = _Draws(rng, cast(Split, split))
    cases: list[Case] = []
    relations = (*RELATIONS, *DEPTH_RELATIONS) if depth else RELATIONS
    for number in range(meanings):
        relation = relations[number % len(relations)]
        text = say(draws.with_relation(relation, bare=number // len(relations) % 2 == 0))
        cases += _in_all_forms(text, number, "plain")
    for number in range(meanings):
        categories: tuple[Category, ...] = ("numeracy", "color", "numeracy", "complex")
        if listed := draws.of_size(categories, number % MAX_OBJECTS + 1):
            prompt = Prompt(listed, "no relation")
            cases.append(Case(prompt, _read(listed), meanings + number, LIST))
    return cases


class _Draws:
    """Random meanings of a split, none of them twice."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self.rng = rng
        self.split = split
        self.seen: set[str] = set()
        self.used_up: set[tuple[Category, Relation] | int] = set()

    def with_relation(self, relation: Relation, *, bare: bool) -> Meaning:
        """A meaning that asks for the relation, `bare` of colours and fills if there is one."""
        categories: tuple[Category, ...] = ("spatial", "complex") if bare else ("complex",)
        if relation in DEPTH_RELATIONS:
            categories = ("3d_spatial",)
        for category in categories:
            if (category, relation) in self.used_up:
                continue
            for _ in range(_PATIENCE):
                _prompt, meaning = draw_prompt(self.rng, category, self.split)
                if meaning.relation == relation and self._is_new(min(both_ways(meaning))):
                    return meaning
            self.used_up.add((category, relation))
        raise BadInput(
            f"the icon world has no more different meanings with {relation!r} in {self.split}: "
            "ask for fewer"
        )

    def of_size(self, categories: Sequence[Category], size: int) -> str | None:
        """A sentence that lists `size` things and no relation; None where there is no new one."""
        if size in self.used_up:
            return None
        for _ in range(_PATIENCE):
            prompt, meaning = draw_prompt(self.rng, self.rng.choice(categories), self.split)
            fits = meaning.relation is None and sum(o.count for o in meaning.objects) == size
            if fits and self._is_new(prompt.text):
                return prompt.text
        self.used_up.add(size)
        return None

    def _is_new(self, text: str) -> bool:
        new = text not in self.seen
        self.seen.add(text)
        return new


def both_ways(meaning: Meaning) -> tuple[str, str]:
    """ "a star near a heart" and "a heart near a star", which say the same."""
    assert meaning.relation is not None
    first, second, *others = meaning.objects
    return say(meaning), say(Meaning((second, first, *others), CONVERSES[meaning.relation]))


def file_cases(prompts: Sequence[Prompt]) -> list[Case]:
    """A user's own prompts: each with a relation in all forms, the first as it is written.

    Raises `BadInput`, with their numbers, for prompts that `reading.read` cannot read: leaving them
    out would make the accuracy one of easy sentences. The same prompt twice is refused as well.
    """
    faults, cases = [], []
    texts = [prompt.text for prompt in prompts]
    for number, text in enumerate(texts):
        if read(text) is None:
            faults.append(f"{number + 1} ({text[:60]!r})")
        elif text in texts[:number]:
            raise BadInput(f"prompt {number + 1}, {text[:60]!r}, is given twice; remove one.")
        else:
            cases += _in_all_forms(text, number, AS_WRITTEN)
    if faults:
        raise BadInput(
            f"{len(faults)} of {len(prompts)} prompts cannot be read as things and a relation "
            f"between two of them: {listed(faults)}; reword or remove them."
        )
    return cases


def _in_all_forms(text: str, number: int, first: str) -> list[Case]:
    """A sentence under the form `first`, and its other paraphrases where it says a relation."""
    asked = _read(text)
    if asked.relation is None:
        return [Case(Prompt(text, "no relation"), asked, number, LIST)]
    _plain, *others = paraphrases(asked).items()
    forms = {first: text} | dict(others)
    return [
        Case(Prompt(said, asked.relation), _read(said), number, form)
        for form, said in forms.items()
    ]


def _read(text: str) -> PromptSpec:
    asked = read(text)
    assert asked is not None, f"a sentence of the grammar that it cannot read: {text!r}"
    return asked
