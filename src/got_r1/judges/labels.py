"""Is a label, or the words before a box, the name that a judge was asked for?

Names are compared by their words: without case, articles, plural endings and words that name
nothing ("the object on the left, 95%"). Word order counts for nothing but the head: of "a star left
of a red heart" the head is the star.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum

__all__ = ["Match", "compare", "content", "names_several", "words"]


class Match(IntEnum):
    """How a label fits the asked name; a larger value is the better fit."""

    OTHER = 0
    """It names something else."""
    NONE = 1
    """It names nothing."""
    PART = 2
    """Less than what was asked for ("heart" of "red heart"), or another script: cannot be told."""
    CONTAINS = 3
    """What was asked for, and more ("small red heart")."""
    SAME = 4


def words(text: str) -> list[str]:
    """The words of a text, small, without plural endings."""
    return [_singular(word) for word in re.findall(r"[^\W_]+", _small(text))]


def _small(text: str) -> str:
    return text.casefold().replace("grey", "gray")


def _singular(word: str) -> str:
    if len(word) > 4 and re.search(r"(?:ch|sh|x|ss|z)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and re.search(r"[^su]s$", word) else word


def _words(text: str) -> set[str]:
    return set(words(text))


_ARTICLES = {"a", "an", "the"}
_JOINTS = {"and", "or", "nor", "plus", "versus", "vs"}
_PREPOSITIONS = _words("""
    in on at of with by to from near beside behind under over above below between next left right
    inside against along around beneath across before after for that which whose who
""")
_NAMELESS = _words("""
    box boxes bbox bboxes bounding coordinate coord position location region area object thing item
    entity instance detection detected result answer output response prediction annotation data list
    json label name id index match target subject image picture photo scene frame drawing corner
    side center centre middle top bottom upper lower edge width height pixel normalized
    xmin ymin xmax ymax value loc obj coords rect rectangle bounds xyxy grounding img png jpg
    jpeg file shape icon figure symbol graphic element

    true false yes no none null high low medium certain confidence score found visible present first
    second third another other one two three four five several all each every both only single
    following requested named asked specified described given final also then finally next

    is are was were be been am can could may will would has have had do does did it its they their
    them this these those there here i we you your my me what where let ll ve re find see locate
    located detect identify identified spotted shows shown show appears visible placed positioned
    situated lies sits tight tightly approximately about roughly but however so while sure certainly
    okay ok please provided provide requested based looking look analysis inspection careful
    carefully note as follows format not any such hope helps help go
    know need more thanks thank welcome enjoy
""")
_ALL_NAMELESS = _NAMELESS | _ARTICLES | _JOINTS | _PREPOSITIONS


def content(text: str, asked: str = "") -> list[str]:
    """The words that name something; those of the asked name always do."""
    wanted = set(words(asked))
    return [word for word in words(text) if word in wanted or not _nameless(word)]


def compare(label: str, asked: str, aside: Sequence[str] = ()) -> Match:
    """How a label fits the asked name.

    `aside`: attributes that stand beside the label ({"object": "heart", "color": "red"}).
    """
    if not content(label, asked):
        return Match.NONE
    wanted = [word for word in words(asked) if word not in _ARTICLES]
    has = [word for word in words(label) if word not in _ARTICLES]
    if "".join(has) == "".join(wanted):
        return Match.SAME
    if _script(label) != _script(asked):
        return Match.PART
    if not _spaced(label) and (asked in label or label in asked):
        return Match.CONTAINS if asked in label else Match.PART
    if names_several(label, asked):
        return Match.OTHER
    asked_for, named = set(content(asked, asked)), set(content(label, asked))
    beside = {word for one in aside for word in content(one, asked)}
    head = _head(asked)
    if asked_for <= named | beside and head in _group(label, asked):
        same = named | beside == asked_for
        return Match.SAME if same else Match.CONTAINS
    if head in named and named <= asked_for and beside <= asked_for:
        return Match.PART
    return Match.OTHER


def names_several(label: str, asked: str) -> bool:
    """Whether a label names more than one thing: "heart and star"."""
    own = set(words(asked))
    groups: list[list[str]] = [[]]
    for word in words(label):
        if word in _JOINTS and word not in own:
            groups.append([])
        else:
            groups[-1].append(word)
    return sum(bool(content(" ".join(group), asked)) for group in groups) > 1


def _nameless(word: str) -> bool:
    # Single letters and what has digits tell boxes apart, and name none.
    return word in _ALL_NAMELESS or bool(re.search("[0-9]", word)) or len(word.encode()) == 1


def _group(label: str, asked: str) -> set[str]:
    """The words of the first group between prepositions that names something."""
    group: set[str] = set()
    for word in [*words(label), ""]:
        if word and word not in _PREPOSITIONS:
            group.add(word)
        elif set(content(" ".join(group), asked)):
            break
        else:
            group = set()
    return group


def _head(name: str) -> str:
    """The word that says what a thing is: the last before a preposition."""
    head = ""
    for word in words(name):
        if head and word in _PREPOSITIONS:
            break
        head = word
    return head


def _script(text: str) -> bool:
    """Whether it is written in Latin letters."""
    letters = [character for character in text if character.isalpha()]
    return sum(character < "ɐ" for character in letters) * 2 >= len(letters)


def _spaced(text: str) -> bool:
    return _script(text) or " " in text.strip()
