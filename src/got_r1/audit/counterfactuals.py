"""The suites of an audit, by term."""

from __future__ import annotations

from got_r1.audit.cases import Suite
from got_r1.audit.pictures import grounding_suite, image_suite
from got_r1.audit.semantic import semantic_suite
from got_r1.audit.spatial import spatial_suite

__all__ = ["make_suite"]


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
