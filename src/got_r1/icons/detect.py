"""Finding the icons in an image, rendered or generated, by colour, components and templates.

What is not white is split into components; a component's extents are the box; and the look is that
of the nearest template among all nouns, colours and fills rendered at the box's size on the token
grid. A component that no template explains is searched for icons inside of it (they may touch, or
carry specks), and dropped when nothing fits: then there is no object. (Our choice throughout.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from got_r1.icons.render import stamp
from got_r1.icons.world import (
    CELL,
    COLORS,
    FILLS,
    GRID,
    IMAGE_SIZE,
    MAX_OBJECTS,
    NOUNS,
    SCALES,
    Icon,
    box_from_pixels,
    natural_size,
)

__all__ = ["detect", "detect_all"]

_INK = 64  # of 255: a pixel this far from white in any channel is not background
_MIN_AREA = 20  # pixels; the smallest icon, an airplane of 12x12, has about 50
_GOOD_FIT = 0.20  # share of the template's energy left unexplained: surely this icon
_WORST_FIT = 0.45  # more than this left unexplained: not an icon
_ALL_NEIGHBOURS = np.ones((3, 3), dtype=bool)

_Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, ends exclusive
_Look = tuple[str, str, str]  # noun, colour, fill


def detect(image: np.ndarray) -> tuple[Icon, ...]:
    """The icons of an image, in reading order.

    `image`: uint8 [height, width, 3], RGB; another size than 40x40 is resized first. Boxes are the
    extents of what is seen, to the pixel, in 0..999.
    """
    if image.shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
        resized = Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
        image = np.asarray(resized)
    mask = image.min(axis=2) < 255 - _INK
    ink = 255 - image.astype(np.float32)
    icons = [icon for component in _components(mask) for icon in _explain(ink, component)]
    return tuple(sorted(icons, key=lambda icon: (icon.box.y1, icon.box.x1)))


def detect_all(images: Sequence[np.ndarray] | np.ndarray) -> list[tuple[Icon, ...]]:
    """`detect` for each image of a batch: uint8 [images, height, width, 3] or a sequence."""
    return [detect(image) for image in images]


def _components(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Masks of the parts of `mask`, gaps of two pixels bridged, specks left out."""
    labels, count = ndimage.label(ndimage.binary_dilation(mask, _ALL_NEIGHBOURS), _ALL_NEIGHBOURS)
    for label in range(1, count + 1):
        component = mask & (labels == label)
        if np.count_nonzero(component) >= _MIN_AREA:
            yield component


def _explain(ink: np.ndarray, component: np.ndarray) -> Iterator[Icon]:
    """The icons that make up a component: mostly one, none when nothing fits."""
    extents = _extents(component)
    look, misfit = _look_of(ink, extents)
    if misfit > _GOOD_FIT:
        parts = list(_search(ink, component))
        if parts and min(part.misfit for part in parts) < misfit:
            yield from (_icon(part.look, part.extents) for part in parts)
            return
    if misfit <= _WORST_FIT:
        yield _icon(look, extents)


def _icon(look: _Look, extents: _Rect) -> Icon:
    return Icon(*look, box_from_pixels(*extents))


def _extents(component: np.ndarray) -> _Rect:
    rows = np.flatnonzero(component.any(axis=1))
    columns = np.flatnonzero(component.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# -- templates -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Templates:
    """All looks at one size. `ink`: float32 [looks, 3 * height * width], 0 is white."""

    looks: tuple[_Look, ...]
    ink: np.ndarray
    energy: np.ndarray  # float32 [looks]

    def misfits(self, windows: np.ndarray) -> np.ndarray:
        """Squared error of each template on each window, as a share of the template's energy.

        `windows`: float32 [windows, 3 * height * width]; returns float32 [windows, looks].
        """
        error = (windows**2).sum(1)[:, None] - 2 * windows @ self.ink.T + self.energy
        return np.asarray(error / self.energy)


@lru_cache(maxsize=128)
def _templates(width: int, height: int, nouns: tuple[str, ...] = NOUNS) -> _Templates:
    """Templates of a size in cells."""
    looks = tuple((noun, color, fill) for noun in nouns for color in COLORS for fill in FILLS)
    ink = np.stack([255 - stamp(*look, CELL * width, CELL * height).ravel() for look in looks])
    ink = ink.astype(np.float32)
    return _Templates(looks, ink, (ink**2).sum(1))


def _look_of(ink: np.ndarray, extents: _Rect) -> tuple[_Look, float]:
    """The nearest look for a box, its edges moved to the nearest token edges, and its misfit."""
    x1, y1, x2, y2 = ((edge + CELL // 2) // CELL for edge in extents)
    x1, y1 = min(x1, GRID - 1), min(y1, GRID - 1)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    window = ink[CELL * y1 : CELL * y2, CELL * x1 : CELL * x2]
    templates = _templates(x2 - x1, y2 - y1)
    misfits = templates.misfits(window.reshape(1, -1))[0]
    best = int(misfits.argmin())
    return templates.looks[best], float(misfits[best])


# -- components that are not one icon ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    look: _Look
    extents: _Rect
    misfit: float


def _search(ink: np.ndarray, component: np.ndarray) -> Iterator[_Part]:
    """Icons of natural size inside a component, the best fit first, each pixel used once."""
    rest = np.where(component[..., None], ink, 0)
    mask = component.copy()
    for _ in range(MAX_OBJECTS):
        if np.count_nonzero(mask) < _MIN_AREA:
            return
        look, (x1, y1, x2, y2), misfit = min(_candidates(rest, mask), key=lambda c: c[2])
        inside = mask[y1:y2, x1:x2]
        if misfit > _WORST_FIT or not inside.any():
            return
        left, top, right, bottom = _extents(inside)
        yield _Part(look, (x1 + left, y1 + top, x1 + right, y1 + bottom), misfit)
        rest[y1:y2, x1:x2] = 0
        mask[y1:y2, x1:x2] = False


@lru_cache(maxsize=1)
def _natural_sizes() -> dict[tuple[int, int], tuple[str, ...]]:
    """Size in cells -> the nouns that have it."""
    sizes: dict[tuple[int, int], tuple[str, ...]] = {}
    for noun in NOUNS:
        for scale in SCALES:
            size = natural_size(noun, scale)
            sizes[size] = (*sizes.get(size, ()), noun)
    return sizes


def _candidates(rest: np.ndarray, mask: np.ndarray) -> Iterator[tuple[_Look, _Rect, float]]:
    """For each natural size its best window on the token grid."""
    for (width, height), nouns in _natural_sizes().items():
        shape = (CELL * height, CELL * width)
        windows = np.lib.stride_tricks.sliding_window_view(rest, shape, axis=(0, 1))
        windows = windows[::CELL, ::CELL].transpose(0, 1, 3, 4, 2)
        templates = _templates(width, height, nouns)
        misfits = templates.misfits(windows.reshape(-1, 3 * shape[0] * shape[1]))
        place, best = np.unravel_index(misfits.argmin(), misfits.shape)
        y, x = divmod(int(place), windows.shape[1])
        rect = (CELL * x, CELL * y, CELL * (x + width), CELL * (y + height))
        yield templates.looks[int(best)], rect, float(misfits[place, best])
