"""The table of results: evaluations side by side, metric by metric, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from got_r1.files.evaluations import paired_change
from got_r1.measures import label
from got_r1.report.read import as_dict, as_number
from got_r1.statistics import Estimate

__all__ = ["COLORS", "Cell", "Results", "Row", "compare"]

COLORS = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean with its 95% interval, over `n` prompts. `low` and `high` may be missing."""

    mean: float
    low: float | None
    high: float | None
    n: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One metric (or one category of it) across the evaluations; None where it was not measured.

    `paired`: the last evaluation's difference from the first over the same prompts, where known.
    """

    name: str
    cells: tuple[Cell | None, ...]
    categories: tuple[Row, ...] = ()
    paired: Estimate | None = None

    @property
    def change(self) -> float | None:
        """Last minus first evaluation."""
        first, last = self.cells[0], self.cells[-1]
        if len(self.cells) < 2 or first is None or last is None:
            return None
        return last.mean - first.mean

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the paired difference leaves out 0; False where none is known."""
        return self.paired is not None and self.paired.excludes_zero

    @property
    def fits_unit_axis(self) -> bool:
        """Whether everything lies in [0, 1] and so can stand on the table's common axis."""
        cells = [cell for cell in self.cells if cell is not None]
        numbers = [x for cell in cells for x in (cell.mean, cell.low, cell.high) if x is not None]
        return bool(numbers) and all(0 <= number <= 1 for number in numbers)


@dataclass(frozen=True, slots=True)
class Results:
    """The table: its columns with the colours of their marks, rows, and what was measured on."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    conditions: tuple[str, ...]

    def marks(self, row: Row) -> list[tuple[Cell | None, str]]:
        """A row's cells, each with the colour of its column."""
        return [(cell, color) for cell, (_, color) in zip(row.cells, self.columns, strict=True)]

    @property
    def has_pairs(self) -> bool:
        """Whether the change of any metric is known over the same prompts."""
        return any(row.paired is not None for row in self.rows)

    @property
    def has_intervals(self) -> bool:
        """Whether any mean of the table comes with an interval."""
        return any(cell and cell.low is not None for row in self.rows for cell in row.cells)


def compare(evals: Sequence[Mapping[str, Any]]) -> Results | None:
    """The evaluations of a run as one table; None without any."""
    rows = _rows(evals)
    if not rows:
        return None
    columns = tuple((str(e["name"]), COLORS[i % len(COLORS)]) for i, e in enumerate(evals))
    conditions = list(dict.fromkeys(map(_condition, evals)))
    if len(conditions) > 1:  # not measured alike: say what belongs to which
        conditions = [f"{result['name']}: {_condition(result)}" for result in evals]
    return Results(columns, rows, tuple(conditions))


def _rows(evals: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    metrics = [as_dict(result.get("metrics")) for result in evals]
    rows = []
    for name in dict.fromkeys(name for one in metrics for name in one):
        tables = [as_dict(as_dict(one.get(name)).get("by_category")) for one in metrics]
        categories = tuple(
            Row(
                category,
                tuple(_cell(table.get(category)) for table in tables),
                paired=_paired(evals, name, category),
            )
            for category in dict.fromkeys(category for table in tables for category in table)
        )
        cells = tuple(_cell(as_dict(one.get(name)).get("overall")) for one in metrics)
        if any(cells):
            rows.append(Row(label(name), cells, categories, _paired(evals, name)))
    return tuple(rows)


def _paired(
    evals: Sequence[Mapping[str, Any]], metric: str, category: str | None = None
) -> Estimate | None:
    return paired_change(evals[0], evals[-1], metric, category) if len(evals) > 1 else None


def _condition(result: Mapping[str, Any]) -> str:
    parts = [str(result[key]) for key in ("benchmark", "split") if key in result]
    parts += [f"{result['prompts']} prompts"] if "prompts" in result else []
    parts += [f"{key} {result[key]}" for key in ("seed", "guidance") if key in result]
    return " · ".join(parts)


def _cell(value: object) -> Cell | None:
    estimate = as_dict(value)
    mean, n = as_number(estimate.get("mean")), as_number(estimate.get("n"))
    if mean is None:
        return None
    low, high = as_number(estimate.get("low")), as_number(estimate.get("high"))
    return Cell(mean, low, high, None if n is None else int(n))
