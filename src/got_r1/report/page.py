"""A page as one HTML file: the templates that all pages share, and how they write numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from got_r1.files.atomic import write_text
from got_r1.measures import label
from got_r1.report.gallery import Piece, split_chain

__all__ = ["interval", "percent", "render_page", "write_page"]


def write_page(path: Path, template: str, **content: Any) -> Path:
    """Write a page and return its path.

    Raises:
        BadInput: the place cannot be written.
        RunFailed: the disk is full; an earlier page stays.
    """
    write_text(path, render_page(template, **content))
    return path


def render_page(template: str, **content: Any) -> str:
    """A page as HTML."""
    return _environment().get_template(template).render(content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("got_r1.report", "assets"),
        autoescape=True,  # prompts, chains and replies are anybody's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (interval, label, number, percent, score, share, words)
    environment.filters |= {filter_.__name__: filter_ for filter_ in filters}
    return environment


def number(value: float) -> str:
    """A number for a caption: about three digits that count."""
    size = abs(value)
    if size and size < 0.001:
        text = f"{value:.1e}".replace("e-0", "e-")
    else:
        digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
        text = f"{value:,.{digits}f}"
    return text.replace("-", "\u2212", 1) if value < 0 else text


def score(value: float) -> str:
    """A score or reward with two digits, as in a table."""
    return f"{value:.2f}"


def share(value: float | None) -> str:
    """A number between -1 and 1 with two digits; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def percent(value: float) -> str:
    """A share in [0, 1] as a whole percentage."""
    return f"{100 * value:.0f}%"


def interval(estimate: Mapping[str, Any]) -> str:
    """An estimate's interval, as "61 – 74%"."""
    return f"{100 * estimate['low']:.0f} – {100 * estimate['high']:.0f}%"


def words(chain: str) -> list[Piece]:
    """The chain as prose and names: boxes left out, with the blank that stands before each."""
    pieces = list(split_chain(chain))
    for index, piece in enumerate(pieces):
        if piece.kind == "box" and index and not pieces[index - 1].text.strip():
            pieces[index - 1] = Piece("box", "")
    return [piece for piece in pieces if piece.kind != "box"]
