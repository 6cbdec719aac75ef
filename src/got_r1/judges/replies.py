"""A model's reply as a score or as boxes: read leniently, checked strictly.

Lenient is the form: code fences, prose around the JSON, single quotes, trailing commas, bare keys
and Python's words, a score as a word or as "8/10", a box under any usual key. Strict is the
content: what is not one clear answer raises `Unreadable`, is asked again, and in the end is a
failure of the judge. It is never guessed and never a score:

- Two different scores in one reply; equal ones are one.
- Another scale than 0 to 10: "80%", "4/5". The rubric's bands were not followed, so what a mark
  means there is not known. "8/10" and "8 out of 10" say the asked scale and are read.
- A reply that was cut off. `"score": 1` may have been about to say 10, so a score counts only in an
  object that was closed.
- JSON inside a string is text: a judge may quote the verdict that a chain planted.

A box without area ([0, 0, 0, 0]), an empty list, null and a short "not found" all say that the
thing is not there, which is an answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from got_r1.judges.loose_json import Fields, fields_in, json_values
from got_r1.vision.base import PixelBox

__all__ = ["Scored", "Unreadable", "read_boxes", "read_score"]

LONGEST = 20_000
"""Characters of a reply that are looked at; a longer one is a model that repeats itself."""

MOST_BOXES = 20
"""Boxes of one name in one reply. More are a model that repeats itself, and among enough boxes one
always overlaps the planned one."""

OVERHANG = 0.05
"""How far a box may reach over the image's edge, as a share of the side, before it is taken for one
in other coordinates; what reaches over is cut off."""


class Unreadable(Exception):
    """The reply is no clear answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`score` in [0, 1] (the reply's tenth), and what the reply gave as its reasons."""

    score: float
    reasoning: str = ""


# -- scores ----------------------------------------------------------------------------------------

_SCORE_KEYS = {"score", "final score", "overall score", "total score"}
_REASON_KEYS = ("description", "reasoning", "reason", "explanation")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_VALUE = rf"(?:-?[0-9]+(?:\.[0-9]*)?|{'|'.join(_WORDS)})(?:\s*(?:/|out\s+of)\s*[0-9a-z.]+)?"
_MARK = re.compile(
    rf"(?P<mark>-?[0-9]+(?:\.[0-9]*)?|{'|'.join(_WORDS)})"
    r"(?:\s*(?:/|out\s+of)\s*(?P<scale>[0-9a-z.]+))?(?:\s*points?)?\.?",
    re.IGNORECASE,
)
# A line that says a score and nothing else: "Score: 8", "**Final score:** 8/10", "The score is 8."
_SCORE_LINE = re.compile(
    r"^(?:[^\w\n]|_)*(?:the\s+)?(?:(?:final|overall|total)\s+)?score\b['\"*_`]*\s*"
    rf"(?::|=|is\b|of\b)?['\"*_`\s]*(?P<value>{_VALUE})(?:\s*points?)?['\"*_`.\s]*$",
    re.IGNORECASE | re.MULTILINE,
)
# The end of an object that cannot be read as JSON, mostly for quotes inside its texts.
_SCORE_LAST = re.compile(
    rf"[{{,\s]['\"]?score['\"]?\s*:\s*['\"]?(?P<value>{_VALUE})['\"]?\s*,?\s*\}}+[\s`]*$",
    re.IGNORECASE,
)
_SCORE_NAMED = re.compile(r"score\w{0,9}['\"*]*\s*(?::|=|\bis\b|\bof\b)", re.IGNORECASE)


def read_score(reply: str) -> Scored:
    """The one score, 0 to 10, that a reply gives. Raises Unreadable, and nothing else."""
    text = _answer(reply)
    values, prose = json_values(text)
    if prose is None:  # something begins as JSON and is none
        last = _SCORE_LAST.search(text)
        if last is None or len(_SCORE_NAMED.findall(text)) != 1:
            raise Unreadable("its JSON is cut off or malformed")
        return Scored(_mark(last["value"]) / 10)
    said = [mark for value in values for mark in _marks_in(value)]
    said += [_mark(line["value"]) for line in _SCORE_LINE.finditer(prose)]
    if not values and _MARK.fullmatch(text.strip("*`\" '")):
        said.append(_mark(text.strip("*`\" '")))
    if not said:
        raise Unreadable("there is no score in it")
    if len(set(said)) > 1:
        raise Unreadable(f"it gives different scores: {', '.join(f'{m:g}' for m in said[:5])}")
    return Scored(said[0] / 10, _reasons(values))


def _marks_in(value: Any) -> Iterator[float]:
    """All that stands under a key that means score, at any depth."""
    for key, item in fields_in(value):
        if _plain(key) in _SCORE_KEYS and not isinstance(item, Fields | list):
            yield _mark(item)


def _mark(value: Any) -> float:
    """A number from 0 to 10. Raises Unreadable."""
    if isinstance(value, str):
        said = _MARK.fullmatch(value.strip())
        if said is None:
            raise Unreadable(f"its score {_short(value)} is no number")
        scale = said["scale"]
        if scale is not None and scale.lower().rstrip(".") not in ("10", "10.0", "ten"):
            raise Unreadable(f"its score {_short(value)} is on another scale than 0 to 10")
        mark = said["mark"].lower()
        number = float(_WORDS.index(mark)) if mark in _WORDS else float(mark)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"its score {_short(value)} is no number")
    else:
        number = _float(value)
    if not 0 <= number <= 10:  # NaN is not
        raise Unreadable(f"its score {_short(value)} is not within 0 to 10")
    return number


def _reasons(values: list[Any]) -> str:
    """What stands under the rubric's keys for reasons, the first of each."""
    fields = [(_plain(key), item) for value in values for key, item in fields_in(value)]
    texts = (
        next((item for key, item in fields if key == wanted and isinstance(item, str)), "")
        for wanted in _REASON_KEYS
    )
    return " ".join(text.strip() for text in texts if text.strip())


# -- boxes -----------------------------------------------------------------------------------------

_BOX_KEYS = {
    *("bbox 2d", "bbox2d", "bbox", "bboxes", "box", "boxes"),
    *("bounding box", "bounding boxes", "coordinates"),
}
_LABEL_KEYS = {"label", "name", "object", "category", "class"}
_PRESENCE_KEYS = {"found", "present", "visible", "exists"}
_CORNER_KEYS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
_SIZE_KEYS = (("x", "y", "width", "height"), ("x", "y", "w", "h"))

_NUMBER = r"-?[0-9]+(?:\.[0-9]*)?"
_FOUR = re.compile(
    rf"[\[(\s]*({_NUMBER})[,\s)(]+({_NUMBER})[,\s)(]+({_NUMBER})[,\s)(]+({_NUMBER})[\])\s]*"
)
_CORNERS = re.compile(
    rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)\s*,?\s*\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)"
)
_ABSENT = re.compile(
    r"\b(?:not (?:found|there|present|visible|shown|in (?:the|this) (?:image|picture))"
    r"|no such (?:thing|object)|(?:does|do) not (?:appear|exist|occur)|none|null|nothing|n/a"
    r"|there (?:is|are) no)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|unable|cannot|can't|can not|could not|couldn't|won't|as an ai"
    r"|no (?:image|picture)|(?:image|picture) (?:is|was) not)\b",
    re.IGNORECASE,
)
_SHORT_PROSE = 200  # characters of a "not found" without JSON


def read_boxes(reply: str, name: str, frame: tuple[int, int]) -> list[PixelBox]:
    """The boxes that a reply gives for the thing it was asked for; none where it is not there.

    `frame` is the (width, height) that coordinates are relative to: the image's in pixels, or
    (1000, 1000). Reversed corners are set right and equal boxes are one. Of several labels only
    `name` counts. Raises Unreadable, and nothing else.
    """
    text = _answer(reply)
    values, prose = json_values(text)
    if prose is None:
        raise Unreadable("its JSON is cut off or malformed")
    reading = _Boxes()
    for value in values:
        reading.read(value)
    if not values:
        corners = _CORNERS.findall(text)
        reading.items += [("", numbers) for numbers in corners]
        reading.absent |= not corners and _says_absent(text)
    if not reading.items and not reading.absent:
        raise Unreadable("there is no box in it")
    if reading.items and reading.denied:
        raise Unreadable("it gives a box of what it says is not there")
    boxes = [_in_frame(numbers, frame) for numbers in _of_name(reading.items, name)]
    distinct = list(dict.fromkeys(box for box in boxes if box is not None))
    if len(distinct) > MOST_BOXES:
        raise Unreadable(f"it gives {len(distinct)} boxes of one thing")
    return distinct


class _Boxes:
    """What the walk through a reply's JSON has met."""

    def __init__(self) -> None:
        self.items: list[tuple[str, Any]] = []  # label and four numbers, not yet checked
        self.absent = False  # something says that there is nothing
        self.denied = False  # and says so in as many words

    def read(self, value: Any, label: str = "") -> None:
        """Raises Unreadable for what stands in a box's place and is none."""
        if isinstance(value, Fields):
            self._object(value, label)
        elif isinstance(value, list):
            self._list(value, label)
        elif value is None or (isinstance(value, str) and _says_absent(value)):
            self.absent = True
        elif isinstance(value, str) and (four := _FOUR.fullmatch(value)):
            self.items.append((label, four.groups()))
        else:
            raise Unreadable(f"{_short(value)} stands where a box should")

    def _object(self, fields: Fields, label: str) -> None:
        by_key = {_plain(key): item for key, item in fields}
        named = [item for key, item in by_key.items() if key in _LABEL_KEYS]
        label = next((item for item in named if isinstance(item, str)), label)
        if "box 2d" in by_key:  # Gemini's key
            raise Unreadable('"box_2d" means y before x; "bbox_2d" was asked for')
        for keys in _CORNER_KEYS:
            if all(key in by_key for key in keys):
                self.items.append((label, [by_key[key] for key in keys]))
                return
        for keys in _SIZE_KEYS:
            if all(key in by_key for key in keys):
                x, y, width, height = (_coordinate(by_key[key]) for key in keys)
                self.items.append((label, [x, y, x + width, y + height]))
                return
        for key, item in fields:
            if _plain(key) in _BOX_KEYS:
                self.read(item, label)
            elif _plain(key) in _PRESENCE_KEYS and item is False:
                self.absent = self.denied = True
            elif isinstance(item, Fields) or (isinstance(item, list) and _may_hold_boxes(item)):
                # {"red heart": [1, 2, 3, 4]}, {"objects": [{"bbox": ...}]}
                self.read(item, label or key)

    def _list(self, items: list[Any], label: str) -> None:
        if not items:
            self.absent = True
        elif all(_is_number(item) for item in items):
            if len(items) != 4:
                raise Unreadable(f"{_short(items)} is no box: four numbers were asked for")
            self.items.append((label, items))
        elif len(items) == 2 and all(
            isinstance(corner, list) and len(corner) == 2 and all(map(_is_number, corner))
            for corner in items
        ):
            self.items.append((label, [*items[0], *items[1]]))
        else:
            for item in items:
                self.read(item, label)


def _of_name(items: list[tuple[str, Any]], name: str) -> list[Any]:
    """The numbers of what is labelled as asked; of what has one label or none, all."""
    labels = {_plain(label) for label, _ in items} - {""}
    if _plain(name) in labels:
        return [numbers for label, numbers in items if _plain(label) in ("", _plain(name))]
    if len(labels) > 1:
        raise Unreadable(
            f"its labels are {_short(sorted(labels))}, none of them what was asked for"
        )
    return [numbers for _, numbers in items]


def _in_frame(numbers: Any, frame: tuple[int, int]) -> PixelBox | None:
    """The box with its corners in order, cut to the frame; None for one without area."""
    x1, y1, x2, y2 = (_coordinate(number) for number in numbers)
    x1, x2 = min(x1, x2), max(x1, x2)
    y1, y2 = min(y1, y2), max(y1, y2)
    if x1 == x2 or y1 == y2:
        return None
    box = _short([f"{value:g}" for value in (x1, y1, x2, y2)])
    if max(x2, y2) <= 1:
        raise Unreadable(f"the box {box} is in shares of the image, which were not asked for")
    width, height = frame
    over = max(-x1 / width, -y1 / height, x2 / width - 1, y2 / height - 1)
    if over > OVERHANG:
        raise Unreadable(
            f"the box {box} lies outside of {width} x {height}: is the judge's setting "
            "`coordinates` right for this model?"
        )
    x1, x2 = max(x1, 0.0), min(x2, float(width))
    y1, y2 = max(y1, 0.0), min(y2, float(height))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _coordinate(value: Any) -> float:
    if not _is_number(value):
        raise Unreadable(f"the coordinate {_short(value)} is no number")
    number = _float(value)
    if not math.isfinite(number):
        raise Unreadable(f"the coordinate {_short(value)} is no number")
    return number


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(_NUMBER, value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _may_hold_boxes(items: list[Any]) -> bool:
    """Not a list of words, nor of numbers that cannot be a box ("colors": [1, 2])."""
    if all(_is_number(item) for item in items):
        return len(items) in (0, 4)
    return all(isinstance(item, Fields | list) for item in items)


def _says_absent(text: str) -> bool:
    short = len(text) <= _SHORT_PROSE
    return short and bool(_ABSENT.search(text)) and not _REFUSAL.search(text)


# -- what both begin with and use ------------------------------------------------------------------


def _answer(reply: str) -> str:
    """The reply without what a thinking model thought. Raises Unreadable where nothing is left."""
    text = reply.rpartition("</think>")[2].strip()
    if "<think>" in text:
        raise Unreadable("it was cut off while thinking")
    if not text:
        raise Unreadable("it is empty")
    if len(text) > LONGEST:
        raise Unreadable(f"it has {len(text)} characters")
    return text


def _plain(text: str) -> str:
    """A key or label without its case, underscores, hyphens and surplus blanks."""
    return " ".join(re.sub(r"[_-]+", " ", text).casefold().split())


def _float(value: int | float | str) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.inf


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
