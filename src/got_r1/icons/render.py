"""Drawing scenes: glyphs of DejaVu Sans, stretched to their boxes, anti-aliased on white.

The font is the one inside matplotlib, so nothing needs to be shipped. A glyph is drawn large, its
holes are filled (they would not survive 12 px), cropped to its ink and reduced by area averaging
to exactly the box. Stripes and dots are a dark version of the colour, so a silhouette never
breaks, and they are locked to the token grid, so that equal icons are equal tokens.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from got_r1.icons.world import CELL, COLORS, IMAGE_SIZE, Scene, pixels_from_box
from got_r1.plan.layout import font_file

__all__ = ["render", "silhouette", "stamp"]

_GLYPHS = {
    "star": "\N{BLACK STAR}",
    "heart": "\N{BLACK HEART SUIT}",
    "arrow": "\N{BLACK RIGHTWARDS ARROWHEAD}",
    "airplane": "\N{AIRPLANE}",
    "phone": "\N{BLACK TELEPHONE}",
    "horse": "\N{BLACK CHESS KNIGHT}",
    "tower": "\N{BLACK CHESS ROOK}",
    "circle": "\N{BLACK CIRCLE}",
    "square": "\N{BLACK SQUARE}",
    "triangle": "\N{BLACK UP-POINTING TRIANGLE}",
    "moon": "\N{FIRST QUARTER MOON}",
    "tree": "\N{BLACK CLUB SUIT}",
    "flag": "\N{BLACK FLAG}",
    "cross": "\N{HEAVY GREEK CROSS}",
    "diamond": "\N{BLACK DIAMOND SUIT}",
    "tick": "\N{HEAVY CHECK MARK}",
    "cup": "\N{HOT BEVERAGE}",
    "skull": "\N{SKULL AND CROSSBONES}",
    "anchor": "\N{ANCHOR}",
    "note": "\N{EIGHTH NOTE}",
    "spade": "\N{BLACK SPADE SUIT}",
    "flower": "\N{BLACK FLORETTE}",
    "vase": "\N{FUNERAL URN}",
    "pawn": "\N{BLACK CHESS PAWN}",
}
_DARK = 0.33  # brightness of stripes and dots as a share of the colour's
_TIP = 1 / 12  # border lines with less ink than this are trimmed: 12 px could not show them
_FONT_SIZE = 240


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file()), _FONT_SIZE)


@cache
def _ink(noun: str) -> Image.Image:
    """The large glyph, holes filled, cropped so that each border line has ink."""
    canvas = Image.new("L", (3 * _FONT_SIZE, 3 * _FONT_SIZE))
    ImageDraw.Draw(canvas).text((_FONT_SIZE, _FONT_SIZE), _GLYPHS[noun], fill=255, font=_font())
    ink = ndimage.binary_fill_holes(np.asarray(canvas) > 127)
    for _ in range(2):  # trimming tips on one axis can bare the other
        height, width = ink.sum(1).astype(bool).sum(), ink.sum(0).astype(bool).sum()
        rows = np.flatnonzero(ink.sum(1) >= _TIP * width)
        columns = np.flatnonzero(ink.sum(0) >= _TIP * height)
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Image.fromarray((255 * ink).astype(np.uint8))


@lru_cache(maxsize=1024)
def silhouette(noun: str, width: int, height: int) -> np.ndarray:
    """Coverage of `noun` stretched to `width` x `height` px: float32 [height, width] in 0..1."""
    small = _ink(noun).resize((width, height), Image.Resampling.BOX)
    coverage = np.asarray(small, dtype=np.float32) / 255
    coverage.flags.writeable = False
    return coverage


@lru_cache(maxsize=256)
def _is_dark(fill: str, width: int, height: int) -> np.ndarray:
    """Where the fill's second tone lies: bool [height, width], repeating every token."""
    y, x = np.mgrid[:height, :width] % CELL
    if fill == "striped":
        return np.asarray(y >= CELL // 2)
    if fill == "dotted":
        return np.asarray((abs(2 * y - CELL + 1) < CELL // 2) & (abs(2 * x - CELL + 1) < CELL // 2))
    return np.zeros((height, width), dtype=bool)


@lru_cache(maxsize=8192)
def stamp(noun: str, color: str, fill: str, width: int, height: int) -> np.ndarray:
    """One icon on white: uint8 [height, width, 3], its sides in pixels."""
    coverage = silhouette(noun, width, height)[..., None]
    tone = np.where(_is_dark(fill, width, height), _DARK, 1.0)[..., None]
    pixels = coverage * tone * np.array(COLORS[color], dtype=np.float32) + (1 - coverage) * 255
    image: np.ndarray = np.rint(pixels).astype(np.uint8)
    image.flags.writeable = False
    return image


def render(scene: Scene) -> np.ndarray:
    """Draw a scene: uint8 [40, 40, 3], RGB on white. Icons with a depth may overlap: the nearer one
    covers the farther."""
    image = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 255, dtype=np.uint8)
    for icon in sorted(scene.icons, key=lambda icon: icon.box.depth or 0):
        x1, y1, x2, y2 = pixels_from_box(icon.box)
        pixels = stamp(icon.noun, icon.color, icon.fill, x2 - x1, y2 - y1)
        if icon.box.depth is not None:  # what lies behind it shows through around its outline
            free = 1 - silhouette(icon.noun, x2 - x1, y2 - y1)[..., None]
            pixels = np.rint(pixels - free * (255.0 - image[y1:y2, x1:x2])).astype(np.uint8)
        image[y1:y2, x1:x2] = pixels
    return image
