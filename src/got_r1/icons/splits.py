"""Which prompts are train, dev or val: held-out compositions and a stable hash of the meaning.

Two kinds of composition are never in train; each split has its own of both, so that generalisation
can be tuned on dev while val stays unseen:

- a colour with a noun ("purple arrow"): for either split every eleventh pair of the table of nouns
  by colours;
- a noun in a relation: for either split two nouns for each of the seven relations. "arrow, left"
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
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, cast

from got_r1.icons.world import COLORS, NOUNS, Meaning, ObjectSpec
from got_r1.plan.layout import RELATIONS, Relation
from got_r1.plan.wordings import CONVERSES

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

_SPLITS: tuple[tuple[Split, int, int], ...] = (("dev", 2, 3), ("val", 5, 2))
"""Each with the first of its pairs of a colour and of a relation."""
_PAIRS = tuple((color, noun) for noun in NOUNS for color in COLORS)

HELD_OUT_COLORS: Mapping[tuple[str, str], Split] = MappingProxyType(
    {pair: split for split, first, _ in _SPLITS for pair in _PAIRS[first::11]}
)
"""(colour, noun) to the split that has it to itself: 17 or 18 of 192 pairs for each."""

HELD_OUT_RELATIONS: Mapping[tuple[str, Relation], Split] = MappingProxyType(
    {
        (NOUNS[(5 * index + place) % len(NOUNS)], relation): split
        for split, _, first in _SPLITS
        for index, relation in enumerate(RELATIONS)
        for place in (first, first + len(NOUNS) // 2)
    }
)
"""(noun, relation it is in) to the split that has it to itself: 14 of 168 pairs for each."""

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
    for relation, a, b in _related(meaning):
        owners |= _owners(a.noun, relation, b.noun)
        if not drawn_directions(a.noun, relation, b.noun):
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


def _related(meaning: Meaning) -> Iterator[tuple[Relation, ObjectSpec, ObjectSpec]]:
    """Each relation that is said, of which objects."""
    for condition in meaning.conditions:
        if condition.kind in CONVERSES:
            a, b = (meaning.objects[index] for index in condition.about)
            yield cast(Relation, condition.kind), a, b


def _canonical(meaning: Meaning) -> str:
    """One string for all ways to say the same."""
    said = []
    for relation, first, second in _related(meaning):
        (a, b), converse = (_spell(first), _spell(second)), CONVERSES[relation]
        if converse < relation or (converse == relation and b < a):
            a, relation, b = b, converse, a
        said.append(f"{a} {relation} {b}")
    for condition in meaning.conditions:
        if condition.kind not in CONVERSES:
            about = sorted(_spell(meaning.objects[index]) for index in condition.about)
            said.append(f"{condition.kind}: {', '.join(about)}")
    named = {index for condition in meaning.conditions for index in condition.about}
    others = [_spell(spec) for index, spec in enumerate(meaning.objects) if index not in named]
    return " + ".join([*sorted(said), *sorted(others)])


def _spell(spec: ObjectSpec) -> str:
    return f"{spec.count} {spec.name}"
