"""Repair of a plan: the least movement of two boxes after which the asked relation holds.

Boxes keep their sizes and move by whole steps of a grid (the image's tokens, for who draws them),
or to the border. Of all places, those are searched first where the relation holds *clearly* and
nothing comes close to anything else, then those where it holds and no boxes overlap that did not
before, at last any where it holds, with the fewest new overlaps. Among the first kind that there
is, the least movement wins: the sum of the distances by which the two boxes move. (Our choice.)

A *margin* asks for more than the least: left, right, top and bottom then hold by that share of the
image's side, where there is room for it, and a plan in which they hold by less is moved as well.
Images follow their plans only roughly, so a relation that holds by a hair is often lost in drawing.

For "in front of" and "behind" the two exchange their depths where these say the contrary, and move
only where they do not overlap; *clearly* is then twice the overlap that is needed. A plan without
depths does not say which of the two is nearer, and is not repaired.

Units as everywhere: thousandths of the image's sides. A box that reaches 999 reaches the border,
which lies at 1000: a box that comes to it, or leaves it, changes by that one thousandth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from got_r1.plan.chain import (
    BOX_END,
    BOX_START,
    COORDINATE_MAX,
    OBJ_END,
    OBJ_START,
    format_box,
    parse,
)
from got_r1.plan.layout import (
    DEPTH_RELATIONS,
    NEAR_LIMIT,
    OVERLAP_LIMIT,
    Relation,
    assign,
    has_depths,
    relation_holds,
)
from got_r1.plan.reading import PromptSpec, find_relation_words, likeness, read
from got_r1.plan.wordings import CONVERSES, RELATION_WORDS
from got_r1.records import Box, Chain, Prompt

__all__ = [
    "Repair",
    "asked_relation_holds",
    "asked_relation_is_undecided",
    "planned_objects",
    "repair",
    "repair_layout",
    "with_boxes",
    "with_words",
]

_BORDER = 1000
_DIRECTIONS: tuple[Relation, ...] = ("left", "right", "top", "bottom")
_FINEST = 32  # more steps than this a side cost time and move nothing by more than 16 thousandths

_Boxes = NDArray[np.int64]
"""[places, 4]: x1, y1, x2, y2."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of a plan that was to be repaired.

    `chain` is the one to draw, repaired or not; `reason` says in words what was found or done.
    `distance`: how far the boxes moved together, in thousandths of the image's sides.
    """

    chain: Chain
    repaired: bool
    reason: str
    distance: float = 0.0


def planned_objects(asked: PromptSpec, plan: Chain) -> dict[int, int]:
    """Which asked object (index in `asked.singles`) is planned by which (index in `plan.objects`).

    One to one, so that names are most alike; what is not named at all is left out.
    """
    scores = np.array(
        [[likeness(one, planned.name) for planned in plan.objects] for one in asked.singles]
    )
    return dict(assign(scores.reshape(len(asked.singles), len(plan.objects))))


def related_pair(asked: PromptSpec, plan: Chain) -> tuple[int, int] | None:
    """The two planned objects that the asked relation is about."""
    pairs = planned_objects(asked, plan)
    return (pairs[0], pairs[1]) if {0, 1} <= pairs.keys() else None


def asked_relation_holds(asked: PromptSpec, plan: Chain) -> bool:
    """Whether both objects of the asked relation are planned and their boxes hold it."""
    pair = related_pair(asked, plan)
    if pair is None or asked.relation is None:
        return False
    first, second = (plan.objects[index].box for index in pair)
    return relation_holds(asked.relation, first, second)


def asked_relation_is_undecided(asked: PromptSpec, plan: Chain) -> bool:
    """Whether both objects of an asked relation in depth are planned, but not both their depths:
    then nothing says whether it holds, and it does not count as holding."""
    pair = related_pair(asked, plan)
    if pair is None or asked.relation not in DEPTH_RELATIONS:
        return False
    first, second = (plan.objects[index].box for index in pair)
    return not has_depths(first, second)


def repair(prompt: Prompt, plan: Chain, grid: int = 24, margin: float = 0.0) -> Repair:
    """The plan with its boxes moved as little as makes the asked relation hold, by `margin`
    (`repair_layout`).

    Names and all other boxes stay. Where the chain's own words state another relation of the two,
    and no further one, they are changed with it: boxes and words would contradict each other.
    """
    asked = read(prompt.text)
    if asked is None or asked.relation is None:
        return Repair(plan, False, "the prompt asks for no relation that can be read")
    if plan.problems:
        return Repair(plan, False, "the chain is malformed")
    pair = related_pair(asked, plan)
    if pair is None:
        return Repair(plan, False, "an object of the relation is not planned")
    boxes = [planned.box for planned in plan.objects]
    first, second = (boxes[index] for index in pair)
    if asked_relation_is_undecided(asked, plan):
        return Repair(plan, False, f"no depth is planned that {asked.relation!r} could hold by")
    if _in_other_frames(first, second):
        return Repair(plan, False, "the two are never in one frame")
    held = relation_holds(asked.relation, first, second)
    repaired = repair_layout(boxes, pair, asked.relation, grid, margin)
    if repaired is None:
        sizes = "of too different sizes" if asked.relation in DEPTH_RELATIONS else "too large"
        return Repair(plan, False, f"the boxes are {sizes} for any place where it would hold")
    if list(repaired) == boxes:
        return Repair(plan, False, f"{asked.relation!r} holds")
    moved = {index: repaired[index] for index in pair if repaired[index] != boxes[index]}
    text = with_words(with_boxes(plan.text, moved), asked, pair)
    marks = any(box.depth is not None or box.time is not None for box in boxes)
    chain = parse(text, marks=marks)
    if chain.problems:  # it was moved into the very box of another object of its name
        return Repair(plan, False, f"malformed once repaired: {', '.join(chain.problems)}")
    moves = zip(repaired, boxes, strict=True)
    distance = sum(float(np.hypot(a.x1 - b.x1, a.y1 - b.y1)) for a, b in moves)
    how = "held by less than the margin" if held else "did not hold"
    return Repair(chain, True, f"{asked.relation!r} {how}", distance)


_BOX = re.compile(f"{re.escape(BOX_START)}.*?{re.escape(BOX_END)}", re.DOTALL)
_OBJECT = re.compile(f"{re.escape(OBJ_START)}.*?{re.escape(OBJ_END)}|{_BOX.pattern}", re.DOTALL)


def with_boxes(text: str, boxes: Mapping[int, Box]) -> str:
    """A chain's text with other boxes: `boxes` by the index of their object.

    Only for a chain without problems, whose boxes and objects stand one to one.
    """
    places = list(_BOX.finditer(text))
    for index, box in sorted(boxes.items(), reverse=True):
        start, end = places[index].span()
        text = f"{text[:start]}{format_box(box)}{text[end:]}"
    return text


def with_words(text: str, asked: PromptSpec, pair: tuple[int, int]) -> str:
    """A chain's text whose prose states the asked relation where it stated another of the pair."""
    assert asked.relation is not None
    # Names and boxes become blanks, so that places stay and no name is taken for prose.
    prose = _OBJECT.sub(lambda found: " " * len(found[0]), text)
    stated = find_relation_words(prose)
    if len(stated) != 1:
        return text
    said, start, end = stated[0]
    ends = [found.end() for found in _BOX.finditer(text)]
    before = [index for index, at in enumerate(ends) if at <= start]
    after = [index for index, at in enumerate(ends) if at > start]
    if not before or not after or {before[-1], after[0]} != set(pair):
        return text
    in_order = before[-1] == pair[0]
    wanted = asked.relation if in_order else CONVERSES[asked.relation]
    if said == wanted or {said, wanted} == {"next to", "near"}:
        return text
    return f"{text[:start]}{RELATION_WORDS[wanted][0]}{text[end:]}"


# -- the least movement ---------------------------------------------------------------------------


def repair_layout(
    boxes: Sequence[Box],
    about: tuple[int, int],
    relation: Relation,
    grid: int = 24,
    margin: float = 0.0,
) -> tuple[Box, ...] | None:
    """The layout after the least movement that makes "`about[0]` is <relation> of `about[1]`" hold.

    `grid`: steps a side; a clear relation is clear by one of them. `margin`, a share of the image's
    side in [0, 1): by how much left, right, top and bottom are to hold, that is, how much farther
    the centres lie apart along the asked axis than across it. Where there is no room for that, and
    nothing else in the way, it is left out. All other boxes stay. Returns the same layout where the
    relation holds already, None where it holds nowhere: two boxes that are too large to stand
    beside each other, of too different sizes to overlap by enough, in different frames, or without
    the depths that the relation is about.
    """
    first, second = (boxes[index] for index in about)
    holds_now = relation_holds(relation, first, second)
    if relation not in _DIRECTIONS:
        margin = 0.0
    # In half thousandths, less what a box at the border is off.
    enough = 2 * (margin * _BORDER - 1)
    if holds_now and (not margin or _clearness(relation, _array(first), _array(second)) >= enough):
        return tuple(boxes)
    if _in_other_frames(first, second):
        return None
    if relation in DEPTH_RELATIONS:
        if not has_depths(first, second):
            return None
        first, second = _in_order(relation, first, second)
        if relation_holds(relation, first, second):
            return _with(boxes, about, first, second)
    grid = min(grid, _FINEST)
    step = _BORDER // grid
    others = [box for index, box in enumerate(boxes) if index not in about]
    one, two = _places(first, grid), _places(second, grid)

    overlap = _iou(one, two)
    crowded = _new_overlaps(one, first, others)[:, None] + _new_overlaps(two, second, others)
    near = _too_near(one, first, others, step)[:, None] | _too_near(two, second, others, step)
    if relation in DEPTH_RELATIONS:
        holds, clearly = overlap >= OVERLAP_LIMIT, overlap >= 2 * OVERLAP_LIMIT
    else:
        clearness = _clearness(relation, one, two)
        holds = (clearness > 0) & (overlap < OVERLAP_LIMIT)
        # Less one, because a box at the border has its centre half a thousandth off.
        clearly = clearness > 2 * (step - 1)
        wide = clearness >= enough
        if not _meet(first, second):
            crowded += _shared(one, two) > 0
        near |= _gap(one, two) < step
    if not holds.any():
        return None
    clear = holds & clearly & ~near & (crowded == 0)
    if margin:
        if (clear & wide).any():
            clear &= wide
        elif holds_now:
            return tuple(boxes)
    allowed = clear if clear.any() else holds & (crowded == crowded[holds].min())

    distance = _distance(one, first)[:, None] + _distance(two, second)
    moved = (_distance(one, first) > 0)[:, None].astype(float) + (_distance(two, second) > 0)
    cost = np.where(allowed, np.round(distance, 6) + 1e-7 * moved, np.inf)
    row, column = np.unravel_index(int(cost.argmin()), cost.shape)
    return _with(boxes, about, _at(first, one[row]), _at(second, two[column]))


def _with(boxes: Sequence[Box], about: tuple[int, int], first: Box, second: Box) -> tuple[Box, ...]:
    """The layout with two of its boxes replaced."""
    repaired = list(boxes)
    repaired[about[0]], repaired[about[1]] = first, second
    return tuple(repaired)


def _at(box: Box, corners: NDArray[np.int64]) -> Box:
    """The box somewhere else; its depth and time stay."""
    x1, y1, x2, y2 = corners.tolist()
    return replace(box, x1=x1, y1=y1, x2=x2, y2=y2)


def _in_order(relation: Relation, first: Box, second: Box) -> tuple[Box, Box]:
    """The two with the depths of both in the asked order: exchanged where they are in the other
    one, a step apart where they are equal."""
    assert first.depth is not None
    assert second.depth is not None
    low, high = sorted((first.depth, second.depth))
    if low == high:
        low, high = (low, high + 1) if high < COORDINATE_MAX else (low - 1, high)
    nearer, farther = (high, low) if relation == "in front of" else (low, high)
    return replace(first, depth=nearer), replace(second, depth=farther)


def _in_other_frames(first: Box, second: Box) -> bool:
    return None not in (first.time, second.time) and first.time != second.time


def _places(box: Box, grid: int) -> _Boxes:
    """All places of a box, in steps from where it is and at the borders; its own is the first."""
    axes = []
    for low, high in ((box.x1, box.x2), (box.y1, box.y2)):
        size = (_BORDER if high == _BORDER - 1 else high) - low
        steps = [low + round(k * _BORDER / grid) for k in range(-grid, grid + 1)]
        # An end at 999 stands for the border: a box whose far edge would come to lie there would
        # grow by one, and one of size 1 cannot reach the border at all.
        last = _BORDER - size if size > 1 else _BORDER - 3
        fits = {at for at in (*steps, 0, last) if 0 <= at <= last and at + size != _BORDER - 1}
        starts = sorted(fits - {low})
        axes.append([(at, min(at + size, _BORDER - 1)) for at in (low, *starts)])
    xs, ys = axes
    places = [(x1, y1, x2, y2) for x1, x2 in xs for y1, y2 in ys]
    return np.array(places, dtype=np.int64)


def _distance(places: _Boxes, box: Box) -> NDArray[np.float64]:
    """How far a box moves to each of its places."""
    distance: NDArray[np.float64] = np.hypot(places[:, 0] - box.x1, places[:, 1] - box.y1)
    return distance


# -- pairs of boxes: [one] against [two], all results [one, two] -----------------------------------


def _clearness(relation: Relation, one: _Boxes, two: _Boxes) -> NDArray[np.int64]:
    """Of a relation in the plane: above 0 where `layout.relation_holds` but for overlaps, and by
    how much, in half thousandths: how far the asked axis leads, how much nearer than near."""
    dx = (one[:, 0] + one[:, 2])[:, None] - (two[:, 0] + two[:, 2])
    dy = (one[:, 1] + one[:, 3])[:, None] - (two[:, 1] + two[:, 3])
    near = 2 * (NEAR_LIMIT - _gap(one, two)) + 1
    match relation:
        case "left":
            return -dx - np.abs(dy)
        case "right":
            return dx - np.abs(dy)
        case "top":
            return -dy - np.abs(dx)
        case "bottom":
            return dy - np.abs(dx)
        case "next to" | "near":
            return near
        case "on side of":
            return np.minimum(near, np.abs(dx) - np.abs(dy))
        case "in front of" | "behind":
            raise ValueError("a relation in depth is not one of places")


def _gap(one: _Boxes, two: _Boxes) -> NDArray[np.int64]:
    """`layout.gap` of all pairs."""
    horizontal = np.maximum(one[:, 0][:, None] - two[:, 2], two[:, 0] - one[:, 2][:, None])
    vertical = np.maximum(one[:, 1][:, None] - two[:, 3], two[:, 1] - one[:, 3][:, None])
    return np.maximum(np.maximum(horizontal, vertical), 0)


def _shared(one: _Boxes, two: _Boxes) -> NDArray[np.int64]:
    """Area that both cover."""
    width = np.minimum(one[:, 2][:, None], two[:, 2]) - np.maximum(one[:, 0][:, None], two[:, 0])
    height = np.minimum(one[:, 3][:, None], two[:, 3]) - np.maximum(one[:, 1][:, None], two[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def _iou(one: _Boxes, two: _Boxes) -> NDArray[np.float64]:
    """`layout.iou` of all pairs."""
    shared = _shared(one, two)
    return shared / (_area(one)[:, None] + _area(two) - shared)


def _area(boxes: _Boxes) -> NDArray[np.int64]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


# -- a box among the others: [places] --------------------------------------------------------------


def _array(*boxes: Box) -> _Boxes:
    rows = [(box.x1, box.y1, box.x2, box.y2) for box in boxes]
    return np.array(rows, dtype=np.int64).reshape(len(boxes), 4)


def _new_overlaps(places: _Boxes, box: Box, others: Sequence[Box]) -> NDArray[np.int64]:
    """With how many others the box overlaps there, that it does not where it is."""
    free = [other for other in others if not _meet(box, other)]
    return (_shared(places, _array(*free)) > 0).sum(axis=1)


def _meet(a: Box, b: Box) -> bool:
    return bool(_shared(_array(a), _array(b))[0, 0] > 0)


def _too_near(places: _Boxes, box: Box, others: Sequence[Box], step: int) -> NDArray[np.bool_]:
    """Whether something is nearer there than a step, and than it is where the box is."""
    before = _gap(_array(box), _array(*others))
    nearer = _gap(places, _array(*others)) < np.minimum(step, before)
    return np.asarray(nearer.any(axis=1), dtype=np.bool_)
