"""Chain text <-> plan: the grammar of the Generation Chain-of-Thought.

A chain is free prose in which every object carries its box right behind it:

    A <|obj_start|>yellow vase<|obj_end|> <|box_start|>(202,482),(729,964)<|box_end|> on a table.

Coordinates are plain digits, (x1,y1),(x2,y2), origin top-left, 0 to 999 whatever the image's size
(GoT, arXiv 2503.10639; the published examples of GoT-R1). `parse` reads what a policy wrote and
never raises: what is wrong comes back as named problems beside the objects that are right.

An extension of ours, off unless asked for (`marks=True`), lets a box carry a depth, a time index,
or both, in this order, behind its corners and inside its tags (docs/depth.md):

    <|box_start|>(202,482),(729,964),z2,t0<|box_end|>
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from got_r1.errors import BadInput
from got_r1.records import Box, Chain, PlannedObject

__all__ = [
    "BOX_END",
    "BOX_START",
    "COORDINATE_MAX",
    "OBJ_END",
    "OBJ_START",
    "TAGS",
    "Problem",
    "find_problems",
    "format_box",
    "format_chain",
    "format_object",
    "parse",
    "prose",
    "strip_boxes",
    "without_end",
]

BOX_START = "<|box_start|>"
BOX_END = "<|box_end|>"
OBJ_START = "<|obj_start|>"
OBJ_END = "<|obj_end|>"
TAGS = (BOX_START, BOX_END, OBJ_START, OBJ_END)
"""The four added tokens, in the order in which the official tokenizer adds them."""

COORDINATE_MAX = 999

# What may stand behind a chain: no part of its text, though data sets and older samples have it.
_ENDS = ("<begin_of_image>", "<｜end▁of▁sentence｜>")


class Problem(StrEnum):
    """What can be wrong with a chain. A chain names each kind once, in order of appearance."""

    EMPTY = "empty chain"
    NO_PLAN = "no planned object"
    UNCLOSED = "unclosed tag"
    STRAY = "closing tag without its opening tag"
    EMPTY_NAME = "object without a name"
    NO_BOX = "object without a box right behind it"
    NO_OBJECT = "box without an object right before it"
    MISSING = "missing coordinates"
    MALFORMED = "malformed coordinates"
    OUT_OF_RANGE = "coordinates outside 0 to 999"
    REVERSED = "reversed coordinates"
    NO_AREA = "box without area"
    REPEATED = "same name and box repeated"


# Splitting at the tags is linear in the text, whatever noise it holds; so is everything below.
_TAG = re.compile("(" + "|".join(re.escape(tag) for tag in TAGS) + ")")
_COORDINATES = re.compile(
    r"\s*\(\s*(-?[0-9]+)\s*,\s*(-?[0-9]+)\s*\)\s*,\s*\(\s*(-?[0-9]+)\s*,\s*(-?[0-9]+)\s*\)\s*"
)
_MARKED = re.compile(
    rf"({_COORDINATES.pattern})(?:,\s*z\s*(-?[0-9]+)\s*)?(?:,\s*t\s*(-?[0-9]+)\s*)?"
)
_NUMBER = re.compile(r"[0-9]+")


def parse(text: str, *, marks: bool = False) -> Chain:
    """Read a chain; accepts any string.

    An object counts when its tags are closed, its name is not blank and a valid box follows with
    nothing but white space between. Objects of one name in different boxes are separate things
    ("three hearts"); only the same name in the *same* box is a problem, and is kept once.
    Spaces inside the coordinates and leading zeros are tolerated. The chain's text is that of
    `without_end`.

    With `marks` a box may carry depth and time; without, such a box is malformed. A chain without
    marks is read alike in both cases. The same name in the same box at another *time* is one thing
    that stays where it is; at another depth it is the same thing repeated.
    """
    text = without_end(text)
    objects, problems = _read(text, marks)
    return Chain(text, tuple(objects), tuple(dict.fromkeys(p.value for p, _ in problems)))


def find_problems(text: str, *, marks: bool = False) -> list[tuple[Problem, int]]:
    """Everything that `parse` finds wrong, each with the place in `text` where it begins."""
    return _read(text, marks)[1]


def _read(text: str, marks: bool) -> tuple[list[PlannedObject], list[tuple[Problem, int]]]:
    problems: list[tuple[Problem, int]] = []
    objects: dict[PlannedObject, PlannedObject] = {}  # by the object without its depth
    opened: str | None = None  # the tag we are inside of
    opened_at = 0
    content = ""  # the text inside of it
    name: str | None = None  # a closed object that still waits for its box
    named_at = end = 0

    def note(problem: Problem, at: int) -> None:
        problems.append((problem, at))

    for piece in _TAG.split(text):
        start, end = end, end + len(piece)
        if piece not in TAGS:
            content = piece
            if opened is None and name is not None and piece.strip():
                note(Problem.NO_BOX, named_at)
                name = None
            continue
        if piece in (OBJ_START, BOX_START):
            if opened is not None:
                note(Problem.UNCLOSED, opened_at)
                name = None
            if piece == OBJ_START and name is not None:
                note(Problem.NO_BOX, named_at)
                name = None
            if piece == BOX_START and name is None:
                note(Problem.NO_OBJECT, start)
            opened, opened_at = piece, start
            continue
        if piece == OBJ_END and opened == OBJ_START:
            name, named_at = content.strip() or None, opened_at
            if name is None:
                note(Problem.EMPTY_NAME, opened_at)
        elif piece == BOX_END and opened == BOX_START:
            box = _parse_box(content, marks)
            if isinstance(box, Problem):
                note(box, opened_at)
            elif name is not None:
                flat = PlannedObject(name, replace(box, depth=None))
                if flat in objects:
                    note(Problem.REPEATED, named_at)
                objects.setdefault(flat, PlannedObject(name, box))
            name = None
        elif opened is None:
            note(Problem.STRAY, start)
            name = None
        else:
            note(Problem.UNCLOSED, opened_at)
            name = None
        opened = None

    if opened is not None:
        note(Problem.UNCLOSED, opened_at)
    elif name is not None:
        note(Problem.NO_BOX, named_at)
    if not text.strip():
        note(Problem.EMPTY, 0)
    elif not objects:
        note(Problem.NO_PLAN, 0)
    return list(objects.values()), problems


def _parse_box(content: str, marks: bool) -> Box | Problem:
    found = (_MARKED if marks else _COORDINATES).fullmatch(content)
    if found is None:
        return Problem.MISSING if len(_NUMBER.findall(content)) < 4 else Problem.MALFORMED
    numbers = [None if n is None else _coordinate(n) for n in found.groups()[int(marks) :]]
    return _problem_of(Box(*numbers))  # type: ignore[arg-type]  # only the marks can be None


def _coordinate(number: str) -> int:
    """A run of digits with or without a minus; -1 for every one with a minus, "-0" too, since a
    coordinate has no sign."""
    if number.startswith("-"):
        return -1
    # Cut before int(): Python refuses to convert thousands of digits, and noise may hold them.
    return int(number.lstrip("0")[: len(str(COORDINATE_MAX)) + 1] or "0")


def _problem_of(box: Box) -> Box | Problem:
    """The box itself when it can stand in a chain, else what is wrong with it."""
    numbers = (box.x1, box.y1, box.x2, box.y2, box.depth or 0, box.time or 0)
    if not all(0 <= number <= COORDINATE_MAX for number in numbers):
        return Problem.OUT_OF_RANGE
    if box.x1 > box.x2 or box.y1 > box.y2:
        return Problem.REVERSED
    if box.x1 == box.x2 or box.y1 == box.y2:
        return Problem.NO_AREA
    return box


def format_object(planned: PlannedObject) -> str:
    """One object with its box, as a chain writes it; depth and time where the box has them, which
    only `parse(..., marks=True)` reads back.

    Raises `BadInput` when the chain would not read back: a blank name, a name that contains a tag
    or begins or ends with white space, or a box that is reversed, empty or outside 0 to 999.
    """
    name, box = planned.name, planned.box
    if not name.strip() or name != name.strip() or _TAG.search(name):
        raise BadInput(
            f"object name {name!r} cannot stand in a chain: "
            "give it a name without tags and without white space around it"
        )
    checked = _problem_of(box)
    if isinstance(checked, Problem):
        raise BadInput(
            f"box of {name!r} cannot stand in a chain: {checked.value}; "
            f"give x1 < x2 and y1 < y2 within 0 to {COORDINATE_MAX}"
        )
    return f"{OBJ_START}{name}{OBJ_END} {format_box(box)}"


def format_box(box: Box) -> str:
    """A box in its tags, as a chain writes it. Nothing is checked: see `format_object`."""
    depth = "" if box.depth is None else f",z{box.depth}"
    time = "" if box.time is None else f",t{box.time}"
    return f"{BOX_START}({box.x1},{box.y1}),({box.x2},{box.y2}){depth}{time}{BOX_END}"


def format_chain(parts: Iterable[str | PlannedObject]) -> str:
    """A chain from prose and objects, in order and verbatim.

    `format_chain(["A ", heart, " on the left of a ", star, "."])`. Any list of objects is a chain
    too. `parse` of the result gives the same objects back, and no problems as long as there is an
    object and none is repeated. Raises `BadInput` as `format_object` does, and for tags in prose.
    """
    texts = []
    for part in parts:
        if isinstance(part, PlannedObject):
            texts.append(format_object(part))
        elif _TAG.search(part):
            raise BadInput(
                f"prose {part!r} holds a tag of the chain grammar: give objects as objects"
            )
        else:
            texts.append(part)
    return "".join(texts)


def without_end(text: str) -> str:
    """The chain without the `<begin_of_image>` or end of sentence, if any, that closes it."""
    left = text.rstrip()
    while left.endswith(_ENDS):
        for end in _ENDS:
            left = left.removesuffix(end).rstrip()
        text = left
    return text


def prose(text: str) -> str:
    """What stands outside the plan: the text without names and boxes, white space tidied. What an
    opening tag that is never closed leaves open, up to the next tag or the end, is no prose."""
    kept = []
    inside = False
    for piece in _TAG.split(text):
        if piece in TAGS:
            inside = piece in (OBJ_START, BOX_START)
        elif not inside:
            kept.append(piece)
    return " ".join(" ".join(kept).split())


def strip_boxes(text: str) -> str:
    """The chain as the judge of R_sem reads it: boxes gone, names kept, white space tidied.

    Tags never survive. After an opening box tag that is never closed, the text up to the next tag
    (or the end) goes as well.
    """
    kept = []
    inside_box = False
    for piece in _TAG.split(text):
        if piece in TAGS:
            inside_box = piece == BOX_START
        elif not inside_box:
            kept.append(piece)
    # A space for every tag: gluing the neighbours together could spell a new one.
    tidy = " ".join(" ".join(kept).split())
    for mark in ",.;:!?":
        tidy = tidy.replace(f" {mark}", mark)
    return tidy
