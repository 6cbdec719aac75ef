"""Prompts in T2I-CompBench's manner: a small grammar in both directions, and the prompt lists.

    sentence := [opening] (list | link | front | with) [.]
    list     := phrase {(","| "and" | ", and") phrase}
    link     := phrase ["is"] relation phrase [tail]
    front    := relation phrase "is" phrase [tail]
    with     := phrase "with" phrase ("to its left" | "below it" | ...) [tail]
    tail     := (", with" | ", and") phrase
    phrase   := [a | an | the | one .. four | 1 .. 4] [fill] [colour] noun

`say` writes a meaning in one of its phrasings, `parse` reads any of them back, and all that
`icons.wordings` makes besides. Nothing a judge needs travels beside the text.

The general reader of prompts is `got_r1.plan.reading`; openings, numbers and the wordings of
relations are its tables. `parse` stays beside it because the oracle must be right by construction:
it accepts the sentences of this grammar over the world's own words and nothing else, where the
general reader passes over what it does not need ("..., in the snow").
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Literal, get_args

from got_r1.errors import BadInput
from got_r1.icons.splits import Split, is_held_out, split_of
from got_r1.icons.world import COLORS, FILLS, MAX_OBJECTS, NOUNS, Meaning, ObjectSpec, plural
from got_r1.plan.layout import DEPTH_RELATIONS, RELATIONS, Relation
from got_r1.plan.reading import OPENING
from got_r1.plan.wordings import (
    COUNT_WORDS,
    RELATION_OF_WITH_WORDS,
    RELATION_OF_WORDS,
    RELATION_WORDS,
)
from got_r1.records import Prompt

__all__ = [
    "CATEGORIES",
    "Article",
    "Category",
    "Draw",
    "Phrasing",
    "draw_in_split",
    "draw_meaning",
    "draw_prompt",
    "parse",
    "parse_name",
    "phrasings",
    "phrasings_with",
    "prompt_list",
    "said_words",
    "say",
    "say_related",
]

Category = Literal["color", "texture", "spatial", "numeracy", "complex", "3d_spatial"]
CATEGORIES: tuple[Category, ...] = tuple(c for c in get_args(Category) if c != "3d_spatial")
"""The categories of the world without overlaps; "3d_spatial" is for those who ask for depth."""

# How many wordings of a relation, from the first, prompts are made with; all of them are read.
# More would change every list of prompts that is drawn, and with it every run.
_SAID: Mapping[Relation, int] = MappingProxyType(
    {
        "left": 3,
        "right": 3,
        "top": 3,
        "bottom": 3,
        "next to": 2,
        "near": 2,
        "on side of": 2,
        "in front of": 2,
        "behind": 2,
    }
)
_COUNTS = COUNT_WORDS[:MAX_OBJECTS]
_OPENINGS = ("", "there is ", "a picture of ", "an image of ")
_PATIENCE = 200  # draws in a row that only repeat sentences: then the split is used up
_LONGEST = 400  # characters; no sentence of the grammar has more than half of that
_PLURALS = {plural(noun): noun for noun in NOUNS}


# -- meaning -> text -----------------------------------------------------------------------------

Article = Literal["a", "the", "one", "1"]
"""What stands before an object; "one", "1": its number, in words or as a digit."""


@dataclass(frozen=True, slots=True)
class Phrasing:
    """The choices that a meaning leaves open: which words say it."""

    opening: str = ""
    relation: str = ""  # one of the relation's wordings
    verb: str = ""  # "is " or nothing before the relation
    article: Article = "a"
    last: str = ", with "  # how the third object follows a relation


def said_words(relation: Relation) -> tuple[str, ...]:
    """The wordings of a relation that `phrasings` uses; others are read as well."""
    return RELATION_WORDS[relation][: _SAID[relation]]


def phrasings(meaning: Meaning) -> tuple[Phrasing, ...]:
    """All phrasings of a meaning, the plainest first."""
    if meaning.relation is None:
        styles = [Phrasing(opening) for opening in _OPENINGS]
        numbered = tuple(replace(style, article="one") for style in styles)
        if any(spec.count > 1 for spec in meaning.objects):
            return numbered
        return (*styles, Phrasing(article="the"), *numbered)
    return tuple(
        phrasing
        for words in said_words(meaning.relation)
        for phrasing in phrasings_with(words, len(meaning.objects) > 2)
    )


@cache
def phrasings_with(words: str, tail: bool) -> tuple[Phrasing, ...]:
    """The phrasings of a relation in these words; `tail`: for a meaning with a third object."""
    styles = [Phrasing(opening) for opening in _OPENINGS]
    styles += [Phrasing(verb="is "), Phrasing(article="the"), Phrasing(verb="is ", article="the")]
    lasts = (", with ", ", and ") if tail else (", with ",)
    return tuple(replace(one, relation=words, last=last) for last in lasts for one in styles)


def say(meaning: Meaning, phrasing: Phrasing | None = None) -> str:
    """The sentence, lower case without a final dot; by default the plainest phrasing."""
    phrasing = phrasing or phrasings(meaning)[0]
    opening = phrasing.opening
    if opening == "there is " and meaning.objects[0].count > 1:
        opening = "there are "
    if meaning.relation is None:
        return opening + _enumerate([_say_object(o, phrasing.article) for o in meaning.objects])
    first, second, tail = say_related(meaning, phrasing)
    return f"{opening}{first} {phrasing.verb}{phrasing.relation} {second}{tail}"


def say_related(meaning: Meaning, phrasing: Phrasing) -> tuple[str, str, str]:
    """The two objects of a relation and what else the sentence names, in words: "a star",
    "a heart", ", with a tree" (or nothing)."""
    phrases = [_say_object(spec, phrasing.article) for spec in meaning.objects]
    first, second = (phrases[index] for index in meaning.about)
    others = [text for index, text in enumerate(phrases) if index not in meaning.about]
    return first, second, phrasing.last + _enumerate(others) if others else ""


def _say_object(spec: ObjectSpec, article: Article) -> str:
    """An object with its article or number."""
    if article in ("one", "1"):
        number = _COUNTS[spec.count - 1] if article == "one" else spec.count
        return f"{number} {plural(spec.name) if spec.count > 1 else spec.name}"
    return f"{'an' if article == 'a' and spec.name[0] in 'aeiou' else article} {spec.name}"


def _enumerate(phrases: Sequence[str]) -> str:
    *head, last = phrases
    return f"{', '.join(head)} and {last}" if head else last


# -- text -> meaning -----------------------------------------------------------------------------

_NAME = rf"(?:(?P<fill>{'|'.join(FILLS)}) )?(?:(?P<color>{'|'.join(COLORS)}) )?"
_NAME += rf"(?P<noun>{'|'.join([*_PLURALS, *NOUNS])})"
_NAME_PATTERN = re.compile(_NAME)
_PHRASE_PATTERN = re.compile(
    rf"(?:(?P<count>an?|the|{'|'.join(_COUNTS)}|[1-{MAX_OBJECTS}]) )?{_NAME}"
)
_ANY_RELATION = "|".join(map(re.escape, sorted(RELATION_OF_WORDS, key=len, reverse=True)))
_TAIL = r"(?:,? (?:with|and) (?P<third>[a-z1-4 ]+))?"
_FIRST, _SECOND = r"(?P<first>[a-z1-4 ]+?)", r"(?P<second>[a-z1-4 ]+?)"
_LINKS = [
    re.compile(pattern)
    for pattern in (
        rf"{_SECOND} with {_FIRST} (?P<relation>{'|'.join(RELATION_OF_WITH_WORDS)}){_TAIL}",
        rf"(?P<relation>{_ANY_RELATION}) {_SECOND} is {_FIRST}{_TAIL}",
        rf"{_FIRST} (?:is )?(?P<relation>{_ANY_RELATION}) {_SECOND}{_TAIL}",
    )
]
_RELATIONS = {**RELATION_OF_WORDS, **RELATION_OF_WITH_WORDS}
_SEPARATOR = re.compile(r", and |, | and ")


def parse(text: str) -> Meaning | None:
    """What a prompt says, or None when it is not a sentence of this world.

    Case, white space and a final dot do not matter. More than four objects are not of this world.
    """
    if len(text) > _LONGEST:
        return None
    sentence = " ".join(text.lower().split()).removesuffix(".").rstrip()
    sentence = sentence.replace(" ,", ",")
    sentence = OPENING.sub("", sentence, count=1)
    link = next(filter(None, (pattern.fullmatch(sentence) for pattern in _LINKS)), None)
    phrases = _SEPARATOR.split(sentence)
    if link:
        phrases = [part for part in link.group("first", "second", "third") if part]
    objects = tuple(spec for spec in map(_parse_phrase, phrases) if spec)
    if len(objects) < len(phrases) or sum(spec.count for spec in objects) > MAX_OBJECTS:
        return None
    if link is None:
        return Meaning(objects)
    if any(spec.count > 1 for spec in objects):
        return None
    return Meaning(objects, _RELATIONS[link["relation"]])


def parse_name(text: str) -> ObjectSpec | None:
    """An object's name as chains write it ("striped red heart"), without article, singular."""
    found = _NAME_PATTERN.fullmatch(" ".join(text.lower().split()))
    if found is None or found["noun"] not in NOUNS:
        return None
    return ObjectSpec(found["noun"], found["color"], found["fill"])


def _parse_phrase(text: str) -> ObjectSpec | None:
    found = _PHRASE_PATTERN.fullmatch(text)
    if found is None:
        return None
    number = found["count"] or ""
    count = _COUNTS.index(number) + 1 if number in _COUNTS else 1
    if number.isdigit():
        count = int(number)
    noun = found["noun"] if count == 1 else _PLURALS.get(found["noun"])
    if noun not in NOUNS:
        return None
    return ObjectSpec(noun, found["color"], found["fill"], count)


# -- drawing prompts at random -------------------------------------------------------------------


def draw_meaning(rng: random.Random, category: Category) -> Meaning:
    """A random meaning of a category, of any split. Its nouns differ."""
    nouns = rng.sample(NOUNS, 3)
    colors = rng.sample(tuple(COLORS), 3)
    if category == "color":
        size = 1 if rng.random() < 0.1 else 2
        return Meaning(tuple(map(ObjectSpec, nouns[:size], colors)))
    if category == "texture":
        return Meaning(
            tuple(
                ObjectSpec(noun, color if rng.random() < 0.5 else None, rng.choice(FILLS[1:]))
                for noun, color in zip(nouns[:2], colors[:2], strict=True)
            )
        )
    if category == "spatial":
        return Meaning((ObjectSpec(nouns[0]), ObjectSpec(nouns[1])), rng.choice(RELATIONS))
    if category == "numeracy":
        colored = rng.random() < 0.5
        if rng.random() < 0.5:
            counts = [rng.randint(1, MAX_OBJECTS)]
        else:
            counts = rng.choice([[1, 1], [1, 2], [2, 1], [1, 3], [3, 1], [2, 2]])
        return Meaning(
            tuple(
                ObjectSpec(noun, color if colored else None, None, count)
                for noun, color, count in zip(nouns, colors, counts, strict=False)
            )
        )
    if category == "3d_spatial":
        colored, size = rng.random() < 0.5, rng.choice((2, 2, 2, 3))
        named = zip(nouns[:size], colors, strict=False)
        objects = tuple(ObjectSpec(noun, color if colored else None) for noun, color in named)
        return Meaning(objects, rng.choice(DEPTH_RELATIONS))
    specs = tuple(
        ObjectSpec(noun, color, rng.choice(FILLS[1:]) if rng.random() < 0.3 else None)
        for noun, color in zip(nouns, colors, strict=True)
    )
    draw = rng.random()
    if draw < 0.2:
        return Meaning(specs)
    return Meaning(specs if draw < 0.4 else specs[:2], rng.choice(RELATIONS))


def draw_in_split(rng: random.Random, category: Category, split: Split) -> Meaning:
    """A random meaning of a category and split. In dev and val every other one, on average, is a
    held-out composition."""
    wants_held_out = split != "train" and rng.random() < 0.5
    while True:
        meaning = draw_meaning(rng, category)
        if split_of(meaning) == split and is_held_out(meaning) == wants_held_out:
            return meaning


def draw_prompt(rng: random.Random, category: Category, split: Split) -> tuple[Prompt, Meaning]:
    """A random prompt of a category and split, in one of its meaning's `phrasings`. In dev and
    val every other one, on average, says a held-out composition."""
    meaning = draw_in_split(rng, category, split)
    counts = category == "numeracy"
    choices = [p for p in phrasings(meaning) if (p.article == "one") == counts]
    plain = rng.random() < 0.4  # T2I-CompBench's own wording stays the most frequent
    phrasing = choices[0] if plain else rng.choice(choices)
    return Prompt(say(meaning, phrasing), category), meaning


Draw = Callable[[random.Random, Category, Split], tuple[Prompt, Meaning]]
"""How prompts are drawn: `draw_prompt`, or one of `icons.wordings`."""


def prompt_list(
    split: Split, n: int, seed: int = 0, draw: Draw = draw_prompt, depth: float = 0.0
) -> list[Prompt]:
    """`n` different prompts of a split, the five categories in turn; the same for a seed. `depth`
    is the share of prompts that are "3d_spatial" instead, in [0, 1].

    Raises `BadInput` when the split does not hold that many different sentences.
    """
    return list(_distinct(split, n, random.Random(f"prompts {split} {seed}"), draw, depth))


def _distinct(
    split: Split, n: int, rng: random.Random, draw: Draw, depth: float
) -> Iterator[Prompt]:
    seen: set[str] = set()
    for index in range(n):
        category = CATEGORIES[index % len(CATEGORIES)]
        if depth and rng.random() < depth:
            category = "3d_spatial"
        for _ in range(_PATIENCE):
            prompt, _meaning = draw(rng, category, split)
            if prompt.text not in seen:
                break
        else:
            raise BadInput(
                f"the icon world has only about {index} different {split} prompts, {n} were asked "
                "for: ask for fewer"
            )
        seen.add(prompt.text)
        yield prompt
