"""Laying out scenes: sizes and places on the token grid, by rejection.

A relation is laid out with a clear margin, so that no rule for it, however sharp, is a close call.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from got_r1.icons.splits import DIRECTIONS, drawn_directions, holds_out_color
from got_r1.icons.world import (
    COLORS,
    GRID,
    Icon,
    Meaning,
    ObjectSpec,
    box_from_cells,
    natural_size,
)
from got_r1.plan.layout import Relation

__all__ = ["Layout", "draw_scene"]

Layout = tuple[tuple[Icon, ...], ...]
"""The icons of each object of a meaning, in its order; several for a count above one."""

_Rect = tuple[int, int, int, int]  # x, y, width, height in cells
_MARGIN = 3  # half cells by which the asked axis must lead the other, between centres
_NEAR, _FAR = 2, 3  # cells between near (at most) and far (at least) boxes: 200 and 300 of 999


def draw_scene(rng: random.Random, meaning: Meaning, *, far: bool = False) -> Layout:
    """A random scene in which the meaning holds and nothing held out is drawn.

    A relation must be about the first two objects, one of each, as in every sentence of the
    grammar. A colour that the meaning leaves free is drawn at random, alike for all of a count; a
    fill that it leaves free is plain. `far` keeps the two related objects further apart than any
    "near" allows.
    """
    looks = [_look(rng, spec) for spec in meaning.objects]
    nouns = [spec.noun for spec in meaning.objects for _ in range(spec.count)]
    rects = _place(rng, nouns, meaning, far)
    layout: list[tuple[Icon, ...]] = []
    for spec, (color, fill) in zip(meaning.objects, looks, strict=True):
        group, rects = sorted(rects[: spec.count], key=lambda r: (r[1], r[0])), rects[spec.count :]
        layout.append(tuple(Icon(spec.noun, color, fill, box_from_cells(*r)) for r in group))
    return tuple(layout)


def _look(rng: random.Random, spec: ObjectSpec) -> tuple[str, str]:
    colors = [color for color in COLORS if not holds_out_color(color, spec.noun)]
    return spec.color or rng.choice(colors), spec.fill or "plain"


def _place(rng: random.Random, nouns: Sequence[str], meaning: Meaning, far: bool) -> list[_Rect]:
    """A rectangle for each noun: none touch, and the relation holds between the first two."""
    relation = meaning.relation
    while True:  # ends: three cells each always fit, and every size is drawn again and again
        sizes = [natural_size(noun, _scale(rng, len(nouns), far)) for noun in nouns]
        direction = _direction(rng, meaning) if relation else None
        near = relation not in (None, *DIRECTIONS)
        for _ in range(40):
            rects: list[_Rect] = []
            for width, height in sizes:
                x, y = rng.randint(0, GRID - width), rng.randint(0, GRID - height)
                rect = (x, y, width, height)
                if any(_gap(rect, other) < 1 for other in rects):
                    break
                rects.append(rect)
                if len(rects) == 2 and direction and not _suits(rects, direction, near, far):
                    break
            else:
                return rects


def _scale(rng: random.Random, objects: int, far: bool) -> int:
    """Few objects are large: 16 to 20 px for one or two, 12 to 16 for more."""
    if objects > 2 or far:
        return rng.choice((3, 4))
    return rng.choices((3, 4, 5), (1, 6, 3))[0]


def _direction(rng: random.Random, meaning: Meaning) -> Relation:
    """The direction in which the related two are drawn: any, where each is held out."""
    assert meaning.relation is not None
    a, b = (meaning.objects[index].noun for index in meaning.about)
    options = drawn_directions(a, meaning.relation, b)
    return rng.choice(options or DIRECTIONS[:2])


def _suits(rects: Sequence[_Rect], direction: Relation, near: bool, far: bool) -> bool:
    (x1, y1, w1, h1), (x2, y2, w2, h2) = rects
    dx, dy = 2 * x1 + w1 - 2 * x2 - w2, 2 * y1 + h1 - 2 * y2 - h2
    along, across = (dx, dy) if direction in ("left", "right") else (dy, dx)
    if direction in ("left", "top"):
        along = -along
    gap = _gap(rects[0], rects[1])
    if (near and gap > _NEAR) or (far and gap < _FAR):
        return False
    return along - abs(across) >= _MARGIN


def _gap(a: _Rect, b: _Rect) -> int:
    """Empty cells between two rectangles, along the axis where they are further apart."""
    horizontal = max(a[0] - b[0] - b[2], b[0] - a[0] - a[2])
    vertical = max(a[1] - b[1] - b[3], b[1] - a[1] - a[3])
    return max(horizontal, vertical)
