"""The pages of audits: what `audit judge` and `audit human report` found, one HTML file each.

They are made from the JSON that stands beside them and nothing else, so that an old audit can be
shown anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from got_r1.files.atomic import write_bytes
from got_r1.report.gallery import Piece, split_chain
from got_r1.report.panels import TERM_NAMES

__all__ = ["write_human_page", "write_judge_page"]

_COLORS = ("a", "b", "c", "d")
_GROUPS = {"relation": "relation", "clarity": "clarity", "category": "category"}
_CURVE = {
    "kendall": "Kendall τ-b",
    "spearman": "Spearman ρ",
    "strict": "steps that fall",
    "rising": "steps that rise",
}


def write_judge_page(audit: Mapping[str, Any], path: Path) -> None:
    """Write the page of a judge's audit (`got_r1.audit.judge.audit_judge`'s result).

    Raises:
        BadInput: the place cannot be written.
        RunFailed: the disk is full; an earlier page stays.
    """
    page = _environment().get_template("judge_audit.html")
    html = page.render(
        audit=audit,
        queries=sum(term["result"]["asks"] for term in audit["terms"].values()),
        colors=_COLORS,
        groups=_GROUPS,
        curve_names=_CURVE,
        term_names=TERM_NAMES,
    )
    write_bytes(path, html.encode(errors="replace"))  # a reply may hold half a surrogate pair


def write_human_page(study: Mapping[str, Any], path: Path) -> None:
    """Write the page of a study (`got_r1.audit.agreement.agreement_report`'s result), its pictures
    given as data URIs.

    Raises as `write_judge_page`.
    """
    page = _environment().get_template("human_audit.html")
    html = page.render(study=study, colors=_COLORS, term_names=TERM_NAMES)
    write_bytes(path, html.encode(errors="replace"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("got_r1.report", "assets"),
        autoescape=True,  # chains and replies are anybody's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"share": _share, "words": _words}
    return environment


def _words(chain: str) -> list[Piece]:
    """The chain as prose and names: boxes left out, with the blank that stands before each."""
    pieces = list(split_chain(chain))
    for index, piece in enumerate(pieces):
        if piece.kind == "box" and index and not pieces[index - 1].text.strip():
            pieces[index - 1] = Piece("box", "")
    return [piece for piece in pieces if piece.kind != "box"]


def _share(value: float | None) -> str:
    """A number between -1 and 1 with two digits; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")
