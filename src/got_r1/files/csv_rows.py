"""CSV and TSV files: every row read whole, or the file is refused in one sentence."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from got_r1.errors import BadInput, listed

__all__ = ["header_of", "read_csv"]

DELIMITERS = ",;\t"  # spreadsheets of some countries write semicolons


def read_csv(
    text: str,
    path: Path | str,
    columns: Sequence[str],
    remedy: str,
    *,
    delimiters: str = DELIMITERS,
    short_rows: bool = False,
) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of the text of a CSV file with a header; blank lines are no rows.

    The delimiter is the one of `delimiters` under which the header has most of `columns`, then most
    cells. `short_rows`: rows that end early have empty cells there. Raises BadInput, naming file
    and line, for a header that lacks one of `columns` (with `remedy`) or has a name twice, for rows
    with more cells than the header (or fewer), and for broken quotes.
    """

    def fitness(delimiter: str) -> tuple[int, int]:
        header = header_of(text, delimiter)
        return sum(name in header for name in columns), len(header)

    delimiter = max(delimiters, key=fitness)
    header = header_of(text, delimiter)
    if lost := [name for name in columns if name not in header]:
        there = ", ".join(map(repr, header)) or "none"
        raise BadInput(f"{path} has no column {lost[0]!r} (its columns: {there}); {remedy}.")
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise BadInput(f"{path} has the column {twice[0]!r} twice; rename one.")
    rows = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    first = 1  # of the row that is read next: a quoted cell may hold line breaks
    try:
        for cells in reader:
            number, first = first, reader.line_num + 1
            if number == 1 or not cells:
                continue
            if len(cells) > len(header) or (len(cells) < len(header) and not short_rows):
                raise BadInput(
                    f"line {number} of {path} has {len(cells)} cells where the header has "
                    f"{len(header)} ({listed([repr(cell[:40]) for cell in cells])}); put cells "
                    f"that hold {delimiter!r}, quotes or line breaks in double quotes."
                )
            cells += [""] * (len(header) - len(cells))
            rows.append((number, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise BadInput(f"line {first} of {path} is no CSV ({error}); correct its quotes.") from None
    return rows


def header_of(text: str, delimiter: str) -> list[str]:
    """The cells of the first row, without surrounding blanks; none where that is no CSV."""
    try:
        cells = next(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]
