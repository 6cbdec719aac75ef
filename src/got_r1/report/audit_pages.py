"""The pages of audits: what `audit judge` and `audit human report` found, one HTML file each.

They are made from the JSON that stands beside them and nothing else, so that an old audit can be
shown anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from got_r1.report.page import write_page
from got_r1.report.panels import TERM_NAMES
from got_r1.report.results import COLORS

__all__ = ["write_human_page", "write_judge_page"]

_CURVE = {
    "kendall": "Kendall τ-b",
    "spearman": "Spearman ρ",
    "strict": "steps that fall",
    "rising": "steps that rise",
}


def write_judge_page(audit: Mapping[str, Any], path: Path) -> None:
    """Write the page of a judge's audit (`got_r1.audit.judge.audit_judge`'s result).

    Raises as `write_page`.
    """
    write_page(
        path,
        "judge_audit.html",
        audit=audit,
        colors=COLORS,
        curve_names=_CURVE,
        term_names=TERM_NAMES,
    )


def write_human_page(study: Mapping[str, Any], path: Path) -> None:
    """Write the page of a study (`got_r1.audit.agreement.agreement_report`'s result), its pictures
    given as data URIs.

    Raises as `write_page`.
    """
    facts = {
        "Items": study["items"],
        "Raters": len(study["raters"]),
        **{name: f"{rated} rated" for name, rated in study["raters"].items()},
    }
    write_page(
        path, "human_audit.html", study=study, facts=facts, colors=COLORS, term_names=TERM_NAMES
    )
