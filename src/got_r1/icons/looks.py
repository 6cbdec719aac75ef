"""Looks (a colour and a fill): of the objects of a scene, of the cells of its image."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from got_r1.icons.splits import holds_out_color
from got_r1.icons.world import CELL, COLORS, FILLS, GRID, Scene, pixels_from_box

__all__ = ["LOOKS", "look_map", "relook"]

LOOKS: tuple[tuple[str, str], ...] = tuple((color, fill) for color in COLORS for fill in FILLS)


def relook(scene: Scene, seed: str) -> Scene:
    """The same objects in the same places, each in a random look that is not held out."""
    rng, icons = random.Random(f"looks {seed}"), []
    for icon in scene.icons:
        allowed = [look for look in LOOKS if not holds_out_color(look[0], icon.noun)]
        color, fill = rng.choice(allowed)
        icons.append(replace(icon, color=color, fill=fill))
    return Scene(tuple(icons))


def look_map(scene: Scene) -> np.ndarray:
    """int64 [GRID, GRID]: the index in `LOOKS` of the object whose box covers a cell, else -1."""
    looks = np.full((GRID, GRID), -1)
    for icon in sorted(scene.icons, key=lambda icon: icon.box.depth or 0):
        x1, y1, x2, y2 = (edge // CELL for edge in pixels_from_box(icon.box))
        looks[y1:y2, x1:x2] = LOOKS.index((icon.color, icon.fill))
    return looks
