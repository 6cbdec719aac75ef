"""What an audit asks unless told otherwise; light, so that `--help` answers at once."""

from __future__ import annotations

__all__ = ["PAIRS", "SCENES", "TERMS"]

TERMS = ("r_sem", "r_spa", "r_pi", "r_ri")
"""The terms that have counterfactuals. R_HPS has none: of two icons neither is more beautiful."""

PAIRS = 40
"""Pairs of each kind. 40 right out of 40 put a judge above 0.91; one that is right in 0.9 of all
pairs is shown to be above chance in each kind (docs/audit.md gives the odds)."""

SCENES = 20
"""Scenes in which `audit grounding` asks for one object each, in each convention."""
