"""A benchmark's table as papers print it: models are rows, metrics columns, and no number stands
under another's heading that was not measured in the same way.

A number that deviates from the official measurement (another detector, fewer images ...) has a
column of its own, marked with a letter that a line below the table explains. Only numbers without
deviations share a column with published ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

from got_r1.benchmarks.evaluation import comparison_table, markdown_table
from got_r1.benchmarks.published import ABLATIONS, PUBLISHED, PublishedRow
from got_r1.files.evaluations import paired_change
from got_r1.measures import LABELS

__all__ = ["evaluation_tables", "paper_table"]

Column = tuple[str, tuple[str, ...]]
"""A metric and the deviations of the numbers in its column."""


def evaluation_tables(evaluations: Sequence[Mapping[str, Any]], *, ablations: bool = False) -> str:
    """The evaluations as a table for each benchmark, with published rows where there are some."""
    by_benchmark: dict[str, list[Mapping[str, Any]]] = {}
    others = []
    for one in evaluations:
        name = str(one.get("benchmark"))
        if name in PUBLISHED:
            by_benchmark.setdefault(name, []).append(one)
        else:
            others.append(one)
    made = [paper_table(name, some, ablations=ablations) for name, some in by_benchmark.items()]
    return "\n\n".join([*made, *([comparison_table(others)] if others else [])])


def paper_table(
    benchmark: str, evaluations: Sequence[Mapping[str, Any]], *, ablations: bool = False
) -> str:
    """Published rows, then the evaluations with 95% intervals and the number of prompts, and where
    there are two, their paired change; as Markdown tables of at most 80 columns.

    Below it stand what the letters mean and which scorers gave each evaluation its numbers.
    `ablations` adds the paper's rows of other rewards.
    """
    published = PUBLISHED.get(benchmark, ())
    if ablations:
        published += ABLATIONS.get(benchmark, ())
    columns = table_columns(published, evaluations)
    marked = dict.fromkeys(deviations for _, deviations in columns if deviations)
    letters = dict(zip(marked, ascii_lowercase, strict=False))
    lines = [
        ["model", *(heading(column, letters) for column in columns)],
        *([row.name, *(published_cell(row, column) for column in columns)] for row in published),
        *([str(one["name"]), *(cell(one, column) for column in columns)] for one in evaluations),
    ]
    if len(evaluations) == 2:
        changed = [change(evaluations[0], evaluations[1], column) for column in columns]
        lines += [["change", *changed]] if any(one != "-" for one in changed) else []
    table = markdown_table(lines)
    notes = [
        f"({letters.get(deviations, '*')}) not comparable with published numbers: "
        f"{'; '.join(deviations)}."
        for deviations in marked
    ]
    told = [*notes, *(about(one) for one in evaluations)]
    return "\n".join([*table, "", *told] if told else table)


def table_columns(
    published: Sequence[PublishedRow], evaluations: Sequence[Mapping[str, Any]]
) -> list[Column]:
    """The columns that hold anything, metrics in the order of the paper, official ones first."""
    found: dict[Column, None] = {}
    for row in published:
        found.update(((metric, ()), None) for metric in row.values)
    for one in evaluations:
        found.update((column_of(one, metric), None) for metric in one["metrics"])
    order = list(LABELS)

    def place(column: Column) -> int:
        return order.index(column[0]) if column[0] in order else len(order)

    by_metric = sorted(found, key=place)
    return sorted(by_metric, key=lambda column: (place(column), bool(column[1])))


def column_of(evaluation: Mapping[str, Any], metric: str) -> Column:
    """The column that an evaluation's number belongs to.

    Without a word about deviations it stands apart too: it is not known how it was measured.
    """
    deviations = evaluation.get("deviations")
    if deviations is None:
        return metric, ("it is not known how it was measured",)
    return metric, tuple(deviations.get(metric, ()))


def heading(column: Column, letters: Mapping[tuple[str, ...], str]) -> str:
    metric, deviations = column
    title = LABELS.get(metric, metric)
    return f"{title} ({letters.get(deviations, '*')})" if deviations else title


def published_cell(row: PublishedRow, column: Column) -> str:
    metric, deviations = column
    value = row.values.get(metric)
    return "-" if deviations or value is None else decimal(value)


def cell(evaluation: Mapping[str, Any], column: Column) -> str:
    metric = evaluation["metrics"].get(column[0])
    if metric is None or column_of(evaluation, column[0]) != column:
        return "-"
    overall = metric["overall"]
    lines = [decimal(overall["mean"])]
    if overall["low"] is not None and overall["high"] is not None:
        lines.append(f"[{decimal(overall['low'])}, {decimal(overall['high'])}]")
    return "\n".join([*lines, f"n {overall['n']}"] if "n" in overall else lines)


def change(before: Mapping[str, Any], after: Mapping[str, Any], column: Column) -> str:
    """The paired change of two numbers that were measured alike."""
    metric = column[0]
    if any(
        metric in one["metrics"] and column_of(one, metric) != column for one in (before, after)
    ):
        return "-"
    found = paired_change(before, after, metric)
    if found is None or found.value is None:
        return "-"
    lines = [decimal(found.value, "+")]
    if found.low is not None and found.high is not None:
        lines.append(f"[{decimal(found.low, '+')}, {decimal(found.high, '+')}]")
    return "\n".join([*lines, "clear"] if found.excludes_zero else lines)


def decimal(value: float, sign: str = "-") -> str:
    """A share as papers print it: .7632."""
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{value:{sign}.4f}")


def about(evaluation: Mapping[str, Any]) -> str:
    """How an evaluation was made, in a line."""
    scorers = evaluation.get("scorers", {})
    made = "; ".join(f"{part}: {name}" for part, name in scorers.items()) or "scorers not recorded"
    images = evaluation["prompts"] * evaluation.get("images_per_prompt", 1)
    drawn = f"{images} images made elsewhere"
    if evaluation["guidance"]:  # 0 where nothing is known of it
        drawn = (
            f"{images} images of {evaluation['model']}, seed {evaluation['seed']}, "
            f"guidance {evaluation['guidance']:g}"
        )
    return f"{evaluation['name']}: {drawn}; {made}."
