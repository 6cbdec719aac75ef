"""What exists in the icon world: nouns, colours, fills, sizes, and the records of a scene.

Sizes and positions live on the token grid: images are 40x40 px, a VQ token covers 4x4 px, and
every box edge is a multiple of 4 px, so an icon of one look and size is always the same tokens.
Everything here is our choice, except that boxes are in thousandths of the image's sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from got_r1.plan.layout import Relation
from got_r1.records import Box

__all__ = [
    "CELL",
    "COLORS",
    "FILLS",
    "GRID",
    "IMAGE_SIZE",
    "MAX_OBJECTS",
    "NOUNS",
    "SCALES",
    "Condition",
    "Icon",
    "Meaning",
    "ObjectSpec",
    "Place",
    "Scene",
    "box_from_cells",
    "box_from_pixels",
    "natural_size",
    "pixels_from_box",
    "plural",
]

IMAGE_SIZE = 40
"""Side of the image in pixels."""
CELL = 4
"""Side of a VQ token in pixels."""
GRID = IMAGE_SIZE // CELL
"""Side of the image in cells (tokens)."""
MAX_OBJECTS = 4
"""Most objects in a scene."""
SCALES = (3, 4, 5)
"""Height of an icon in cells: 12, 16 or 20 px."""

NOUNS: tuple[str, ...] = (
    "star",
    "heart",
    "arrow",
    "airplane",
    "phone",
    "horse",
    "tower",
    "circle",
    "square",
    "triangle",
    "moon",
    "tree",
    "flag",
    "cross",
    "diamond",
    "tick",
    "cup",
    "skull",
    "anchor",
    "note",
    "spade",
    "flower",
    "vase",
    "pawn",
)
"""Glyphs of DejaVu Sans that stay apart at 12 px, also after a VQ round trip."""

COLORS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (225, 25, 25),
        "green": (15, 170, 60),
        "blue": (20, 80, 235),
        "yellow": (245, 205, 0),
        "purple": (130, 20, 160),
        "pink": (255, 100, 185),
        "cyan": (0, 220, 210),
        "gray": (140, 165, 140),
    }
)
"""Name to RGB; any two are at least 139 apart, and each is far from white."""

FILLS: tuple[str, ...] = ("plain", "striped", "dotted")

_TALL = frozenset({"tower"})


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """What a prompt asks of an object; `None` leaves colour or fill free. `count` in 1..4."""

    noun: str
    color: str | None = None
    fill: str | None = None
    count: int = 1

    @property
    def name(self) -> str:
        """The singular name without article: fill, colour, noun, as far as they are said."""
        return " ".join(word for word in (self.fill, self.color, self.noun) if word)


Place = Literal["corner", "middle", "large", "row"]
"""Where objects are to stand, or how large one is to be; `truth.place_holds` says when it is so."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of the layout: `kind` of the objects with the indices `about`, in order (two
    for a relation, one or more for a place)."""

    kind: Relation | Place
    about: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a prompt says: `objects[about[0]]` is in `relation` to `objects[about[1]]`, and all
    `further` conditions hold.

    "a star on the left of a heart" has the objects (star, heart), the relation "left" and the
    default `about`. Without a relation `about` has no meaning. Only the prompts of `icons.layouts`
    have further conditions.
    """

    objects: tuple[ObjectSpec, ...]
    relation: Relation | None = None
    about: tuple[int, int] = (0, 1)
    further: tuple[Condition, ...] = ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All that is asked of the layout, the relation first."""
        own = (Condition(self.relation, self.about),) if self.relation else ()
        return own + self.further


@dataclass(frozen=True, slots=True)
class Icon:
    """One drawn object. `box` in 0..999, its edges on the token grid when rendered."""

    noun: str
    color: str
    fill: str
    box: Box

    @property
    def name(self) -> str:
        """The full name as chains write it; a plain fill is not named."""
        return " ".join((*(() if self.fill == "plain" else (self.fill,)), self.color, self.noun))


@dataclass(frozen=True, slots=True)
class Scene:
    """The objects of one image, on white, apart by at least one empty token."""

    icons: tuple[Icon, ...]


def plural(noun: str) -> str:
    """The plural of one of `NOUNS`, or of a name that ends in it."""
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def natural_size(noun: str, scale: int) -> tuple[int, int]:
    """Width and height in cells of `noun` at a height of `scale` cells (one of `SCALES`)."""
    if noun in _TALL:
        return (min(scale - 1, 3), scale)
    return (scale, scale)


def box_from_pixels(x1: float, y1: float, x2: float, y2: float) -> Box:
    """Pixel edges (0..40; the right and lower edges exclusive) to a box in 0..999."""
    return Box(*(min(999, max(0, round(v * 1000 / IMAGE_SIZE))) for v in (x1, y1, x2, y2)))


def box_from_cells(x: int, y: int, width: int, height: int) -> Box:
    """Cell position and size to a box in 0..999."""
    return box_from_pixels(CELL * x, CELL * y, CELL * (x + width), CELL * (y + height))


def pixels_from_box(box: Box) -> tuple[int, int, int, int]:
    """A box in 0..999 to the nearest pixel edges (x1, y1, x2, y2), exact for grid boxes."""
    return (
        round(box.x1 * IMAGE_SIZE / 1000),
        round(box.y1 * IMAGE_SIZE / 1000),
        round(box.x2 * IMAGE_SIZE / 1000),
        round(box.y2 * IMAGE_SIZE / 1000),
    )
