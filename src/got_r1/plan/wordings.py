"""How relations and numbers are said: the one place where their wordings are listed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from got_r1.plan.layout import Relation

__all__ = [
    "CONVERSES",
    "COUNT_WORDS",
    "NEGATIONS",
    "RELATION_OF_WITH_WORDS",
    "RELATION_OF_WORDS",
    "RELATION_WORDS",
    "WITH_WORDS",
]

RELATION_WORDS: Mapping[Relation, tuple[str, ...]] = MappingProxyType(
    {
        "left": (
            "on the left of",
            "to the left of",
            "left of",
            "at the left of",
            "on the left side of",
            "to the left side of",
            "on the left-hand side of",
        ),
        "right": (
            "on the right of",
            "to the right of",
            "right of",
            "at the right of",
            "on the right side of",
            "to the right side of",
            "on the right-hand side of",
        ),
        "top": ("on the top of", "on top of", "above", "over", "atop"),
        "bottom": (
            "on the bottom of",
            "below",
            "under",
            "on bottom of",
            "at the bottom of",
            "beneath",
            "underneath",
        ),
        "next to": ("next to", "beside", "adjacent to", "alongside"),
        "near": ("near", "close to"),
        "on side of": ("on side of", "on the side of", "at the side of"),
        "in front of": (
            "in front of",
            "directly in front of",
            "right in front of",
            "just in front of",
            "in the front of",
        ),
        "behind": (
            "behind",
            "hidden by",
            "hidden behind",
            "hiding behind",
            "directly behind",
            "right behind",
            "just behind",
        ),
    }
)
"""Wordings of each relation, T2I-CompBench's first ("hidden by" is scored as "behind" there). New
ones go to the end: prompts of the icon world are made with the first ones."""

RELATION_OF_WORDS: Mapping[str, Relation] = MappingProxyType(
    {words: name for name, several in RELATION_WORDS.items() for words in several}
)
"""The relation that a wording names."""

WITH_WORDS: Mapping[Relation, tuple[str, ...]] = MappingProxyType(
    {
        "left": ("to its left", "on its left"),
        "right": ("to its right", "on its right"),
        "top": ("above it", "on top of it"),
        "bottom": ("below it", "under it"),
        "next to": ("next to it", "beside it"),
        "near": ("near it", "close to it"),
        "on side of": ("at its side", "on its side"),
        "in front of": ("in front of it",),
        "behind": ("behind it",),
    }
)
"""Wordings that name the second object first: "a heart with a star to its left" says that the star
is on the left of the heart."""

RELATION_OF_WITH_WORDS: Mapping[str, Relation] = MappingProxyType(
    {words: name for name, several in WITH_WORDS.items() for words in several}
)
"""The relation that such a wording names."""

CONVERSES: Mapping[Relation, Relation] = MappingProxyType(
    {
        "left": "right",
        "right": "left",
        "top": "bottom",
        "bottom": "top",
        "next to": "next to",
        "near": "near",
        "on side of": "on side of",
        "in front of": "behind",
        "behind": "in front of",
    }
)
"""a <relation> b is the same as b <converse> a."""

NEGATIONS = ("no", "not", "without", "never", "none", "nor", "neither")
"""Words by which a prompt says what is not to be there."""

COUNT_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""The numbers from one on, in words."""
