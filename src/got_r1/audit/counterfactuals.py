"""The suites of an audit, by term."""

from __future__ import annotations

from functools import lru_cache

from got_r1.audit.cases import Suite
from got_r1.audit.counting import STEPS
from got_r1.audit.pictures import grounding_suite, image_suite
from got_r1.audit.semantic import semantic_suite
from got_r1.audit.spatial import spatial_suite

__all__ = ["CHANGES", "make_suite"]

CHANGES = {
    **dict.fromkeys(STEPS.values(), "one more or one fewer is there than was asked for"),
    "another noun": "one object is another one",
    "another pattern": "one object has another pattern",
    "object dropped": "one object is left out of the chain",
    "colours swapped": "two objects have each other's colour",
    "patterns swapped": "two objects have each other's pattern",
    "relation reversed": "the chain states the opposite relation",
    "contradicting object": "the chain has one more object, in a colour that was not asked for",
    "garbled text": "the letters of every word are in disorder",
    "mirrored": "the plan is mirrored along the axis of the relation",
    "swapped": "the two objects are in each other's place",
    "shifted": "the first object is where the relation is false",
    "recoloured": "one object has another colour",
    "moved": "one object is in a wrong place",
    "missing": "one object is not there",
    "extra": "one object is there twice",
    "swapped places": "two objects are in each other's place",
}
"""What was changed in the worse one of a pair, by the pair's kind."""


@lru_cache(maxsize=8)
def make_suite(term: str, pairs: int, seed: int) -> Suite:
    """The suite of a term, with `pairs` pairs of each kind; the same for the same arguments.

    Raises ValueError for a term that is none of `settings.TERMS`.
    """
    match term:
        case "r_sem":
            return semantic_suite(pairs, seed)
        case "r_spa":
            return spatial_suite(pairs, seed)
        case "r_pi":
            return image_suite(pairs, seed)
        case "r_ri":
            return grounding_suite(pairs, seed)
        case _:
            raise ValueError(f"there are no counterfactuals for {term!r}")
