"""Two icons of which one covers the other: which they are, and which is in front.

A hypothesis is a front icon and a back icon, each of a natural size on the token grid. All that are
worth it are laid over each other as `render` does, and the one nearest to the picture is taken:

1. The front icon is wholly visible, so it is right where its own ink is, whatever lies around. The
   candidates that explain most of the picture are kept.
2. For each of them, the back icon is looked for in what the front leaves visible. The two together
   reach exactly as far as what is seen, so that few places are left.

An order is read only where the other order would look different; else nobody can tell. (Our choice
throughout.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from got_r1.icons.render import silhouette, stamp
from got_r1.icons.world import CELL, COLORS, FILLS, GRID, NOUNS, SCALES, natural_size

__all__ = ["Placed", "compose", "find_pair", "natural_sizes"]

_FRONTS = 32  # candidates of a colour for the front icon that a back icon is looked for behind
_SOLID = 0.9  # coverage from which a pixel is the front icon's alone
_PENALTY = 16.0  # what a wrong pixel of a front costs, as a multiple of what a right one earns

Look = tuple[str, str, str]  # noun, colour, fill
Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, ends exclusive


@dataclass(frozen=True, slots=True)
class Placed:
    """An icon of a look in a window on the token grid."""

    look: Look
    window: Rect

    @property
    def coverage(self) -> np.ndarray:
        """How much of each pixel of its window it covers: float32 [height, width] in 0..1."""
        x1, y1, x2, y2 = self.window
        return silhouette(self.look[0], x2 - x1, y2 - y1)


def compose(icons: tuple[Placed, ...], shape: tuple[int, int]) -> np.ndarray:
    """The ink (255 - value) of icons on white, the first one farthest, as float32
    [height, width, 3]."""
    ink = np.zeros((*shape, 3), dtype=np.float32)
    for icon in icons:
        x1, y1, x2, y2 = icon.window
        own = 255 - stamp(*icon.look, x2 - x1, y2 - y1).astype(np.float32)
        ink[y1:y2, x1:x2] = own + (1 - icon.coverage)[..., None] * ink[y1:y2, x1:x2]
    return ink


def find_pair(ink: np.ndarray, extents: Rect) -> tuple[Placed, Placed] | None:
    """The two overlapping icons, the farther one first, that are nearest to what is seen within
    `extents`; None where those leave no room for two.

    `ink`: float32 [height, width, 3], 255 - value, and 0 outside of what is to be explained.
    """
    x1, y1, x2, y2 = ((edge + CELL // 2) // CELL for edge in extents)
    cells = (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))
    best: tuple[float, tuple[Placed, Placed]] | None = None
    for front in _fronts(ink, cells):
        for error, back in _backs(ink, front, cells):
            if best is None or error < best[0]:
                best = error, (back, front)
    return None if best is None else best[1]


# -- templates -----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def natural_sizes() -> dict[tuple[int, int], tuple[str, ...]]:
    """Size in cells -> the nouns that have it."""
    sizes: dict[tuple[int, int], tuple[str, ...]] = {}
    for noun in NOUNS:
        for scale in SCALES:
            size = natural_size(noun, scale)
            sizes[size] = (*sizes.get(size, ()), noun)
    return sizes


@dataclass(frozen=True, slots=True)
class _Templates:
    """All looks of one natural size; arrays are float32 [looks, 3 * height * width]."""

    looks: tuple[Look, ...]
    ink: np.ndarray
    solid: np.ndarray  # the ink where the icon is alone, else 0
    mask: np.ndarray  # float32 [looks, height * width]: 1 where it is alone


@lru_cache(maxsize=16)
def _templates(width: int, height: int) -> _Templates:
    nouns = natural_sizes()[width, height]
    size = (CELL * width, CELL * height)
    looks = tuple((noun, color, fill) for noun in nouns for color in COLORS for fill in FILLS)
    ink = np.stack([255 - stamp(*look, *size).astype(np.float32) for look in looks])
    mask = np.stack([silhouette(look[0], *size) >= _SOLID for look in looks]).astype(np.float32)
    solid = ink * mask[..., None]
    flat = len(looks), -1
    return _Templates(looks, ink.reshape(flat), solid.reshape(flat), mask.reshape(flat))


# -- the icon in front ---------------------------------------------------------------------------


def _fronts(ink: np.ndarray, cells: Rect) -> Iterator[Placed]:
    """The icons that explain most where they are wholly visible, some of each colour: a large icon
    has parts that look like many small ones, of which a thin one of another colour has none."""
    found: list[tuple[float, Placed]] = []
    for width, height in natural_sizes():
        windows = [
            _window(x, y, width, height)
            for y in range(cells[1], cells[3] - height + 1)
            for x in range(cells[0], cells[2] - width + 1)
        ]
        if not windows:
            continue
        templates = _templates(width, height)
        seen = np.stack([ink[top:bottom, left:right] for left, top, right, bottom in windows])
        flat = seen.reshape(len(windows), -1)
        energy = (templates.solid**2).sum(1)
        square = (seen**2).sum(3).reshape(len(windows), -1)
        error = square @ templates.mask.T - 2 * flat @ templates.solid.T + energy
        gain = energy - _PENALTY * error
        for row, column in np.argwhere(gain > 0).tolist():
            found.append((float(gain[row, column]), Placed(templates.looks[column], windows[row])))
    found.sort(key=lambda one: -one[0])
    taken: Counter[str] = Counter()
    for _, placed in found:
        _noun, color, _fill = placed.look
        taken[color] += 1
        if taken[color] <= _FRONTS:
            yield placed


def _window(x: int, y: int, width: int, height: int) -> Rect:
    return CELL * x, CELL * y, CELL * (x + width), CELL * (y + height)


# -- the icon behind it --------------------------------------------------------------------------


def _backs(ink: np.ndarray, front: Placed, cells: Rect) -> Iterator[tuple[float, Placed]]:
    """The best icon of each size behind a front one, with the squared error of the two."""
    x1, y1, x2, y2 = front.window
    left = ink - compose((front,), ink.shape[:2])  # what the back icon has to explain
    weight = np.ones((*ink.shape[:2], 1), dtype=np.float32)
    weight[y1:y2, x1:x2, 0] -= front.coverage
    weight = np.broadcast_to(weight, ink.shape)
    total, seen, square = float((left**2).sum()), left * weight, weight**2
    for width, height in natural_sizes():
        xs = _starts(cells[0], cells[2], x1 // CELL, x2 // CELL, width)
        ys = _starts(cells[1], cells[3], y1 // CELL, y2 // CELL, height)
        windows = [_window(x, y, width, height) for y in ys for x in xs]
        if not windows:
            continue
        templates = _templates(width, height)
        parts = [np.s_[top:bottom, left:right] for left, top, right, bottom in windows]
        flat = np.stack([seen[part].ravel() for part in parts])
        weights = np.stack([square[part].ravel() for part in parts])
        error = total - 2 * flat @ templates.ink.T + weights @ (templates.ink**2).T
        row, column = np.unravel_index(int(error.argmin()), error.shape)
        yield float(error[row, column]), Placed(templates.looks[column], windows[row])


def _starts(low: int, high: int, front_low: int, front_high: int, length: int) -> list[int]:
    """Where an icon of `length` cells may start so that it and the front one reach from `low` to
    `high`."""
    return [
        start
        for start in range(max(0, low), min(GRID, high) - length + 1)
        if min(start, front_low) == low and max(start + length, front_high) == high
    ]
