"""Measures of detector and plans: objects that are read exactly right, and layouts apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from got_r1.icons.detect import detect
from got_r1.icons.world import Scene
from got_r1.plan.layout import RELATIONS, Relation, in_depth, iou, match_boxes, relation_holds
from got_r1.records import Box

__all__ = ["DetectorAccuracy", "detector_accuracy", "layout_signature"]

_SAME_BOX = 0.9


@dataclass(frozen=True, slots=True)
class DetectorAccuracy:
    """Shares of the drawn objects, in 0..1, and false finds.

    `exact`: noun, colour and fill right and IoU above .9. `noun`, `color`, `fill`: that attribute
    right on an object found where it was drawn. `found`: any find paired by overlap. `mean_iou`
    counts what was not found as 0. `extra`: finds without a partner, per drawn object.
    """

    objects: int
    exact: float
    found: float
    noun: float
    color: float
    fill: float
    mean_iou: float
    extra: float


def detector_accuracy(
    images: Sequence[np.ndarray] | np.ndarray, scenes: Sequence[Scene]
) -> DetectorAccuracy:
    """Compare what is detected in `images` (uint8 [height, width, 3] each) with their scenes.

    The images may be renderings, or their reconstructions by a VQ model.
    """
    objects = extra = exact = found = noun = color = fill = 0
    total_iou = 0.0
    for image, scene in zip(images, scenes, strict=True):
        finds = detect(image, overlaps=in_depth(icon.box for icon in scene.icons))
        pairs = match_boxes([icon.box for icon in scene.icons], [icon.box for icon in finds])
        objects += len(scene.icons)
        extra += len(finds) - len(pairs)
        for drawn_index, find_index in pairs:
            drawn, find = scene.icons[drawn_index], finds[find_index]
            overlap = iou(drawn.box, find.box)
            same = (drawn.noun == find.noun, drawn.color == find.color, drawn.fill == find.fill)
            found += 1
            noun, color, fill = noun + same[0], color + same[1], fill + same[2]
            exact += all(same) and overlap > _SAME_BOX
            total_iou += overlap
    n = max(1, objects)
    return DetectorAccuracy(
        objects,
        exact / n,
        found / n,
        noun / n,
        color / n,
        fill / n,
        total_iou / n,
        extra / n,
    )


def layout_signature(boxes: Sequence[Box]) -> tuple[frozenset[Relation], ...]:
    """The pattern of a layout: for each pair of boxes, in their order, the relations that hold.

    Two plans have the same pattern when they have as many objects and no relation between any two
    tells them apart; names, sizes and exact places do not matter.
    """
    return tuple(
        frozenset(relation for relation in RELATIONS if relation_holds(relation, a, b))
        for a, b in combinations(boxes, 2)
    )
