"""Numeracy: are the objects of a prompt there, and as many as it says?

The arithmetic of T2I-CompBench's `numeracy_eval.py`. Each object of a prompt has an equal share of
the score: half of it for being there at all, half for the right number, so counting too many still
earns half. Duplicates are dropped in the detector's order, whatever their scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from got_r1.benchmarks.compbench.frames import FrameBox, FramedObject, names
from got_r1.benchmarks.compbench.quirks import OFFICIAL, Quirks
from got_r1.errors import BadInput

__all__ = ["Count", "NumeracyScore", "asked_counts", "read_objects", "score", "without_duplicates"]

NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4,
    "five": 5, "six": 6, "seven": 7, "eight": 8,
}  # fmt: skip
SINGLE = {"a", "an", "one"}
# How the detector calls them. "telivision" is the official spelling, so a television keeps its own.
ALIASES = {
    "boy": "person",
    "girl": "person",
    "man": "person",
    "woman": "person",
    "ship": "boat",
    "telivision": "tv",
    "goldfish": "fish",
    "painting": "picture",
}
SAME_BOX = 0.9


@dataclass(frozen=True, slots=True)
class Count:
    """An object and how many of it a prompt asks for."""

    word: str
    number: int


@dataclass(frozen=True, slots=True)
class NumeracyScore:
    """The score and what led to it: labels without duplicates, then renamed."""

    asked: tuple[Count, ...]
    labels_after_dedup: tuple[str, ...]
    labels_after_renaming: tuple[str, ...]
    score: float


def read_objects(text: str) -> dict[str, str]:
    """Plural to singular, from the text of the benchmark's `new_objects.txt` (`bottle - bottles`).

    Raises BadInput for a line of another form.
    """
    plurals: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        names = [name.strip().lower() for name in line.split(" - ")]
        if len(names) != 2 or not all(names):
            raise BadInput(
                f"line {number} of new_objects.txt is not 'singular - plural'; "
                "take the benchmark's own file."
            )
        plurals.setdefault(names[1], names[0])
    return plurals


def asked_counts(tokens: Sequence[str], plurals: Mapping[str, str]) -> tuple[Count, ...]:
    """What a prompt asks for: its words, `plurals` from plural to singular, as `read_objects`.

    Raises BadInput where the official code breaks: no number word before a known object ("Two
    dogs": lower case only), a number as the last word, a number above one before a singular.
    """
    singulars = set(plurals.values())
    asked = []
    for place, word in enumerate(tokens):
        if word not in NUMBERS:
            continue
        if place + 1 == len(tokens):
            raise unreadable(tokens, f"ends with the number {word!r}")
        # Objects of two words come first; the benchmark's list has none.
        following = tokens[place + 1 : place + 3]
        for name in (" ".join(following), following[0]):
            if word in SINGLE and name in singulars:
                asked.append(Count(name, 1))
            elif name in plurals and word not in ("a", "an"):
                asked.append(Count(plurals[name], NUMBERS[word]))
            elif name in singulars or name in plurals:
                raise unreadable(tokens, f"says {word!r} of {name!r}")
            else:
                continue
            break
    if not asked:
        raise unreadable(tokens, "names no number of a known object")
    return tuple(asked)


def unreadable(tokens: Sequence[str], why: str) -> BadInput:
    return BadInput(
        f"the numeracy prompt {' '.join(tokens)!r} {why}, which the benchmark cannot score; "
        "use the benchmark's own prompts and new_objects.txt."
    )


def score(
    asked: Sequence[Count], detections: Sequence[FramedObject], *, quirks: Quirks = OFFICIAL
) -> NumeracyScore:
    """The numeracy score of one image, in [0, 1]; `asked` by `asked_counts`, not empty."""
    kept = [found.label for found in without_duplicates(detections)]
    labels = list(kept)
    total = 0.0
    weight = 1 / len(asked)
    for count in asked:
        word = ALIASES.get(count.word, count.word)
        if word not in labels:  # then every label that holds the word is taken for it
            labels = [word if names(label, word, quirks) else label for label in labels]
        number = labels.count(word)
        if number:
            total += weight / 2
            if number == count.number:
                total += weight / 2
    return NumeracyScore(tuple(asked), tuple(kept), tuple(labels), total)


def without_duplicates(detections: Sequence[FramedObject]) -> list[FramedObject]:
    """The detections in order, without those that an earlier kept one of the same label covers."""
    kept: list[FramedObject] = []
    for found in detections:
        if not any(found.label == one.label and same(found.box, one.box) for one in kept):
            kept.append(found)
    return kept


def same(one: FrameBox, other: FrameBox) -> bool:
    """Whether two boxes are one object: by IoU, or because either is nearly inside the other.
    Widths and heights count a pixel more, as for boxes whose last pixel is inside."""
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    union = sum(areas) - shared
    return shared / union > SAME_BOX or any(shared / area > SAME_BOX for area in areas)
