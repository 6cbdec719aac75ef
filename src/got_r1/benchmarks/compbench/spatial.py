"""2D-spatial: are the two objects of a prompt there, and does one lie as the prompt says?

The arithmetic of T2I-CompBench's `2D_spatial_eval.py`, from the detections and the tagged words of
a prompt to a score in [0, 1]. Odd, but kept without a switch:

- A total below 0.5 becomes 0, so one found object never scores, and two objects in the wrong place
  only if both detections are certain (1.0 and 1.0).
- A word must equal a label: "desk" is not found as "table, desk", and the detector of the paper has
  no bag, computer, cow, mouse, painting, phone, sofa, table or wallet. Of several boxes with the
  label the first counts, whatever its score.
- girl, boy, man and woman are looked for as "person"; two of them are then the same box.
- "near" goes before left and right where a prompt has both.

The phrases below are therefore those of the official script, apart from the wordings of relations
in `got_r1.plan.reading`, which knows more of them; "on the left of" means the same in both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from got_r1.benchmarks.compbench.frames import FrameBox, FramedObject
from got_r1.benchmarks.compbench.quirks import OFFICIAL, Quirks
from got_r1.benchmarks.compbench.tagger import Token
from got_r1.benchmarks.compbench.words import first_and_last_noun, words_around
from got_r1.vision.boxes import overlap

__all__ = ["SpatialScore", "asked_objects", "locality", "position_score", "score", "with_person"]

LOCALITIES = (
    "on side of",
    "next to",
    "near",
    "on the left of",
    "on the right of",
    "on the bottom of",
    "on the top of",
    "on top of",
)
SIDE = "on the side of"  # looked for only where `phrases_missed` is corrected
BESIDE = {"near", "next to", "on side of", SIDE}
# Where the second object lies from the first: the sign of the offset, and its axis (0 is x).
DIRECTIONS = {
    "on the left of": (+1, 0),
    "on the right of": (-1, 0),
    "on the top of": (+1, 1),
    "on the bottom of": (-1, 1),
}
NEAR_LIMIT = 150.0  # pixels of the frame
FREE_OVERLAP = 0.1  # IoU up to which a direction is worth 1
CUT_OFF = 0.5
PERSONS = {"girl", "boy", "man", "woman"}

# What leads to the two objects of a complex prompt: the words on both sides of it.
PHRASES = (
    "on top of",
    "on bottom of",
    "on the left",
    "on the right",
    "next to",
    "on side of",
    "near",
)
MISSED_PHRASES = ("on the side", "on the top", "on the bottom")


@dataclass(frozen=True, slots=True)
class SpatialScore:
    """The score and what led to it; `position` is None where not both objects were found."""

    obj1: str | None
    obj2: str | None
    locality: str | None
    position: float | None
    score: float


def score(
    prompt: str,
    tokens: Sequence[Token],
    detections: Sequence[FramedObject],
    *,
    complex_prompt: bool = False,
    quirks: Quirks = OFFICIAL,
) -> SpatialScore:
    """The 2D-spatial score of one image, in [0, 1].

    `tokens`: the prompt's words with their parts of speech. `detections`: in the detector's order,
    which counts. `complex_prompt`: objects are looked for around a phrase, as in the category
    "complex", instead of as first and last noun. Raises BadInput for a prompt without a noun.
    """
    asked = locality(prompt, quirks)
    obj1, obj2 = asked_objects(tokens, complex_prompt=complex_prompt, quirks=quirks)
    one, two = (
        next((found for found in detections if found.label == word), None) for word in (obj1, obj2)
    )
    if one is None or two is None:
        position = None
        total = sum(0.25 * found.score for found in (one, two) if found is not None)
    else:
        position = position_score(one.box, two.box, asked, quirks)
        total = 0.25 * one.score + 0.25 * two.score + 0.5 * position
    return SpatialScore(obj1, obj2, asked, position, total if total >= CUT_OFF else 0.0)


def locality(prompt: str, quirks: Quirks = OFFICIAL) -> str | None:
    """The first relation of the list that the prompt holds, or None."""
    known = LOCALITIES if quirks.phrases_missed else (SIDE, *LOCALITIES)
    for phrase in known:
        if quirks.near_inside_words:
            if phrase in prompt:
                return phrase
        elif re.search(rf"\b{phrase}\b", prompt):
            return phrase
    return None


def asked_objects(
    tokens: Sequence[Token], *, complex_prompt: bool = False, quirks: Quirks = OFFICIAL
) -> tuple[str | None, str | None]:
    """The two objects that a prompt asks for, persons as "person"; (None, None) without a pair."""
    words: Sequence[str]
    if complex_prompt:
        phrases = PHRASES if quirks.phrases_missed else (*MISSED_PHRASES, *PHRASES)
        words = words_around(tokens, phrases)
        if len(words) != 2:
            return None, None
    else:
        words = first_and_last_noun(tokens)
    first, second = map(with_person, words)
    return first, second


def with_person(word: str) -> str:
    """The word, or "person" for a girl, boy, man or woman."""
    return "person" if word in PERSONS else word


def position_score(
    first: FrameBox, second: FrameBox, asked: str | None, quirks: Quirks = OFFICIAL
) -> float:
    """How well the first box lies to the second as asked, in [0, 1]."""
    offset = (centre(second, 0) - centre(first, 0), centre(second, 1) - centre(first, 1))
    distances = (abs(offset[0]), abs(offset[1]))
    if asked in BESIDE:
        reach = min(distances) if quirks.near_along_one_axis else max(distances)
        return 1.0 if reach < NEAR_LIMIT else NEAR_LIMIT / max(distances)
    if asked == "on top of" and not quirks.on_top_of_hole:
        asked = "on the top of"
    if asked not in DIRECTIONS:
        return 0.0
    sign, axis = DIRECTIONS[asked]
    if not (sign * offset[axis] > 0 and distances[axis] > distances[1 - axis]):
        return 0.0
    shared = overlap(first, second)
    return 1.0 if shared < FREE_OVERLAP else FREE_OVERLAP / shared


def centre(box: FrameBox, axis: int) -> float:
    return (box[axis] + box[axis + 2]) / 2
