"""Boxes as geometry: IoU, one-to-one matching, spatial relations, and a plan drawn on a canvas.

Everything is in the units of `Box`: thousandths of the image's sides, origin top-left, y down, and
depths of which the larger is nearer.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from got_r1.records import Box, PlannedObject

__all__ = [
    "DEPTH_RELATIONS",
    "NEAR_LIMIT",
    "OVERLAP_LIMIT",
    "RELATIONS",
    "Relation",
    "assign",
    "centre",
    "counted",
    "draw_plan",
    "font_file",
    "frame_times",
    "gap",
    "has_depths",
    "in_depth",
    "iou",
    "is_nearer",
    "match_boxes",
    "plan_colors",
    "relation_holds",
]

Relation = Literal[
    "left", "right", "top", "bottom", "next to", "near", "on side of", "in front of", "behind"
]
"""The relations of T2I-CompBench's prompts, 2D and 3D: `a` is <relation> of `b`."""

DEPTH_RELATIONS: tuple[Relation, ...] = ("in front of", "behind")
"""Relations along the line of sight. "hidden by" is a wording of "behind", as T2I-CompBench scores
it (`benchmarks.compbench.depth`)."""

RELATIONS: tuple[Relation, ...] = tuple(r for r in get_args(Relation) if r not in DEPTH_RELATIONS)
"""Relations in the plane, in the order in which lists of prompts are drawn."""

OVERLAP_LIMIT = 0.1
"""Boxes of this IoU or more overlap: no relation in the plane holds between them (T2I-CompBench's
limit), and no relation in depth between others (our choice)."""

NEAR_LIMIT = 250
"""Largest gap of things that are next to each other: a quarter of the image (our choice)."""


# -- geometry ------------------------------------------------------------------------------------


def iou(a: Box, b: Box) -> float:
    """Intersection over union, in [0, 1]; 0 for boxes without area."""
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(a) + _area(b) - shared)


def _area(box: Box) -> int:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def centre(box: Box) -> tuple[float, float]:
    """(x, y) of the box's middle."""
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2


def gap(a: Box, b: Box) -> int:
    """Chebyshev distance of two boxes: the larger of the empty widths between them, 0 if none."""
    horizontal = max(a.x1 - b.x2, b.x1 - a.x2, 0)
    vertical = max(a.y1 - b.y2, b.y1 - a.y2, 0)
    return max(horizontal, vertical)


def assign(scores: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The one-to-one pairing of rows and columns with the largest total score.

    `scores`: float [rows, columns], either may be 0. Pairs whose score is not positive are left
    out: such a row has no partner. Ordered by row.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    rows, columns = linear_sum_assignment(scores, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return tuple((row, column) for row, column in pairs if scores[row, column] > 0)


def match_boxes(planned: Sequence[Box], found: Sequence[Box]) -> tuple[tuple[int, int], ...]:
    """Pairs (index in `planned`, index in `found`) of the matching with the largest total IoU.

    Boxes without any overlap stay unmatched.
    """
    scores = np.zeros((len(planned), len(found)))
    for row, a in enumerate(planned):
        for column, b in enumerate(found):
            scores[row, column] = iou(a, b)
    return assign(scores)


def counted(planned: Iterable[str], found: Sequence[str]) -> tuple[int, ...]:
    """Which of the found objects count (indices, ascending), by their names: of each name the first
    so many as are planned under it.

    Judges list what they find with the surest first, where they know. One rule for all of them, so
    that R_RI means the same whoever judges; the paper states none. Where every found object
    counted, the one that overlaps the plan best would, and drawing an object several times would
    pay.
    """
    left = Counter(planned)
    kept = []
    for index, name in enumerate(found):
        if left[name] > 0:
            left[name] -= 1
            kept.append(index)
    return tuple(kept)


def relation_holds(relation: Relation, a: Box, b: Box) -> bool:
    """Whether "`a` is <relation> of `b`" holds (our choice, after T2I-CompBench's 2D scorer).

    left, right, top, bottom: the centres lie apart mainly along the asked axis, in the asked
    direction. next to, near, on side of: the boxes are at most `NEAR_LIMIT` apart; "on side of"
    also asks that they lie apart mainly along the horizontal. None of these holds between boxes
    that overlap by `OVERLAP_LIMIT` or more.

    in front of, behind: the boxes overlap by `OVERLAP_LIMIT` or more, and the depths of both say
    which is nearer. Where a depth is not said, or they are equal, neither holds.

    No relation holds between boxes of different times, which are never in one frame.
    """
    if a.time is not None and b.time is not None and a.time != b.time:
        return False
    overlap = iou(a, b) >= OVERLAP_LIMIT
    match relation:
        case "in front of":
            return overlap and is_nearer(a, b)
        case "behind":
            return overlap and is_nearer(b, a)
    if overlap:
        return False
    dx = (a.x1 + a.x2) - (b.x1 + b.x2)  # twice the displacement: exact in integers
    dy = (a.y1 + a.y2) - (b.y1 + b.y2)
    match relation:
        case "left":
            return -dx > abs(dy)
        case "right":
            return dx > abs(dy)
        case "top":
            return -dy > abs(dx)
        case "bottom":
            return dy > abs(dx)
        case "next to" | "near":
            return gap(a, b) <= NEAR_LIMIT
        case "on side of":
            return gap(a, b) <= NEAR_LIMIT and abs(dx) > abs(dy)


def is_nearer(a: Box, b: Box) -> bool:
    """Whether the depths of both say that `a` is nearer."""
    return a.depth is not None and b.depth is not None and a.depth > b.depth


def has_depths(a: Box, b: Box) -> bool:
    """Whether both say their depth, so that a relation in depth can be decided."""
    return a.depth is not None and b.depth is not None


def in_depth(boxes: Iterable[Box]) -> bool:
    """Whether two of the boxes say their depth, so that one may be planned to cover the other."""
    return any(has_depths(a, b) for a, b in combinations(boxes, 2))


# -- a plan as a picture -------------------------------------------------------------------------

_PALETTE = (
    (192, 28, 40),
    (26, 95, 180),
    (38, 122, 62),
    (145, 65, 172),
    (170, 85, 0),
    (0, 118, 130),
    (99, 69, 44),
    (178, 24, 120),
    (70, 80, 90),
    (90, 110, 0),
)
"""Outline and plate colours, dark enough for white text (contrast of 4.5 or more)."""

_PAD = 2  # pixels between a label's text and the edge of its plate
_TINT = 0.25  # how much of its colour fills a box that covers others
_CAPTION = (110, 110, 110)  # of a frame's time, and the line between two frames

_Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels


def draw_plan(objects: Sequence[PlannedObject], size: tuple[int, int] = (512, 512)) -> np.ndarray:
    """The planned boxes on a blank canvas, each object's name at its box's top-left corner.

    `size`: (width, height) in pixels; the paper states none, 512 is our choice. Returns uint8
    [height, width, 3]. Every object has its own colour (of ten, then again from the first). A
    label is white on a plate of that colour, drawn above all boxes and always whole on the
    canvas; where it would cover an earlier label it moves to the nearest free place along the
    box's left edge. Long names shrink, then wrap.

    Boxes with a depth are filled, the farthest first, so that nearer ones cover them; boxes
    without are outlines above these. Where boxes have times the drawing is a filmstrip: a canvas of
    `size` for each of `frame_times`, side by side, uint8 [height, frames * width, 3]; an object
    without a time is in all of them, and one that is in several has one colour.
    """
    drawn = []
    for place, (time, here) in enumerate(_frames(objects)):
        frame = Image.fromarray(_draw_frame(here, size))
        draw = ImageDraw.Draw(frame)
        if time is not None:
            text, font = _fit(f"t {time}", *size)
            draw.text((size[0] - 2 * _PAD, size[1] - 2 * _PAD), text, _CAPTION, font, anchor="rs")
        if place:
            draw.line((0, 0, 0, size[1]), fill=_CAPTION)
        drawn.append(np.array(frame, dtype=np.uint8))
    return np.concatenate(drawn, axis=1)


def plan_colors(objects: Sequence[PlannedObject]) -> tuple[str, ...]:
    """The colour that `draw_plan` gives each object, as "#c01c28"."""
    colors: dict[PlannedObject, str] = {}
    for _, here in _frames(objects):
        for number, planned in here:
            color = "#{:02x}{:02x}{:02x}".format(*_PALETTE[number % len(_PALETTE)])
            colors.setdefault(planned, color)
    return tuple(colors[planned] for planned in objects)


def _frames(
    objects: Sequence[PlannedObject],
) -> list[tuple[int | None, list[tuple[int, PlannedObject]]]]:
    """(time, numbered objects) of each frame; one without a time for a plan of a single image."""
    times = frame_times(objects)
    if not times:
        return [(None, list(enumerate(objects)))]
    frames: list[tuple[int | None, list[tuple[int, PlannedObject]]]] = []
    numbers: dict[tuple[str, int], int] = {}  # the n-th of its name in a frame keeps its colour
    for time in times:
        here = []
        seen: Counter[str] = Counter()
        for planned in objects:
            if planned.box.time in (None, time):
                key = planned.name, seen[planned.name]
                here.append((numbers.setdefault(key, len(numbers)), planned))
                seen[planned.name] += 1
        frames.append((time, here))
    return frames


def frame_times(objects: Iterable[PlannedObject]) -> tuple[int, ...]:
    """The time indices that a plan's boxes have, ascending; none for a plan of a single image."""
    return tuple(sorted({one.box.time for one in objects if one.box.time is not None}))


def _draw_frame(objects: Sequence[tuple[int, PlannedObject]], size: tuple[int, int]) -> np.ndarray:
    """One canvas of `draw_plan`; an object's number in the plan gives it its colour."""
    width, height = size
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    line = max(1, round(min(size) / 200))
    rects = [_pixels(planned.box, width, height) for _, planned in objects]
    far_first = sorted(zip(objects, rects, strict=True), key=lambda one: _drawn_at(one[0][1].box))
    for (index, planned), rect in far_first:
        color = _PALETTE[index % len(_PALETTE)]
        tint = tuple(round(255 - _TINT * (255 - channel)) for channel in color)
        fill = None if planned.box.depth is None else tint
        draw.rectangle(rect, fill=fill, outline=color, width=line)

    taken: list[_Rect] = []
    for (index, planned), rect in zip(objects, rects, strict=True):
        text, font = _fit(planned.name, width, height)
        left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font, spacing=1)
        plate_size = (int(right - left) + 2 * _PAD + 1, int(bottom - top) + 2 * _PAD + 1)
        plate = _place(plate_size, rect, taken, size)
        taken.append(plate)
        draw.rectangle(plate, fill=_PALETTE[index % len(_PALETTE)])
        corner = (plate[0] + _PAD - left, plate[1] + _PAD - top)
        draw.multiline_text(corner, text, font=font, fill="white", spacing=1)
    return np.asarray(canvas, dtype=np.uint8).copy()


def _drawn_at(box: Box) -> float:
    """Where in the order of drawing a box stands: by depth, and last without one."""
    return np.inf if box.depth is None else box.depth


def _pixels(box: Box, width: int, height: int) -> _Rect:
    """A box in pixels of the canvas, edges included, at least one pixel wide and high."""
    x1, x2 = (min(width - 1, max(0, round(x * (width - 1) / 999))) for x in (box.x1, box.x2))
    y1, y2 = (min(height - 1, max(0, round(y * (height - 1) / 999))) for y in (box.y1, box.y2))
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


@lru_cache(maxsize=16)
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file()), pixels)


def font_file() -> Path:
    """DejaVu Sans, which matplotlib ships; importing it only for that is slow."""
    name = Path("fonts", "ttf", "DejaVuSans.ttf")
    spec = find_spec("matplotlib")
    if spec and spec.origin and (path := Path(spec.origin).parent / "mpl-data" / name).is_file():
        return path
    import matplotlib

    return Path(matplotlib.get_data_path()) / name


def _fit(name: str, width: int, height: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """The label's text and a font in which it fits the canvas."""
    text = " ".join(name.encode("utf-8", "replace").decode().split())
    room = width - 2 * _PAD - 2
    largest = max(10, round(min(width, height) / 32))
    smallest = max(10, largest * 3 // 4)
    for pixels in range(largest, smallest - 1, -1):
        font = _font(pixels)
        if font.getlength(text) <= room:
            return text, font
    per_line = max(1, int(room / font.getlength("m")))
    lines = textwrap.wrap(text, per_line, max_lines=4, placeholder="…")
    return "\n".join(lines), font


def _place(
    plate: tuple[int, int], box: _Rect, taken: Sequence[_Rect], size: tuple[int, int]
) -> _Rect:
    """Where a label's plate goes: the candidate that covers the least, the nearest among equals.

    High boxes take their label inside, flat ones above, so that it does not hide them.
    """
    plate_width, plate_height = plate
    x1, y1, _, y2 = box
    small = 2 * plate_height > y2 - y1
    inside = [y1 + row * plate_height for row in range(max(1, (y2 - y1) // plate_height))]
    outside = []
    for row in range(4):
        outside += [y1 - (row + 1) * plate_height, y2 + 1 + row * plate_height]
    rects = []
    for y in outside + inside if small else inside[:1] + outside[:1] + inside[1:] + outside[1:]:
        left = max(0, min(x1, size[0] - plate_width))
        top = max(0, min(y, size[1] - plate_height))
        rects.append((left, top, left + plate_width - 1, top + plate_height - 1))
    avoid = [*taken, box] if small else taken
    return min(rects, key=lambda rect: sum(_covered(rect, other) for other in avoid))


def _covered(a: _Rect, b: _Rect) -> int:
    """Pixels that two plates share."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(0, width) * max(0, height)
