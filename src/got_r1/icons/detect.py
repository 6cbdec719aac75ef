"""Finding the icons in an image, rendered or generated, by colour, components and templates.

What is not white is split into components. A component's extents are its box; its look is that of
the nearest template among all nouns, colours and fills, rendered at the box's size on the token
grid; it is an icon when most of its pixels agree with that template. A component that agrees badly
is searched for icons inside of it (they may touch, or carry specks), and dropped when nothing
fits: then there is no object. Where icons may overlap, it is also read as two of which one covers
the other (`occlusion`). (Our choice throughout.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from got_r1.icons.occlusion import compose, find_pair, natural_sizes
from got_r1.icons.render import stamp
from got_r1.icons.world import (
    CELL,
    COLORS,
    FILLS,
    GRID,
    IMAGE_SIZE,
    MAX_OBJECTS,
    NOUNS,
    Icon,
    box_from_pixels,
)

__all__ = ["detect"]

_INK = 56  # of 255: a pixel this far from white in any channel is not background
_MIN_AREA = 20  # pixels; the smallest icon, an airplane of 12x12, has about 50
_CLOSE = 100.0  # pixels agree up to this distance in RGB; stripes differ from plain by 130 and more
_GOOD = 0.12  # a component with a smaller share of disagreeing pixels is this icon, surely
_WORST = 0.30  # one with a larger share is no icon
_TELLING = 8  # pixels that must look otherwise if the order were the other one
_SLACK = 1  # pixels by which a tip may be too faint to see: a star's is one pixel wide
_ALL_NEIGHBOURS = np.ones((3, 3), dtype=bool)

_Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, ends exclusive
_Look = tuple[str, str, str]  # noun, colour, fill


def detect(image: np.ndarray, *, overlaps: bool = False) -> tuple[Icon, ...]:
    """The icons of an image, in reading order.

    With `overlaps` two icons may overlap: the boxes of such two are whole, hidden parts included,
    and have the depths 1 (it covers the other) and 0, or none where nobody can tell. All other
    boxes have no depth.

    `image`: uint8 [height, width, 3], RGB; another size than 40x40 is resized first. Boxes are the
    extents of what is seen, to the pixel, in 0..999.
    """
    if image.shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
        resized = Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
        image = np.asarray(resized)
    mask = image.min(axis=2) < 255 - _INK
    ink = 255 - image.astype(np.float32)
    components = _components(mask)
    icons = [icon for component in components for icon in _explain(ink, component, overlaps)]
    return tuple(sorted(icons, key=lambda icon: (icon.box.y1, icon.box.x1)))


def _components(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Masks of the parts of `mask`, gaps of two pixels bridged, specks left out."""
    labels, count = ndimage.label(ndimage.binary_dilation(mask, _ALL_NEIGHBOURS), _ALL_NEIGHBOURS)
    for label in range(1, count + 1):
        component = mask & (labels == label)
        if np.count_nonzero(component) >= _MIN_AREA:
            yield component


@dataclass(frozen=True, slots=True)
class _Fit:
    """The nearest template in a window, and how many of the pixels (dis)agree with it."""

    look: _Look
    window: _Rect
    agreeing: int
    disagreeing: int

    @property
    def wrong(self) -> float:
        """Share of pixels that disagree, in 0..1."""
        return self.disagreeing / max(1, self.agreeing + self.disagreeing)

    @property
    def gain(self) -> int:
        """What the fit explains: a large icon with a flaw beats a small one inside of it."""
        return self.agreeing - self.disagreeing


def _explain(ink: np.ndarray, component: np.ndarray, overlaps: bool) -> Iterator[Icon]:
    """The icons that make up a component: mostly one, none when nothing fits."""
    ink = np.where(component[..., None], ink, 0)
    whole = _fit(ink, _extents(component))
    if whole.wrong > _GOOD:
        parts = list(_search(ink, component))
        gain = sum(part.gain for part in parts)
        if overlaps and (pair := _overlapping(ink, component, max(gain, whole.gain))):
            yield from pair
            return
        if gain > whole.gain:
            for part in parts:
                x1, y1, x2, y2 = part.window
                inside = np.zeros_like(component)
                inside[y1:y2, x1:x2] = component[y1:y2, x1:x2]
                yield _icon(part, _extents(inside))
            return
    if whole.wrong <= _WORST:
        yield _icon(whole, _extents(component))


def _overlapping(ink: np.ndarray, component: np.ndarray, gain: int) -> tuple[Icon, ...]:
    """A component as two overlapping icons, where that explains more than `gain`; else none."""
    found = find_pair(ink, _extents(component))
    if found is None:
        return ()
    back, front = found
    agreeing, disagreeing = _compare(ink, compose((back, front), ink.shape[:2]))
    if agreeing - disagreeing <= gain or disagreeing > _WORST * (agreeing + disagreeing):
        return ()
    _, if_exchanged = _compare(ink, compose((front, back), ink.shape[:2]))
    told = if_exchanged - disagreeing >= _TELLING
    return tuple(
        Icon(*one.look, replace(box_from_pixels(*one.window), depth=depth if told else None))
        for depth, one in enumerate((back, front))
    )


def _icon(fit: _Fit, extents: _Rect) -> Icon:
    """An icon at its extents, but an edge within a pixel of the fitted template's is the latter."""
    box = [
        edge if abs(seen - edge) <= _SLACK else seen
        for seen, edge in zip(extents, fit.window, strict=True)
    ]
    return Icon(*fit.look, box_from_pixels(*box))


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


def _fit(ink: np.ndarray, extents: _Rect) -> _Fit:
    """The nearest look for a box, its edges moved to the nearest token edges."""
    x1, y1, x2, y2 = ((edge + CELL // 2) // CELL for edge in extents)
    x1, y1 = min(x1, GRID - 1), min(y1, GRID - 1)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    window = (CELL * x1, CELL * y1, CELL * x2, CELL * y2)
    templates = _templates(x2 - x1, y2 - y1)
    pixels = ink[window[1] : window[3], window[0] : window[2]]
    best = int(templates.misfits(pixels.reshape(1, -1))[0].argmin())
    return _Fit(templates.looks[best], window, *_compare(pixels, templates.ink[best]))


def _compare(pixels: np.ndarray, template: np.ndarray) -> tuple[int, int]:
    """How many pixels are within `_CLOSE` of the template, and how many are not.

    Pixels that are white in both do not count. Unlike squared error, counting is not lenient with
    noise, whose mean colour some dark icon has.
    """
    template = template.reshape(pixels.shape)
    counted = np.maximum(template, pixels).max(axis=2) > _INK
    close = ((pixels - template) ** 2).sum(axis=2) <= _CLOSE**2
    total, agreeing = int(counted.sum()), int((close & counted).sum())
    return agreeing, total - agreeing


# -- components that are not one icon ------------------------------------------------------------


def _search(ink: np.ndarray, component: np.ndarray) -> Iterator[_Fit]:
    """Icons of natural size inside a component, the best fit first, each pixel used once."""
    rest, mask = ink.copy(), component.copy()
    for _ in range(MAX_OBJECTS):
        if np.count_nonzero(mask) < _MIN_AREA:
            return
        fit = max(_candidates(rest, _extents(mask)), key=lambda fit: fit.gain)
        if fit.wrong > _WORST:
            return
        yield fit
        x1, y1, x2, y2 = fit.window
        rest[y1:y2, x1:x2] = 0
        mask[y1:y2, x1:x2] = False


def _candidates(rest: np.ndarray, extents: _Rect) -> Iterator[_Fit]:
    """For each natural size its best window on the token grid, inside the extents or around."""
    x1, y1, x2, y2 = (
        extents[0] // CELL,
        extents[1] // CELL,
        -(-extents[2] // CELL),
        -(-extents[3] // CELL),
    )
    for (width, height), nouns in natural_sizes().items():
        templates = _templates(width, height, nouns)
        windows = [
            (CELL * x, CELL * y, CELL * (x + width), CELL * (y + height))
            for y in _starts(y1, y2, height)
            for x in _starts(x1, x2, width)
        ]
        pixels = np.stack([rest[top:bottom, left:right] for left, top, right, bottom in windows])
        misfits = templates.misfits(pixels.reshape(len(windows), -1))
        place, best = (int(i) for i in np.unravel_index(misfits.argmin(), misfits.shape))
        counts = _compare(pixels[place], templates.ink[best])
        yield _Fit(templates.looks[best], windows[place], *counts)


def _starts(first: int, last: int, length: int) -> range:
    """Where a window of `length` cells may start to lie within first..last, or to cover it."""
    low, high = sorted((first, last - length))
    return range(max(0, low), min(GRID - length, high) + 1)
