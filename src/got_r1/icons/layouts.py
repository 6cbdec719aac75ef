"""Prompts that ask for more, or for less, than one relation: what SFT never shows.

    sentence := [opening] (two | list ", the" two | list ["in a row"]) [.]
    two      := phrase relation phrase "and" relation phrase
    list     := item {(", " | " and ") item}
    item     := phrase ["in the corner" | "in the middle" | "as large as possible"]

"A star left of a heart and above a moon" relates the star to both. SFT shows single relations and
at most three kinds of object, so a policy that only copies its training has no layout for these,
and many layouts are right: RL can find its own. After SFT a policy drops the third object of such a
sentence, and there is nothing to learn from a group in which all do; so every other one begins with
a list, which SFT does show ("a star, a heart and a moon, the star left of the heart and above the
moon", with bare nouns after the list). The phrases are those of `icons.prompts`, whose sentences
`parse` reads as well.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Literal, cast, get_args

from got_r1.errors import BadInput
from got_r1.icons import prompts
from got_r1.icons.prompts import Phrasing
from got_r1.icons.splits import DIRECTIONS, Split, is_held_out, split_of
from got_r1.icons.world import COLORS, MAX_OBJECTS, NOUNS, Condition, Meaning, ObjectSpec, Place
from got_r1.plan.layout import Relation
from got_r1.plan.reading import OPENING
from got_r1.plan.wordings import CONVERSES, RELATION_OF_WORDS, RELATION_WORDS
from got_r1.records import Prompt

__all__ = ["CATEGORIES", "Category", "draw_meaning", "layout_prompts", "parse", "say"]

Category = Literal["relations", "layout"]
CATEGORIES: tuple[Category, ...] = get_args(Category)

_PLACES: dict[Place, str] = {
    "corner": "in the corner",
    "middle": "in the middle",
    "large": "as large as possible",
}
_ROW = " in a row"
_RELATION = "|".join(map(re.escape, sorted(RELATION_OF_WORDS, key=len, reverse=True)))
_TWO = re.compile(
    rf"(?P<a>[a-z ]+?) (?P<first>{_RELATION}) (?P<b>[a-z ]+?) "
    rf"and (?P<second>{_RELATION}) (?P<c>[a-z ]+)"
)
_LISTED = re.compile(r"(?P<list>[a-z, ]+), (?P<two>the [a-z -]+)")
_ITEM = re.compile(rf"(?P<phrase>[a-z ]+?)(?: (?P<place>{'|'.join(_PLACES.values())}))?")
_SEPARATOR = re.compile(r", and |, | and ")
_LONGEST = 400  # characters
_PATIENCE = 200  # draws in a row that only repeat sentences: then the split is used up
_WORDINGS = 3  # of a relation, from the first, that are said


# -- text -> meaning -----------------------------------------------------------------------------


def parse(text: str) -> Meaning | None:
    """What a prompt of this grammar or of `icons.prompts` says, or None."""
    if len(text) > _LONGEST:
        return None
    if (plain := prompts.parse(text)) is not None:
        return plain
    sentence = " ".join(text.lower().split()).removesuffix(".").rstrip()
    sentence = OPENING.sub("", sentence, count=1)
    if two := _TWO.fullmatch(sentence):
        return _two(_objects(two.group("a", "b", "c")), two)
    listed = _LISTED.fullmatch(sentence)
    if listed and (two := _TWO.fullmatch(listed["two"])):
        objects = _objects(_SEPARATOR.split(listed["list"]))
        nouns = [f"the {spec.noun}" for spec in objects or ()]
        return _two(objects, two) if nouns == list(two.group("a", "b", "c")) else None
    body = sentence.removesuffix(_ROW)
    items = [_ITEM.fullmatch(item) for item in _SEPARATOR.split(body)]
    if not all(items):
        return None
    objects = _objects([item["phrase"] for item in items if item])
    if objects is None:
        return None
    further = tuple(
        Condition(place, (index,))
        for index, item in enumerate(items)
        for place, words in _PLACES.items()
        if item and item["place"] == words
    )
    if body == sentence:
        return Meaning(objects, further=further)
    if further or sum(spec.count for spec in objects) < 2:
        return None
    return Meaning(objects, further=(Condition("row", tuple(range(len(objects)))),))


def _two(objects: tuple[ObjectSpec, ...] | None, said: re.Match[str]) -> Meaning | None:
    """The first of three objects in relation to each of the others, as a match of `_TWO` says."""
    if objects is None or any(spec.count > 1 for spec in objects):
        return None
    second = Condition(RELATION_OF_WORDS[said["second"]], (0, 2))
    return Meaning(objects, RELATION_OF_WORDS[said["first"]], further=(second,))


def _objects(phrases: list[str] | tuple[str, ...]) -> tuple[ObjectSpec, ...] | None:
    objects: list[ObjectSpec] = []
    for phrase in phrases:
        said = prompts.parse(phrase)
        if said is None or said.conditions or len(said.objects) > 1:
            return None
        objects += said.objects
    return tuple(objects) if sum(spec.count for spec in objects) <= MAX_OBJECTS else None


# -- meaning -> text -----------------------------------------------------------------------------


def say(
    meaning: Meaning,
    *,
    opening: str = "",
    wording: int = 0,
    the: bool = False,
    listed: bool = False,
) -> str:
    """The sentence of a meaning with further conditions, or with four objects, lower case without
    a final dot. `wording`: which of the words for its relations are used; `listed`: whether two
    relations follow a list of their objects."""
    counted = any(spec.count > 1 for spec in meaning.objects)
    if opening == "there is " and meaning.objects[0].count > 1:
        opening = "there are "
    phrasing = Phrasing(article="one" if counted else "the" if the else "a")
    phrases = [prompts.say(Meaning((spec,)), phrasing) for spec in meaning.objects]
    if meaning.relation is not None:
        first, second = (
            RELATION_WORDS[cast(Relation, condition.kind)][:_WORDINGS][wording]
            for condition in meaning.conditions
        )
        named = [f"the {spec.noun}" for spec in meaning.objects] if listed else phrases
        head = f"{_enumerate(phrases)}, " if listed else ""
        return f"{opening}{head}{named[0]} {first} {named[1]} and {second} {named[2]}"
    row = ""
    for condition in meaning.further:
        if condition.kind == "row":
            row = _ROW
        else:
            phrases[condition.about[0]] += f" {_PLACES[cast(Place, condition.kind)]}"
    return opening + _enumerate(phrases) + row


def _enumerate(phrases: Sequence[str]) -> str:
    *head, last = phrases
    return f"{', '.join(head)} and {last}" if head else last


# -- drawing prompts at random -------------------------------------------------------------------


def draw_meaning(rng: random.Random, category: Category) -> Meaning:
    """A random meaning of a category, of any split, that fits on the grid without icons that
    touch. Its nouns differ."""
    nouns, colors = rng.sample(NOUNS, 4), rng.sample(tuple(COLORS), 4)
    colored = rng.random() < 0.5
    specs = tuple(
        ObjectSpec(noun, color if colored else None)
        for noun, color in zip(nouns, colors, strict=True)
    )
    if category == "relations":
        # Between two others in one direction there is no room for three icons.
        first = rng.choice(DIRECTIONS)
        second = rng.choice([one for one in DIRECTIONS if one != CONVERSES[first]])
        return Meaning(specs[:3], first, further=(Condition(second, (0, 2)),))
    draw = rng.random()
    if draw < 0.2:
        return Meaning(specs)
    if draw < 0.4:
        if rng.random() < 0.5:
            return Meaning((ObjectSpec(nouns[0], specs[0].color, None, 2),), further=_row(1))
        return Meaning(specs[:2], further=_row(2))
    objects, place = specs[: rng.randint(1, 3)], rng.choice(tuple(_PLACES))
    return Meaning(objects, further=(Condition(place, (rng.randrange(len(objects)),)),))


def _row(objects: int) -> tuple[Condition]:
    return (Condition("row", tuple(range(objects))),)


def layout_prompts(split: Split, n: int, seed: int = 0) -> list[Prompt]:
    """`n` different prompts of a split, the categories in turn; the same for a seed. In dev and
    val every other one, on average, says a held-out composition.

    Raises `BadInput` when the split does not hold that many different sentences.
    """
    return list(_distinct(split, n, random.Random(f"layouts {split} {seed}")))


def _distinct(split: Split, n: int, rng: random.Random) -> Iterator[Prompt]:
    seen: set[str] = set()
    for index in range(n):
        category = CATEGORIES[index % len(CATEGORIES)]
        for _ in range(_PATIENCE):
            text = _draw_text(rng, category, split)
            if text not in seen:
                break
        else:
            raise BadInput(
                f"the icon world has only about {index} different {split} prompts about layouts, "
                f"{n} were asked for: ask for fewer"
            )
        seen.add(text)
        yield Prompt(text, category)


def _draw_text(rng: random.Random, category: Category, split: Split) -> str:
    wants_held_out = split != "train" and rng.random() < 0.5
    while True:
        meaning = draw_meaning(rng, category)
        if split_of(meaning) == split and is_held_out(meaning) == wants_held_out:
            opening = rng.choice(("", "", "there is ", "a picture of ", "an image of "))
            wording, the = rng.randrange(_WORDINGS), rng.random() < 0.2
            listed = rng.random() < 0.5
            return say(meaning, opening=opening, wording=wording, the=the, listed=listed)
