"""Boxes as geometry: IoU, one-to-one matching, spatial relations, and a plan drawn on a canvas.

Everything is in the units of `Box`: thousandths of the image's sides, origin top-left, y down.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from got_r1.records import Box, PlannedObject

__all__ = [
    "NEAR_LIMIT",
    "OVERLAP_LIMIT",
    "RELATIONS",
    "Relation",
    "assign",
    "centre",
    "counted",
    "draw_plan",
    "font_file",
    "gap",
    "iou",
    "match_boxes",
    "relation_holds",
]

Relation = Literal["left", "right", "top", "bottom", "next to", "near", "on side of"]
"""The spatial relations of T2I-CompBench's prompts: `a` is <relation> of `b`."""

RELATIONS: tuple[Relation, ...] = get_args(Relation)

OVERLAP_LIMIT = 0.1
"""Boxes of this IoU or more overlap: no relation holds between them (T2I-CompBench's limit)."""

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
    also asks that they lie apart mainly along the horizontal. No relation holds between boxes
    that overlap by `OVERLAP_LIMIT` or more.
    """
    if iou(a, b) >= OVERLAP_LIMIT:
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

_Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels


def draw_plan(objects: Sequence[PlannedObject], size: tuple[int, int] = (512, 512)) -> np.ndarray:
    """The planned boxes on a blank canvas, each object's name at its box's top-left corner.

    `size`: (width, height) in pixels; the paper states none, 512 is our choice. Returns uint8
    [height, width, 3]. Every object has its own colour (of ten, then again from the first). A
    label is white on a plate of that colour, drawn above all boxes and always whole on the
    canvas; where it would cover an earlier label it moves to the nearest free place along the
    box's left edge. Long names shrink, then wrap.
    """
    width, height = size
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    line = max(1, round(min(size) / 200))
    rects = [_pixels(planned.box, width, height) for planned in objects]
    for index, rect in enumerate(rects):
        draw.rectangle(rect, outline=_PALETTE[index % len(_PALETTE)], width=line)

    taken: list[_Rect] = []
    for index, (planned, rect) in enumerate(zip(objects, rects, strict=True)):
        text, font = _fit(planned.name, width, height)
        left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font, spacing=1)
        plate_size = (int(right - left) + 2 * _PAD + 1, int(bottom - top) + 2 * _PAD + 1)
        plate = _place(plate_size, rect, taken, size)
        taken.append(plate)
        draw.rectangle(plate, fill=_PALETTE[index % len(_PALETTE)])
        corner = (plate[0] + _PAD - left, plate[1] + _PAD - top)
        draw.multiline_text(corner, text, font=font, fill="white", spacing=1)
    return np.asarray(canvas, dtype=np.uint8).copy()


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
