"""Chains in related notations -> the grammar of `plan.chain`, where only one reading is possible.

Data sets write the same plan in several ways:

    <|object_ref_start|>vase<|object_ref_end|><|box_start|>(202,482),(729,1000)<|box_end|>
    <ref>vase</ref><box>(202,482),(729,964)</box><box>(10,20),(90,80)</box>
    <|ref|>vase<|/ref|><|det|>[[202, 482, 729, 964], [10, 20, 90, 80]]<|/det|>
    <|obj_start|>vase<|obj_end|> [202, 482, 729, 964]

What is converted: tags; square brackets; coordinates without tags right behind a tagged name;
several boxes behind one name (the name is repeated for each); 1000 as a coordinate (the grid ends
at 999). What would have to be guessed is not: names without tags, boxes without a name, and units,
since pixels and shares of the sides look like other numbers. `parse` then names what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from got_r1.plan.chain import (
    BOX_END,
    BOX_START,
    COORDINATE_MAX,
    OBJ_END,
    OBJ_START,
    Problem,
    parse,
)

__all__ = ["MAYBE_SHARES", "MIXED", "Conversion", "convert"]

MIXED = "tags of different notations in one object"
MAYBE_SHARES = "coordinates that may be shares of the sides"
SEVERAL = "several boxes behind one name, which is repeated"
THOUSAND = f"1000 as a coordinate, now {COORDINATE_MAX}"
BRACKETS = "square brackets around coordinates"
UNTAGGED = "coordinates without box tags"

_OBJECT_TAGS = {
    OBJ_START: OBJ_END,
    "<|object_ref_start|>": "<|object_ref_end|>",  # Qwen2-VL and later
    "<ref>": "</ref>",  # Qwen-VL, InternVL
    "<|ref|>": "<|/ref|>",  # DeepSeek-VL2
}
_BOX_TAGS = {BOX_START: BOX_END, "<box>": "</box>", "<|det|>": "<|/det|>"}
_OURS = {
    **dict.fromkeys(_OBJECT_TAGS, OBJ_START),
    **dict.fromkeys(_OBJECT_TAGS.values(), OBJ_END),
    **dict.fromkeys(_BOX_TAGS, BOX_START),
    **dict.fromkeys(_BOX_TAGS.values(), BOX_END),
}
_TAG = re.compile("(" + "|".join(map(re.escape, _OURS)) + ")")

_POINT = r"\(\s*[0-9]+\s*,\s*[0-9]+\s*\)"
_PAIR = rf"{_POINT}\s*,\s*{_POINT}"
_FOUR = r"\[\s*[0-9]+(?:\s*,\s*[0-9]+){3}\s*\]"
# A separator that is written so is tried once, whatever the length of the white space.
_PAIRS, _FOURS = (rf"{one}(?:(?:\s*[,;])?\s*{one})*" for one in (_PAIR, _FOUR))
_BOXES = re.compile(rf"\s*(?:{_PAIRS}|{_FOURS}|\[\s*{_FOURS}\s*\])")
_MORE = re.compile(r"(?:\s*[,;])?\s*[\[(]\s*[-0-9.]")  # coordinates of something else, then
_UNNAMED = re.compile(f"{_PAIR}|{_FOUR}")
_ONE_PAIR = re.compile(rf"\s*{_PAIR}\s*")
_NUMBER = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class Conversion:
    """A chain in the grammar, with the kinds of changes made; or what is wrong with the given one
    (as `Chain.problems`), and then its text as it was."""

    text: str
    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def convert(text: str, *, marks: bool = False) -> Conversion:
    """Reads a chain in any of the notations. One that is in the grammar already stays as it is;
    with `marks`, also one in the extended grammar, which no other notation has."""
    if not parse(text, marks=marks).problems and all(
        tag == _OURS[tag] for tag in _TAG.findall(text)
    ):
        return Conversion(text)
    reader = _Reader(text)
    converted = "".join(reader.read())
    problems = dict.fromkeys([*parse(converted).problems, *map(str, reader.problems)])
    if problems:
        return Conversion(text, problems=tuple(problems))
    return Conversion(converted, tuple(dict.fromkeys(reader.changes)))


class _Reader:
    """One pass over a chain: pieces of the converted one, and notes of what was met."""

    def __init__(self, text: str) -> None:
        self.pieces = _TAG.split(text)  # prose at even places (perhaps empty), tags at odd ones
        self.changes: list[str] = []
        self.problems: list[str] = []

    def read(self) -> Iterator[str]:
        """The pieces of the converted chain. Tags that make no object are passed on in our
        notation, for `parse` to say what is wrong."""
        place = 0
        while place < len(self.pieces):
            piece = self.pieces[place]
            name = self._enclosed(place, _OBJECT_TAGS)
            if name is not None:
                boxes, place = self._boxes_behind(place + 3)
                yield from self._object(piece, name, boxes)
                continue
            if piece not in _OURS:
                if _UNNAMED.search(piece):
                    self.problems.append(Problem.NO_OBJECT)
            elif self._is_closed_otherwise(place):
                self.problems.append(MIXED)
            yield _OURS.get(piece, piece)
            place += 1

    def _enclosed(self, place: int, tags: Mapping[str, str]) -> str | None:
        """The text between the opening tag at `place` and its closing one; None where that is
        no opening tag of these, or another tag comes first."""
        closing = tags.get(self.pieces[place])
        if closing is None or self.pieces[place + 2 : place + 3] != [closing]:
            return None
        return self.pieces[place + 1]

    def _is_closed_otherwise(self, place: int) -> bool:
        """Whether a tag is opened in one notation and closed in another."""
        closing = {**_OBJECT_TAGS, **_BOX_TAGS}.get(self.pieces[place])
        behind = self.pieces[place + 2 : place + 3]
        return closing is not None and behind != [closing] and _ours(behind) == _ours([closing])

    def _boxes_behind(self, place: int) -> tuple[list[tuple[str, str, str]], int]:
        """The boxes from the prose at `place` on, as (text before it, opening tag or none,
        coordinates); and the place of the prose behind them."""
        found: list[tuple[str, str, str]] = []
        while True:
            prose = self.pieces[place]
            follows = prose.strip() in (("", ",", ";") if found else ("",))
            if follows and place + 1 < len(self.pieces):
                content = self._enclosed(place + 1, _BOX_TAGS)
                if content is not None:
                    found.append((prose, self.pieces[place + 1], content))
                    place += 4
                    continue
            bare = None if found else _BOXES.match(prose)
            if bare and not _MORE.match(prose, bare.end()):
                found.append((" ", "", bare[0]))
                self.pieces[place] = prose[bare.end() :]
            return found, place

    def _object(self, tag: str, name: str, boxes: list[tuple[str, str, str]]) -> Iterator[str]:
        """An object of our notation for each box; one without a box where there is none."""
        if tag != OBJ_START:
            name = name.strip()
            self.changes.append(f"tags {tag}")
        opened = f"{OBJ_START}{name}{OBJ_END}"
        if not boxes:
            yield opened
        count = 0
        for before, box_tag, content in boxes:
            if box_tag != BOX_START:
                self.changes.append(f"tags {box_tag}" if box_tag else UNTAGGED)
            for corners in self._corners(content, box_tag):
                ours = (tag, box_tag) == (OBJ_START, BOX_START) and count == 0
                if count:
                    yield f"{before.strip()} "
                yield f"{opened}{before if ours else ' '}{BOX_START}{corners}{BOX_END}"
                count += 1
                before = ""
        if count > 1:
            self.changes.append(SEVERAL)

    def _corners(self, content: str, box_tag: str) -> list[str]:
        """The coordinates of each box as our notation has them; as they are where they are so
        already, or cannot be read."""
        numbers = [number.lstrip("0") or "0" for number in _NUMBER.findall(content)]
        plain = box_tag == BOX_START and _ONE_PAIR.fullmatch(content)
        if _BOXES.fullmatch(content.rstrip()) is None or (plain and "1000" not in numbers):
            return [content]
        if "[" in content:
            self.changes.append(BRACKETS)
        if "1000" in numbers:
            self.changes.append(THOUSAND)
        boxes = []
        for first in range(0, len(numbers), 4):
            four = numbers[first : first + 4]
            if set(four) <= {"0", "1"} and not plain:
                self.problems.append(MAYBE_SHARES)
            x1, y1, x2, y2 = (str(COORDINATE_MAX) if one == "1000" else one for one in four)
            boxes.append(f"({x1},{y1}),({x2},{y2})")
        return boxes


def _ours(tags: Sequence[str]) -> list[str]:
    return [_OURS[tag] for tag in tags]
