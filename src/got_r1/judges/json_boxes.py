"""Boxes in a reply's JSON: the walk that collects them with what stands beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from got_r1.judges.absence import says_absent
from got_r1.judges.labels import Match, compare, content, names_several
from got_r1.judges.loose_json import Fields
from got_r1.judges.reply_marks import FOUR, LOC, NUMBER
from got_r1.judges.reply_text import Unreadable, plain, shortened, to_float

__all__ = ["OVERHANG", "BoxWalk", "Item", "Label", "Order", "RawBox"]

OVERHANG = 0.05
"""How far a box may reach over the image's edge, as a share of the side, before it is taken for one
in other coordinates; what reaches over is cut off."""

Order = Literal["xy", "yx"]
"""Which of a corner's coordinates comes first."""


@dataclass(frozen=True, slots=True)
class RawBox:
    """Two corners as they were given, in no particular order.

    `numbers`: four finite ones. `order`: what the form itself says ("x1" as a key), else None.
    `scale`: the length of either side where the form says it (`<loc0123>`: 1024), else 0.
    `shares`: all four within 0 and 1 and written as decimals. `y_first_key`: Gemini's "box_2d".
    """

    numbers: tuple[float, float, float, float]
    order: Order | None = None
    scale: float = 0.0
    shares: bool = False
    y_first_key: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """What stands beside a box. `aside`: attributes; `weak`: from a sentence that had ended."""

    text: str = ""
    aside: tuple[str, ...] = ()
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A box, or in its place the word that there is none (`denied`: in as many words)."""

    label: Label
    box: RawBox | None
    denied: bool = False


_BOX_KEYS = {
    *("bbox 2d", "bbox2d", "bbox", "bboxes", "box", "boxes", "box 2d", "box2d", "boxes 2d"),
    *("bounding box", "bounding boxes", "coordinates", "bbox coordinates", "box coordinates"),
}
_Y_FIRST_KEYS = {"box 2d", "box2d"}  # Gemini's
_PRESENT_KEYS = {"found", "present", "visible", "exists", "exist", "detected", "in image"}
_ABSENT_KEYS = {"absent", "missing", "not found", "not present"}
_NO = {"false", "no", "none", "0", "absent"}
_YES = {"true", "yes", "1"}
_CORNER_KEYS = (
    *("x1 y1 x2 y2", "x0 y0 x1 y1", "xmin ymin xmax ymax", "left top right bottom"),
    "x y x2 y2",
)
_SIZE_KEYS = ("x y width height", "x y w h", "left top width height", "xmin ymin width height")
_CORNER_PAIRS = (("topleft", "bottomright"), ("upperleft", "lowerright"))
# Keys whose text tells where or how sure, and names nothing (or something beside the thing).
_REMARKS = re.compile(
    r"confid|score|prob|status|message|error|file|path|url|format|unit|position|location|size|"
    r"relation|near|\b(?:left|right|above|below|beside|behind|next)\b|background|context"
)
# Keys whose text argues; as a sentence under any key, it names a thing for want of anything better.
_ARGUES = re.compile(r"reason|explan|comment|note|remark|thought|evidence|rationale")
# Keys whose text is the name; other short texts name a thing only where none of these does.
_NAMES = re.compile(
    r"label|name|object|category|class|title|item|entity|target|thing|phrase|noun|subject|tag|\bref"
)
_ATTRIBUTES = re.compile(r"colou?r|material|texture|shape|pattern|style|attribute|adjective")
_LONGEST_LABEL = 12  # words; what is longer, or a whole sentence, describes


class BoxWalk:
    """The walk through a reply's JSON: what stands in a box's place, with what stands beside it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: list[Item] = []
        self.unboxed: list[Label] = []  # names in objects without any box

    def read(self, value: Any, label: Label, key: str = "") -> None:
        """Raises Unreadable for what stands in a box's place and is none."""
        if isinstance(value, Fields):
            for fields in _without_repeats(value):
                self._object(fields, label)
        elif isinstance(value, list):
            self._list(value, label, key)
        elif self._says_absent(value):
            self.items.append(Item(label, None))
        elif isinstance(value, str) and (four := FOUR.fullmatch(value)):
            self._box(four.groups(), label, y_first_key=key in _Y_FIRST_KEYS)
        else:
            raise Unreadable(f"{shortened(value)} stands where a box should")

    def _says_absent(self, value: Any) -> bool:
        return value is None or (isinstance(value, str) and says_absent(value, self.name))

    def _box(self, numbers: Sequence[Any], label: Label, **form: Any) -> None:
        values = tuple(map(_coordinate, numbers))
        shares = all(-OVERHANG <= value <= 1 + OVERHANG for value in values) and any(
            isinstance(number, float) or "." in str(number) for number in numbers
        )
        self.items.append(Item(label, RawBox(values, shares=shares, **form)))  # type: ignore[arg-type]

    def _object(self, fields: Sequence[tuple[str, Any]], label: Label) -> None:
        by_key = {plain(key): item for key, item in fields}
        own, attributes = _label_beside(by_key, self.name)
        numbers = _named_numbers(by_key)
        named = any(_NAMES.search(key) for key, item in by_key.items() if isinstance(item, str))
        holds = numbers or _BOX_KEYS & by_key.keys() or any(map(_holds_boxes, by_key.values()))
        if own is not None and not named and not holds:
            own = replace(own, weak=True)  # {"scene": "two shapes", "objects": [...]}
        if own is not None:
            label = own
        elif attributes:
            aside = (*label.aside, *attributes)
            label = replace(label, text=label.text or " ".join(attributes), aside=aside)
        before = len(self.items)
        if numbers:
            self._box(numbers, label, order="xy")
            return
        labels = _parallel_labels(by_key)
        for key, item in fields:
            name = plain(key)
            if key in LOC:
                order, scale = LOC[key]
                self._box(item, label, order=order, scale=scale)
            elif labels and _holds_boxes(item) and isinstance(item[0], list):
                if len(labels) != len(item):
                    raise Unreadable(f"it has {len(item)} boxes and {len(labels)} labels")
                for box, text in zip(item, labels, strict=True):
                    self.read(box, Label(text), name)
            elif name in _BOX_KEYS:
                self.read(item, label, name)
            elif _says_no(name, item):
                self.items.append(Item(label, None, denied=True))
            elif isinstance(item, Fields) or (isinstance(item, list) and _may_hold_boxes(item)):
                # {"red heart": [1, 2, 3, 4]}, {"objects": [{"bbox": ...}]}
                by_name = own is None and content(key, self.name)
                self.read(item, Label(key) if by_name else label, name)
            elif compare(key, self.name) > Match.NONE and self._says_absent(item):
                self.items.append(Item(Label(key), None))  # {"red heart": null}
        if own is not None and len(self.items) == before:
            self.unboxed.append(own)

    def _list(self, items: list[Any], label: Label, key: str) -> None:
        if not items:
            self.items.append(Item(label, None))
        elif all(map(_is_number, items)):
            if len(items) != 4:
                raise Unreadable(f"{shortened(items)} is no box: four numbers were asked for")
            self._box(items, label, y_first_key=key in _Y_FIRST_KEYS)
        elif len(items) == 2 and all(map(_is_corner, items)):
            self._box([*items[0], *items[1]], label, y_first_key=key in _Y_FIRST_KEYS)
        elif texts := [item for item in items if _is_name(item)]:
            self._named_list(items, texts, label, key)
        else:
            for item in items:
                self.read(item, label, key)

    def _named_list(self, items: list[Any], texts: list[str], label: Label, key: str) -> None:
        """["red heart", 1, 2, 3, 4], ["red heart", [1, 2, 3, 4], "blue star", [5, 6, 7, 8]]."""
        rest = [item for item in items if not _is_name(item)]
        if len(texts) == 1 and len(rest) == 4 and texts[0] in (items[0], items[-1]):
            self.read(rest, Label(texts[0]), key)
        elif items[::2] == texts and len(rest) == len(texts):
            for text, box in zip(texts, rest, strict=True):
                self.read(box, Label(text), key)
        else:
            raise Unreadable(f"{shortened(texts[0])} stands where a box should")


def _without_repeats(fields: Fields) -> Iterator[list[tuple[str, Any]]]:
    """An object in parts without a repeated key: each part is one thing of a model's list.

    "label_1" and "label_2" repeat one key too.
    """
    part: dict[str, tuple[str, Any]] = {}
    for key, item in fields:
        stem = re.sub(r"(?<=\w\w) [0-9]+$", "", plain(key))
        if stem in part:
            yield list(part.values())
            part = {}
        part[stem] = (key, item)
    yield list(part.values())


def _label_beside(by_key: dict[str, Any], name: str) -> tuple[Label | None, tuple[str, ...]]:
    """The label that an object's texts give to its boxes, if any; and attributes beside it."""
    texts = [
        (key, text)
        for key, text in _texts(by_key)
        if key not in _BOX_KEYS and not _REMARKS.search(key)
    ]
    nameless = next((text for key, text in texts if _NAMES.search(key)), "")
    texts = [(key, text) for key, text in texts if content(text, name)]
    attributes = tuple(text for key, text in texts if _ATTRIBUTES.search(key))
    named, others, weak = [], [], []
    for key, text in texts:
        if _ARGUES.search(key) or _is_sentence(text):
            weak.append(text)
        elif _NAMES.search(key):
            named.append(text)
        elif names_several(text, name):  # {"caption": "A heart and a star"}
            weak.append(text)
        elif not _ATTRIBUTES.search(key):
            others.append(text)
    if some := named or others or weak:
        best = max(some, key=lambda text: compare(text, name, attributes))
        return Label(best, attributes, weak=some is weak), attributes
    return (Label(nameless) if nameless else None), attributes


def _texts(by_key: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Texts beside a box, also one level down: {"object": {"name": "red heart"}}."""
    for key, item in by_key.items():
        if isinstance(item, str) and not FOUR.fullmatch(item):
            yield key, item
        elif isinstance(item, Fields):
            below = {f"{key} {plain(inner)}": text for inner, text in item}
            if all(isinstance(text, str) for text in below.values()):
                yield from below.items()
        elif isinstance(item, list) and item and all(map(_is_name, item)):
            yield key, " and ".join(item)


def _is_sentence(text: str) -> bool:
    verb = re.search(r"\b(?:is|are|was|were|has|have|there)\b", text.casefold())
    return len(text.split()) > _LONGEST_LABEL or verb is not None


def _named_numbers(by_key: dict[str, Any]) -> list[Any] | None:
    """x1, y1, x2, y2 out of keys that say which is which."""
    joined = {key.replace(" ", ""): item for key, item in by_key.items()}
    for keys in map(str.split, _CORNER_KEYS):
        if all(key in joined for key in keys):
            return [joined[key] for key in keys]
    for keys in map(str.split, _SIZE_KEYS):
        if all(key in joined for key in keys):
            x, y, width, height = (joined[key] for key in keys)
            return [x, y, _coordinate(x) + _coordinate(width), _coordinate(y) + _coordinate(height)]
    for first, second in _CORNER_PAIRS:
        if _is_corner(joined.get(first)) and _is_corner(joined.get(second)):
            return [*joined[first], *joined[second]]
    return None


def _parallel_labels(by_key: dict[str, Any]) -> list[str]:
    """{"boxes": [[...], [...]], "labels": ["red heart", "blue star"]}."""
    for key, item in by_key.items():
        if _NAMES.search(key) and isinstance(item, list):
            texts = [text for text in item if isinstance(text, str)]
            if len(texts) == len(item):
                return texts
    return []


def _holds_boxes(value: Any) -> bool:
    """[1, 2, 3, 4], [[1, 2, 3, 4], [5, 6, 7, 8]]."""
    if not isinstance(value, list) or not value:
        return False
    if isinstance(value[0], list):
        return all(map(_holds_boxes, value))
    return len(value) == 4 and all(map(_is_number, value))


def _says_no(key: str, item: Any) -> bool:
    said = str(item).strip().casefold()
    if key in {"count", "number of instances", "instances"}:
        return said == "0"
    return (key in _PRESENT_KEYS and said in _NO) or (key in _ABSENT_KEYS and said in _YES)


def _coordinate(value: Any) -> float:
    if not _is_number(value):
        raise Unreadable(f"the coordinate {shortened(value)} is no number")
    number = to_float(value)
    if not math.isfinite(number):
        raise Unreadable(f"the coordinate {shortened(value)} is no number")
    return number


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(NUMBER, value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_corner(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and not _is_number(value)
        and not FOUR.fullmatch(value)
        and bool(content(value))
    )


def _may_hold_boxes(items: list[Any]) -> bool:
    """Not a list of words, nor of numbers that cannot be a box ("colors": [1, 2])."""
    if all(map(_is_number, items)):
        return len(items) in (0, 4)
    return all(isinstance(item, Fields | list) for item in items)
