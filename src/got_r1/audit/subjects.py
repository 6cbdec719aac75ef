"""Items to make counterfactuals from: a prompt of the icon world, its meaning, and a right scene.

The icon world serves every judge, not the oracle alone: its prompts are worded like T2I-CompBench's
templates ("a red heart on the left of a blue star"), and it is the one place where each picture and
plan has a truth that nobody had to label.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

from got_r1.audit.cases import Draft
from got_r1.icons.prompts import CATEGORIES, Category, draw_meaning, phrasings, say
from got_r1.icons.scenes import Layout, draw_scene
from got_r1.icons.world import NOUNS, SCALES, Icon, Meaning, natural_size
from got_r1.plan.chain import format_chain, parse
from got_r1.plan.layout import RELATIONS, Relation
from got_r1.plan.wordings import CONVERSES, RELATION_WORDS
from got_r1.records import Chain, PlannedObject, Prompt

__all__ = [
    "AXES",
    "Subject",
    "complete",
    "fill",
    "other_noun",
    "reordered",
    "rephrased",
    "subjects",
    "tags_of",
    "write_chain",
]

AXES: dict[Relation, str] = {
    "left": "left or right",
    "right": "left or right",
    "top": "above or below",
    "bottom": "above or below",
    "next to": "nearness",
    "near": "nearness",
    "on side of": "nearness",
}
"""What a relation is about."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A prompt, what it means, and a scene of which it is true.

    `specs[i]` is the index in `meaning.objects` that `icons[i]` was drawn for.
    """

    prompt: Prompt
    meaning: Meaning
    icons: tuple[Icon, ...]
    specs: tuple[int, ...]

    @property
    def planned(self) -> tuple[PlannedObject, ...]:
        """The scene as a plan."""
        return tuple(PlannedObject(icon.name, icon.box) for icon in self.icons)

    @property
    def is_directional(self) -> bool:
        """Whether the prompt asks for a relation that has a converse."""
        relation = self.meaning.relation
        return relation is not None and CONVERSES[relation] != relation


def subjects(rng: random.Random, categories: Sequence[Category] = CATEGORIES) -> Iterator[Subject]:
    """Subjects without end, the categories in turn, and the relations; in the plainest wording."""
    relations = cycle(RELATIONS)
    for category in cycle(categories):
        meaning = draw_meaning(rng, category)
        if meaning.relation is not None:
            meaning = replace(meaning, relation=next(relations))
        layout: Layout = draw_scene(rng, meaning)
        yield Subject(
            Prompt(say(meaning), category),
            meaning,
            tuple(icon for group in layout for icon in group),
            tuple(place for place, group in enumerate(layout) for _ in group),
        )


def fill(
    draft: Draft, rng: random.Random, add: Callable[[Draft, random.Random, Subject], None]
) -> Iterator[Subject]:
    """Adds comparisons of one subject after the other until the draft is full, and each axis of a
    relation has enough; returns the subjects that come next."""
    source = subjects(rng)
    while not draft.is_full:
        add(draft, rng, next(source))
    complete(draft, rng, source, add)
    return source


def complete(
    draft: Draft,
    rng: random.Random,
    source: Iterator[Subject],
    add: Callable[[Draft, random.Random, Subject], None],
) -> None:
    """Adds pairs to a full draft, of the kinds and axes that have too few of them."""
    while short := draft.short():
        kind, _, axis = short[0].rpartition(", ")
        draft.want_another(kind)
        add(draft, rng, next(one for one in source if axis_of(one) == axis))


def axis_of(subject: Subject) -> str:
    """What the relation of a subject is about; empty where it has none."""
    relation = subject.meaning.relation
    return "" if relation is None else AXES[relation]


def tags_of(subject: Subject, fault: str = "") -> dict[str, str]:
    """The groups that a pair is reported under; `fault` names one that is in the relation.

    A judge may know above from below and not left from right, so that such a fault is told apart
    by the axis of its relation.
    """
    tags = {"category": subject.prompt.category}
    if fault and (axis := axis_of(subject)):
        tags["relation"] = f"{fault}, {axis}"
    return tags


def write_chain(
    objects: Sequence[PlannedObject],
    relation: Relation | None = None,
    *,
    words: str = "",
    place: str = "end",
) -> Chain:
    """A short chain as the icon world writes them: the first object `relation` the second, and the
    others. Further `words` stand before it ("start"), behind the first object ("middle") or behind
    the last sentence ("end"), as `place` says."""
    parts: list[str | PlannedObject] = [f"{words} A " if words and place == "start" else "A "]
    for index, planned in enumerate(objects):
        if index == 1 and relation is not None:
            parts.append(f" {RELATION_WORDS[relation][0]} a ")
        elif index:
            parts.append(" and a " if index == len(objects) - 1 else ", a ")
        parts.append(planned)
        if index == 0 and words and place == "middle":
            parts.append(f", {words}")
    return parse(format_chain([*parts, f". {words}" if words and place == "end" else "."]))


def rephrased(rng: random.Random, subject: Subject) -> Prompt:
    """The prompt in other words."""
    others = [say(subject.meaning, phrasing) for phrasing in phrasings(subject.meaning)]
    others = [text for text in others if text != subject.prompt.text]
    return replace(subject.prompt, text=rng.choice(others))


def other_noun(rng: random.Random, icons: Sequence[Icon], place: int) -> Icon:
    """The icon as another noun of its size, one that is not in the scene."""
    noun = icons[place].noun
    taken = {icon.noun for icon in icons}
    size = natural_size(noun, SCALES[0])
    nouns = [n for n in NOUNS if n not in taken and natural_size(n, SCALES[0]) == size]
    return replace(icons[place], noun=rng.choice(nouns or [n for n in NOUNS if n not in taken]))


def reordered(subject: Subject) -> Prompt | None:
    """The prompt with its objects in another order and the converse relation; None for one object.

    "a heart on the left of a star" is "a star on the right of a heart".
    """
    meaning = subject.meaning
    if len(meaning.objects) < 2:
        return None
    if meaning.relation is None:
        other = replace(meaning, objects=meaning.objects[::-1])
    else:
        first, second, *rest = meaning.objects
        other = replace(
            meaning, objects=(second, first, *rest), relation=CONVERSES[meaning.relation]
        )
    return replace(subject.prompt, text=say(other))
