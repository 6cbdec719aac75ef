"""Scenes in which one icon covers another: the icon world's toy of T2I-CompBench's 3d_spatial.

The related two overlap, and so that everyone can tell which is in front: enough of the farther one
is left to be seen, and the picture would look different the other way round. Everything else stands
apart. (Our choice throughout.)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from got_r1.icons.render import render, silhouette
from got_r1.icons.scenes import Layout
from got_r1.icons.splits import holds_out_color
from got_r1.icons.world import (
    CELL,
    COLORS,
    GRID,
    Icon,
    Meaning,
    ObjectSpec,
    Scene,
    box_from_cells,
    natural_size,
    pixels_from_box,
)
from got_r1.plan.layout import gap, iou
from got_r1.records import Box

__all__ = ["draw_overlapping_scene"]

_LEAST_IOU = 0.15  # of the two boxes: clear of the limit from which they overlap
_LEAST_VISIBLE = 0.45  # share of the farther icon's ink that is not covered
_TELLING = 24  # pixels that differ between the two orders
_DIFFERENT = 100.0  # distance in RGB from which two pixels differ
_APART = 1000 * CELL // (CELL * GRID)  # a cell, in thousandths


def draw_overlapping_scene(rng: random.Random, meaning: Meaning) -> Layout:
    """A random scene in which one of the meaning's first two objects covers the other, as its
    relation says ("in front of" or "behind"), and nothing held out is drawn.

    Every box has a depth: 1 for the icon in front, 0 for all others. Colours that the meaning
    leaves free are drawn at random; a fill that it leaves free is plain.
    """
    if meaning.relation not in ("in front of", "behind"):
        raise ValueError(f"a relation in depth is asked for, not {meaning.relation!r}")
    depths = (1, 0) if meaning.relation == "in front of" else (0, 1)
    while True:  # ends: most looks can be told apart, and every size is drawn again and again
        looks = [_look(rng, spec) for spec in meaning.objects]
        first, second = (
            replace(_place(rng, *look, rng.choice((4, 5))), depth=depth)
            for look, depth in zip(looks, depths, strict=False)
        )
        pair = [Icon(*look, box) for look, box in zip(looks, (first, second), strict=False)]
        if not _can_be_told(*sorted(pair, key=lambda icon: icon.box.depth or 0)):
            continue
        icons = [*pair]
        for look in looks[2:]:
            box = replace(_place(rng, *look, 3), depth=0)
            if all(gap(box, icon.box) >= _APART for icon in icons):
                icons.append(Icon(*look, box))
        if len(icons) == len(looks):
            return tuple((icon,) for icon in icons)


def _look(rng: random.Random, spec: ObjectSpec) -> tuple[str, str, str]:
    colors = [color for color in COLORS if not holds_out_color(color, spec.noun)]
    return spec.noun, spec.color or rng.choice(colors), spec.fill or "plain"


def _place(rng: random.Random, noun: str, _color: str, _fill: str, scale: int) -> Box:
    width, height = natural_size(noun, scale)
    return box_from_cells(
        rng.randint(0, GRID - width), rng.randint(0, GRID - height), width, height
    )


def _can_be_told(back: Icon, front: Icon) -> bool:
    """Whether a look at the two says which they are, and which is in front."""
    if iou(back.box, front.box) < _LEAST_IOU:
        return False
    hidden = _coverage(back) * _coverage(front)
    if hidden.sum() > (1 - _LEAST_VISIBLE) * _coverage(back).sum():
        return False
    exchanged = _with_depths((front, back))
    difference = render(Scene((back, front))).astype(float) - render(Scene(exchanged))
    return int((np.linalg.norm(difference, axis=2) > _DIFFERENT).sum()) >= _TELLING


def _with_depths(icons: Sequence[Icon]) -> tuple[Icon, ...]:
    """The icons, the first one farthest."""
    return tuple(
        replace(icon, box=replace(icon.box, depth=depth)) for depth, icon in enumerate(icons)
    )


def _coverage(icon: Icon) -> np.ndarray:
    """How much of each pixel of the image it covers: float32 [40, 40] in 0..1."""
    x1, y1, x2, y2 = pixels_from_box(icon.box)
    coverage = np.zeros((CELL * GRID, CELL * GRID), dtype=np.float32)
    coverage[y1:y2, x1:x2] = silhouette(icon.noun, x2 - x1, y2 - y1)
    return coverage
