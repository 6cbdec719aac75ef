"""Which prompts are train, dev or val: held-out compositions and a stable hash of the meaning.

Two kinds of composition are never in train; each split has its own of both, so that generalisation
can be tuned on dev while val stays unseen:

- a colour with a noun ("purple arrow"): for either split every eleventh pair of the table of nouns
  by colours;
- a noun in a relation: for either split one noun for each of the seven relations. "arrow, left"
  means an arrow *as the left one*, so it covers "an arrow on the left of X", every paraphrase of
  that, and its converse "X on the right of an arrow". The symmetric relations cover both places:
  "airplane, near" is held out of "an airplane near X" and of "X near an airplane". "On side of" is
  also held out of two nouns of which neither may be drawn as the left one (or the right one).

A prompt that says compositions of both splits is val. All other meanings are spread by hash: 80%
train, 10% dev, 10% val. The hash is of the meaning, not the sentence, so paraphrases, converses and
reordered lists stay together and the splits share neither a sentence nor a meaning. (Our choice
throughout.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from got_r1.icons.world import COLORS, NOUNS, Meaning, ObjectSpec
from got_r1.plan.layout import RELATIONS, Relation
from got_r1.plan.reading import CONVERSES

__all__ = [
    "DIRECTIONS",
    "HELD_OUT_COLORS",
    "HELD_OUT_RELATIONS",
    "Split",
    "drawn_directions",
    "held_out_split",
    "holds_out_color",
    "holds_out_relation",
    "is_held_out",
    "split_of",
]

Split = Literal["train", "dev", "val"]

_PAIRS = tuple((color, noun) for noun in NOUNS for color in COLORS)

HELD_OUT_COLORS: Mapping[tuple[str, str], Split] = MappingProxyType(
    dict.fromkeys(_PAIRS[2::11], "dev") | dict.fromkeys(_PAIRS[5::11], "val")
)
"""(colour, noun) to the split that has it to itself: 7 of 72 pairs for each."""

HELD_OUT_RELATIONS: Mapping[tuple[str, Relation], Split] = MappingProxyType(
    {
        (NOUNS[(5 * index + first) % len(NOUNS)], relation): split
        for split, first in (("dev", 3), ("val", 2))
        for index, relation in enumerate(RELATIONS)
    }
)
"""(noun, relation it is in) to the split that has it to itself: 7 of 84 pairs for each."""

DIRECTIONS: tuple[Relation, ...] = ("left", "right", "top", "bottom")
"""The relations in which any two separate objects are drawn: one of them holds, with a margin."""


def holds_out_color(color: str | None, noun: str) -> bool:
    """Whether (colour, noun) is a held-out composition, of any split; a free colour never is."""
    return (color, noun) in HELD_OUT_COLORS


def holds_out_relation(a: str, relation: Relation, b: str) -> bool:
    """Whether "noun a is <relation> of noun b" is a held-out composition, for either noun."""
    return any(_owners(a, relation, b))


def drawn_directions(a: str, relation: Relation, b: str) -> list[Relation]:
    """The directions in which "noun a is <relation> of noun b" may be drawn without a held-out
    composition; a direction is drawn as itself, even where it is held out."""
    if relation in DIRECTIONS:
        return [relation]
    wanted = DIRECTIONS[:2] if relation == "on side of" else DIRECTIONS
    return [direction for direction in wanted if not holds_out_relation(a, direction, b)]


def held_out_split(meaning: Meaning) -> Split | None:
    """The split whose held-out compositions a prompt of this meaning says, if any."""
    owners = {HELD_OUT_COLORS.get((spec.color or "", spec.noun)) for spec in meaning.objects}
    if meaning.relation is not None:
        a, b = (meaning.objects[index].noun for index in meaning.about)
        owners |= _owners(a, meaning.relation, b)
        if not drawn_directions(a, meaning.relation, b):
            owners.add("val")
    return "val" if "val" in owners else "dev" if "dev" in owners else None


def is_held_out(meaning: Meaning) -> bool:
    """Whether a prompt of this meaning says a held-out composition, of any split."""
    return held_out_split(meaning) is not None


def _owners(a: str, relation: Relation, b: str) -> set[Split | None]:
    pairs = ((a, relation), (b, CONVERSES[relation]))
    return {HELD_OUT_RELATIONS.get(pair) for pair in pairs}


def split_of(meaning: Meaning) -> Split:
    """The one split that may use prompts of this meaning; the same on every machine."""
    if owner := held_out_split(meaning):
        return owner
    digest = hashlib.sha256(_canonical(meaning).encode()).digest()
    return ("dev", "val")[digest[0] % 2] if digest[1] % 5 == 0 else "train"


def _canonical(meaning: Meaning) -> str:
    """One string for all ways to say the same."""
    if meaning.relation is None:
        return " + ".join(sorted(map(_spell, meaning.objects)))
    a, b = (_spell(meaning.objects[index]) for index in meaning.about)
    others = [o for i, o in enumerate(meaning.objects) if i not in meaning.about]
    relation = meaning.relation
    converse = CONVERSES[relation]
    if converse < relation or (converse == relation and b < a):
        a, relation, b = b, converse, a
    return " + ".join([f"{a} {relation} {b}", *sorted(map(_spell, others))])


def _spell(spec: ObjectSpec) -> str:
    return f"{spec.count} {spec.name}"
