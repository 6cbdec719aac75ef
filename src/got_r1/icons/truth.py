"""Is it right? A prompt's meaning against a plan or an image, without a judge.

The oracle scores with these functions and evaluation counts with them. All of them are strict: a
relation is right only between objects that are right themselves (our choice, see `relation_true`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from got_r1.icons.prompts import parse_name
from got_r1.icons.world import Icon, Meaning, ObjectSpec
from got_r1.plan.layout import assign, relation_holds
from got_r1.records import Box, Chain

__all__ = [
    "ImageTruth",
    "PlanTruth",
    "Thing",
    "asked_objects",
    "drawn_things",
    "fits",
    "image_truth",
    "likeness",
    "pair_up",
    "plan_truth",
    "planned_things",
    "relation_pairs",
    "relation_true",
]


@dataclass(frozen=True, slots=True)
class PlanTruth:
    """Whether a plan is right.

    `relation`: the asked relation holds; None when the prompt asks for none.
    `objects`: every asked object is planned, as often as asked, with the right noun, colour, fill.
    `count`: and no further object of an asked noun; None when the prompt asks for no number above
    one.
    """

    relation: bool | None
    objects: bool
    count: bool | None


@dataclass(frozen=True, slots=True)
class ImageTruth:
    """Whether an image is right; the same measures as `PlanTruth`, over the drawn objects."""

    relation: bool | None
    attributes: bool
    count: bool | None


@dataclass(frozen=True, slots=True)
class Thing:
    """A planned or drawn object. `look` is None for a planned name that is not of this world."""

    look: ObjectSpec | None
    box: Box


def plan_truth(meaning: Meaning, chain: Chain) -> PlanTruth:
    """Compare a plan with what the prompt says. A malformed chain is wrong in every measure."""
    things = () if chain.problems else planned_things(chain)
    return PlanTruth(*_truth(meaning, things))


def image_truth(meaning: Meaning, icons: Sequence[Icon]) -> ImageTruth:
    """Compare the icons of an image, drawn or detected, with what the prompt says."""
    return ImageTruth(*_truth(meaning, drawn_things(icons)))


def _truth(meaning: Meaning, things: Sequence[Thing]) -> tuple[bool | None, bool, bool | None]:
    asked = asked_objects(meaning)
    complete = len(pair_up(asked, things)) == len(asked)
    nouns = [spec.noun for spec in asked]
    total = sum(1 for thing in things if thing.look and thing.look.noun in nouns)
    numbered = any(spec.count > 1 for spec in meaning.objects)
    exact = complete and total == len(asked)
    return relation_true(meaning, things), complete, exact if numbered else None


# -- objects -------------------------------------------------------------------------------------


def asked_objects(meaning: Meaning) -> tuple[ObjectSpec, ...]:
    """One spec for every single object that the prompt asks for: "two hearts" are two."""
    return tuple(
        ObjectSpec(spec.noun, spec.color, spec.fill)
        for spec in meaning.objects
        for _ in range(spec.count)
    )


def planned_things(chain: Chain) -> tuple[Thing, ...]:
    """The planned objects by their names; a name without a fill means plain, as chains say it."""
    things = []
    for planned in chain.objects:
        spec = parse_name(planned.name)
        look = ObjectSpec(spec.noun, spec.color, spec.fill or "plain") if spec else None
        things.append(Thing(look, planned.box))
    return tuple(things)


def drawn_things(icons: Sequence[Icon]) -> tuple[Thing, ...]:
    """The objects of an image."""
    return tuple(Thing(ObjectSpec(icon.noun, icon.color, icon.fill), icon.box) for icon in icons)


def likeness(asked: ObjectSpec, thing: Thing) -> float:
    """1 when noun, colour and fill are as asked (what is left free always is), 0.5 when only the
    noun is, else 0."""
    look = thing.look
    if look is None or look.noun != asked.noun:
        return 0.0
    color_right = asked.color in (None, look.color)
    fill_right = asked.fill in (None, look.fill)
    return 1.0 if color_right and fill_right else 0.5


def fits(asked: ObjectSpec, thing: Thing) -> bool:
    """Whether noun, colour and fill are as asked."""
    return likeness(asked, thing) == 1.0


def pair_up(
    asked: Sequence[ObjectSpec], things: Sequence[Thing], *, strict: bool = True
) -> tuple[tuple[int, int], ...]:
    """The best one-to-one pairing (index in `asked`, index in `things`).

    Strict pairs fit; otherwise pairs agree in the noun at least, those that fit come first.
    """
    scores = np.array([[likeness(spec, thing) for thing in things] for spec in asked])
    scores = scores.reshape(len(asked), len(things))
    return assign(np.floor(scores) if strict else scores)


# -- relations -----------------------------------------------------------------------------------


def relation_pairs(meaning: Meaning, things: Sequence[Thing]) -> list[tuple[Box, Box]]:
    """Boxes (a, b) of all things that fit the two objects of the prompt's relation."""
    first, second = (meaning.objects[index] for index in meaning.about)
    return [
        (a.box, b.box)
        for a, b in product(things, things)
        if a is not b and fits(first, a) and fits(second, b)
    ]


def relation_true(meaning: Meaning, things: Sequence[Thing]) -> bool | None:
    """Whether the asked relation holds; None when the prompt asks for none.

    Both objects must be there as asked. Where several things fit, the relation must hold between
    all of them, so that a second star on the other side does not help. Only where one thing fits
    both objects ("a star on the left of a red star") does one pair suffice.
    """
    if meaning.relation is None:
        return None
    pairs = relation_pairs(meaning, things)
    held = [relation_holds(meaning.relation, a, b) for a, b in pairs]
    shared = {a for a, _ in pairs} & {b for _, b in pairs}
    return any(held) if shared else bool(held) and all(held)
