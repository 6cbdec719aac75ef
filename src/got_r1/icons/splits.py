"""Which prompts are train, dev or val: held-out compositions and a stable hash of the meaning.

Two kinds of composition are only ever in val:

- a colour with a noun ("purple arrow"): every eleventh pair of the table of nouns by colours;
- a noun in a relation: one noun for each of the seven relations. "arrow, left" means an arrow *as
  the left one*, so it covers "an arrow on the left of X", every paraphrase of that, and its
  converse "X on the right of an arrow". The symmetric relations cover both places: "airplane,
  near" is held out of "an airplane near X" and of "X near an airplane".

All other meanings are spread by hash: 80% train, 10% dev, 10% val. The hash is of the meaning, not
the sentence, so paraphrases, converses and reordered lists stay together and the splits share
neither a sentence nor a meaning. (Our choice throughout.)
"""

from __future__ import annotations

import hashlib
from typing import Literal

from got_r1.icons.world import COLORS, NOUNS, Meaning, ObjectSpec
from got_r1.plan.layout import RELATIONS, Relation
from got_r1.plan.reading import CONVERSES

__all__ = [
    "HELD_OUT_COLORS",
    "HELD_OUT_RELATIONS",
    "Split",
    "holds_out_color",
    "holds_out_relation",
    "is_held_out",
    "split_of",
]

Split = Literal["train", "dev", "val"]

HELD_OUT_COLORS: frozenset[tuple[str, str]] = frozenset(
    [(color, noun) for noun in NOUNS for color in COLORS][5::11]
)
"""Pairs (colour, noun): 7 of 72."""

HELD_OUT_RELATIONS: frozenset[tuple[str, Relation]] = frozenset(
    (NOUNS[(5 * index + 2) % len(NOUNS)], relation) for index, relation in enumerate(RELATIONS)
)
"""Pairs (noun, relation it is in): 7 of 84."""


def holds_out_color(color: str | None, noun: str) -> bool:
    """Whether (colour, noun) is a held-out composition; a free colour never is."""
    return (color, noun) in HELD_OUT_COLORS


def holds_out_relation(a: str, relation: Relation, b: str) -> bool:
    """Whether "noun a is <relation> of noun b" is a held-out composition, for either noun."""
    return (a, relation) in HELD_OUT_RELATIONS or (b, CONVERSES[relation]) in HELD_OUT_RELATIONS


def is_held_out(meaning: Meaning) -> bool:
    """Whether a prompt of this meaning says a held-out composition."""
    if any(holds_out_color(spec.color, spec.noun) for spec in meaning.objects):
        return True
    if meaning.relation is None:
        return False
    a, b = (meaning.objects[index].noun for index in meaning.about)
    return holds_out_relation(a, meaning.relation, b)


def split_of(meaning: Meaning) -> Split:
    """The one split that may use prompts of this meaning; the same on every machine."""
    if is_held_out(meaning):
        return "val"
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
