"""What the icon world understands: its words, and what of a prompt or a plan is none of them.

A model of this world was trained with the sentences of `icons.prompts.phrasings` and nothing else.
Given any other text it draws something all the same, so whoever draws asks here first: `spoken`
puts a sentence that the grammar reads into the words of the training prompts, `doubts` says of any
other what is not understood.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from got_r1.icons import truth
from got_r1.icons.prompts import parse, parse_name, phrasings, say
from got_r1.icons.world import (
    CELL,
    COLORS,
    FILLS,
    GRID,
    IMAGE_SIZE,
    MAX_OBJECTS,
    NOUNS,
    SCALES,
    Meaning,
    box_from_cells,
    natural_size,
    plural,
)
from got_r1.plan.layout import DEPTH_RELATIONS, RELATIONS, has_depths, iou
from got_r1.plan.reading import OPENING, find_relation_words, likeness, read
from got_r1.plan.wordings import COUNT_WORDS, NEGATIONS, RELATION_WORDS
from got_r1.records import Box, PlannedObject

__all__ = [
    "EXAMPLE",
    "alike",
    "describe",
    "doubts",
    "fold_name",
    "folded",
    "is_world",
    "plan_doubts",
    "snap",
    "spoken",
    "vocabulary",
]

EXAMPLE = "a red heart on the left of a blue star"
"""A prompt of this world, for help and messages."""

_LONGEST = 400  # characters: longer texts are no sentences of any grammar here


def is_world(image_size: int, grid: int) -> bool:
    """Whether a model draws images of this world, by their side in pixels and in tokens."""
    return (image_size, grid) == (IMAGE_SIZE, GRID)


# -- the words -------------------------------------------------------------------------------------


def vocabulary() -> Mapping[str, tuple[str, ...]]:
    """The words and limits of the world, by kind, for people."""
    return {
        "objects": NOUNS,
        "colours": tuple(COLORS),
        "fills": FILLS,
        "relations": tuple(RELATION_WORDS[relation][0] for relation in RELATIONS),
        "numbers": COUNT_WORDS[:MAX_OBJECTS],
    }


def describe() -> str:
    """The vocabulary as lines of text, with the limits and an example."""
    lines = [f"{kind}: {', '.join(words)}" for kind, words in vocabulary().items()]
    lines += [
        'other wordings of the relations ("left of", "above", "beneath", "beside") are read too',
        f"limits: {MAX_OBJECTS} objects an image; one relation, between two single objects",
        f'a prompt: "{EXAMPLE}", "two green trees and one moon"',
    ]
    return "\n".join(lines)


def _known_words() -> frozenset[str]:
    words = {*NOUNS, *(plural(noun) for noun in NOUNS), *COLORS, *FILLS, *COUNT_WORDS[:MAX_OBJECTS]}
    words |= {"a", "an", "the", "is", "with", "and"}
    words |= set(re.findall("[a-z]+", OPENING.pattern))
    words |= {
        word for several in RELATION_WORDS.values() for one in several for word in one.split()
    }
    return frozenset(words)


_KNOWN = _known_words()


# -- prompts ---------------------------------------------------------------------------------------


def understood(text: str, depth: bool = False) -> Meaning | None:
    """What a prompt says, or None where the models of this world know no such sentence: other
    readers know relations that it does not draw. `depth`: a model that draws in depth."""
    meaning = parse(text)
    known = (*RELATIONS, *DEPTH_RELATIONS) if depth else RELATIONS
    drawn = meaning is not None and meaning.relation in (None, *known)
    return meaning if drawn else None


def folded(text: str) -> str:
    """A prompt without what says nothing to the grammar: capitals, further blanks, a final dot."""
    sentence = " ".join(text.lower().split()).removesuffix(".").rstrip()
    return sentence.replace(" ,", ",")


def spoken(text: str, depth: bool = False) -> str:
    """The prompt as a model of this world (one that draws in depth) is to be told it.

    A sentence in one of the phrasings of the training prompts stays, `folded`; any other that the
    grammar reads ("RED HEART", "a heart beneath a star") becomes the plainest of its meaning; what
    the grammar does not read is only folded.
    """
    meaning = understood(text, depth)
    if meaning is None:
        return folded(text)
    sentence = folded(text)
    if sentence in {say(meaning, phrasing) for phrasing in phrasings(meaning)}:
        return sentence
    return say(meaning)


def doubts(text: str, depth: bool = False) -> tuple[str, ...]:
    """What of a prompt this world (a model that draws in depth) does not understand, in phrases;
    nothing where it does.

    Words that are none of its words come first; where there are none, what keeps known words from
    being a sentence.
    """
    if understood(text, depth) is not None:
        return ()
    sentence = folded(text)
    if len(sentence) > _LONGEST:
        return (f"it is longer than any sentence of the icon world ({_LONGEST} characters)",)
    asked = read(sentence)
    number = sum(thing.count for thing in asked.objects) if asked else 0
    words = dict.fromkeys(re.findall(r"[^\s,.;:!?\"“”()]+", " ".join(text.split())))
    found = []
    if number > MAX_OBJECTS:
        found.append(f"{number} objects are asked for, and an image holds at most {MAX_OBJECTS}")
    found += [
        _unknown(word)
        for word in words
        if not _is_known(word) and not (number > MAX_OBJECTS and word.lower() in COUNT_WORDS)
    ]
    return tuple(found) or (_no_sentence(sentence),)


def _is_known(word: str) -> bool:
    # Digits are asked of the grammar: whether it reads them is its own business.
    word = word.lower()
    return word in _KNOWN or (word.isdigit() and parse(f"{word} {plural(NOUNS[0])}") is not None)


def _unknown(word: str) -> str:
    said = f'"{word}" is no word of the icon world'
    plain = word.lower()
    if plain in COUNT_WORDS or plain.isdigit():
        return f"{said}, which counts up to {COUNT_WORDS[MAX_OBJECTS - 1]}"
    if plain in NEGATIONS:
        return f"{said}: what a prompt names is drawn"
    nearest = difflib.get_close_matches(plain, sorted(_KNOWN), 1, 0.75)
    return f'{said} (the nearest is "{nearest[0]}")' if nearest else said


def _no_sentence(sentence: str) -> str:
    related = find_relation_words(sentence)
    others = [sentence[start:end] for name, start, end in related if name not in RELATIONS]
    if others:
        return f'"{others[0]}" is no relation of the icon world'
    if len(related) > 1:
        return f"it states {len(related)} relations, and the icon world knows one an image"
    if related and any(count in sentence.split() for count in COUNT_WORDS[1:]):
        return "it states a relation of several objects, and the icon world knows those of two"
    return f'its words are no sentence of the icon world, such as "{EXAMPLE}"'


# -- plans -----------------------------------------------------------------------------------------


def fold_name(name: str) -> str:
    """A planned name as the world's chains write it, where a plain fill is not named; unchanged
    where it is none of this world."""
    spec = parse_name(name)
    return replace(spec, fill=None if spec.fill == "plain" else spec.fill).name if spec else name


def snap(box: Box) -> Box:
    """The nearest box whose edges lie on the token grid, at least one token wide and high."""

    def edges(low: int, high: int) -> tuple[int, int]:
        first, last = (round(value * GRID / 1000) for value in (low, high))
        last = max(last, first + 1)
        over = max(0, last - GRID)
        return first - over, last - over

    (x1, x2), (y1, y2) = edges(box.x1, box.x2), edges(box.y1, box.y2)
    snapped = box_from_cells(x1, y1, x2 - x1, y2 - y1)
    return replace(box, x1=snapped.x1, y1=snapped.y1, x2=snapped.x2, y2=snapped.y2)


def plan_doubts(objects: Sequence[PlannedObject]) -> tuple[str, ...]:
    """What of a plan no image of this world shows, in phrases: names, sizes, numbers, overlaps."""
    found = []
    if len(objects) > MAX_OBJECTS:
        found.append(
            f"{len(objects)} objects are planned, and an image holds at most {MAX_OBJECTS}"
        )
    for planned in objects:
        spec = parse_name(planned.name)
        if spec is None:
            unknown = [_unknown(word) for word in planned.name.split() if not _is_known(word)]
            found += unknown or [f'"{planned.name}" names no object of the icon world']
            continue
        box = planned.box
        size = tuple(round(side * GRID / 1000) for side in (box.x2 - box.x1, box.y2 - box.y1))
        sizes = [natural_size(spec.noun, scale) for scale in SCALES]
        if size not in sizes:
            known = ", ".join(f"{width * CELL}x{height * CELL}" for width, height in sizes)
            found.append(
                f'"{planned.name}" has a box of {size[0] * CELL}x{size[1] * CELL} pixels, and the '
                f"world's are {known}"
            )
    found += [
        f'the boxes of "{a.name}" and "{b.name}" overlap'
        for a, b in combinations(objects, 2)
        if iou(a.box, b.box) > 0 and not has_depths(a.box, b.box)
    ]
    return tuple(dict.fromkeys(found))


def alike(asked: str, named: str) -> float:
    """How well a name of a plan or an image is what was asked, as `truth.likeness` has it: a name
    without a fill means plain. `reading.likeness` where one of them is not of this world."""
    wanted, there = parse_name(asked), parse_name(named)
    if wanted is None or there is None:
        return likeness(asked, named)
    look = replace(there, fill=there.fill or "plain")
    return truth.likeness(wanted, truth.Thing(look, Box(0, 0, 999, 999)))
