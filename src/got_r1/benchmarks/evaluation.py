"""Rows of metrics into means with intervals over prompts, overall and per category.

`evaluate` scores samples and summarises them; `comparison_table` sets several evaluations side by
side, with the change of each metric.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from got_r1.benchmarks.base import Benchmark, Row, Sample
from got_r1.errors import BadInput
from got_r1.files.evaluations import by_prompt, paired_change
from got_r1.measures import label
from got_r1.records import Prompt
from got_r1.statistics import Estimate, mean, mean_of_estimates

__all__ = [
    "as_json",
    "changes",
    "comparison_table",
    "evaluate",
    "evaluation",
    "markdown_table",
    "prompt_values",
    "summarise",
]

WIDTH = 80  # columns of a terminal
_NARROWEST, _WIDEST = 12, 24  # columns that the wrapped first one takes


def as_json(estimate: Estimate) -> dict[str, Any]:
    """An estimate as evaluations hold it."""
    return {
        "mean": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }


def summarise(
    values: Mapping[str, Sequence[float | None]],
    categories: Sequence[str],
    averages: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Estimates of each metric, overall and per category, of values by prompt (`prompt_values`).

    `categories` names the category of each prompt. A value of None is left out, and so is a
    category that has no value at all. Each of `averages` is made where all of its metrics are
    there.

    Returns `{metric: {"overall": {"mean", "low", "high", "n"}, "by_category": {category: the
    same}}}`, `n` prompts; categories in alphabetical order.
    """
    of_prompts = np.array(categories)
    summary: dict[str, Any] = {}
    overall: dict[str, Estimate] = {}
    for metric, some in values.items():
        numbers = np.array(some, dtype=np.float64)  # NaN for None
        known = sorted(set(of_prompts[~np.isnan(numbers)].tolist()))
        overall[metric] = mean(numbers.tolist())
        summary[metric] = {
            "overall": as_json(overall[metric]),
            "by_category": {
                category: as_json(mean(numbers[of_prompts == category].tolist()))
                for category in known
            },
        }
    for metric, parts in (averages or {}).items():
        if all(part in overall for part in parts):
            average = mean_of_estimates([overall[part] for part in parts])
            summary[metric] = {"overall": as_json(average), "by_category": {}}
    return summary


def prompt_values(rows: Sequence[Row], images_per_prompt: int = 1) -> dict[str, list[float | None]]:
    """Each metric's mean over the images of a prompt, by prompt; None where it has no number.
    Metrics without any number are left out; the others are in the order of the rows.

    The intervals of an evaluation are over prompts: images of one prompt, which stand together, are
    no independent trials of the model. Raises ValueError where they do not come out even.
    """
    if len(rows) % images_per_prompt:
        raise ValueError(f"{len(rows)} rows are not {images_per_prompt} for each prompt")
    values: dict[str, list[float | None]] = {}
    for metric in dict.fromkeys(name for row in rows for name in row):
        of_prompts: list[float | None] = []
        for first in range(0, len(rows), images_per_prompt):
            found = [row.get(metric) for row in rows[first : first + images_per_prompt]]
            numbers = [value for value in found if isinstance(value, int | float)]
            of_prompts.append(float(np.mean(numbers)) if numbers else None)
        if any(value is not None for value in of_prompts):
            values[metric] = of_prompts
    return values


def evaluate(benchmark: Benchmark, samples: Sequence[Sample], **about: Any) -> dict[str, Any]:
    """Score samples and describe where they came from: the content of `evals/<name>.json`.

    `about`: `name` says which policy ("sft", "rl"), `split`, `seed` and `guidance` how it was
    sampled, `model` where it lies. Raises `BadInput` for no samples.
    """
    prompts = [sample.prompt for sample in samples]
    return evaluation(benchmark.name, benchmark.score(samples), prompts, **about)


def evaluation(
    benchmark: str,
    rows: Sequence[Row],
    prompts: Sequence[Prompt],
    *,
    images_per_prompt: int = 1,
    averages: Mapping[str, Sequence[str]] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """An evaluation as `evaluate` gives it, of rows that are scored already, `prompts` those of
    each row; `about` is where they came from. Raises `BadInput` for no rows."""
    if not rows:
        raise BadInput("there are no samples to evaluate: give at least one prompt")
    several = {"images_per_prompt": images_per_prompt} if images_per_prompt > 1 else {}
    if len(prompts) != len(rows):
        raise ValueError(f"{len(rows)} rows have {len(prompts)} prompts; give one for each")
    values = prompt_values(rows, images_per_prompt)
    texts = [prompt.text for prompt in prompts[::images_per_prompt]]
    categories = [prompt.category for prompt in prompts[::images_per_prompt]]
    return {
        "name": about.pop("name"),
        "benchmark": benchmark,
        "split": about.pop("split"),
        "prompts": len(rows) // images_per_prompt,
        **several,
        **about,
        "metrics": summarise(values, categories, averages),
        "by_prompt": by_prompt(texts, categories, values, averages=averages),
    }


# -- side by side --------------------------------------------------------------------------------


def comparison_table(
    evaluations: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None = None
) -> str:
    """Evaluations side by side, as a Markdown table that also reads well as plain text, in 80
    columns.

    Metrics are rows, evaluations columns, a cell is `mean [low, high]`, with the interval on a line
    of its own where there is no room. `n` is the number of prompts, of each evaluation where they
    differ. `metrics` picks and orders the rows (default: all of them). A metric that an evaluation
    lacks leaves a dash.

    Where the first and the last evaluation are of the same prompts and hold their values, a last
    column has the paired change with its interval, and says "clear" where that leaves out 0.
    """
    if metrics is None:
        metrics = list(dict.fromkeys(name for one in evaluations for name in one["metrics"]))
    lines = [["metric", "n", *(str(one["name"]) for one in evaluations)]]
    for metric in metrics:
        found = [one["metrics"].get(metric) for one in evaluations]
        lines.append([label(metric), _numbers(found), *map(_cell, found)])
    if len(evaluations) > 1:
        changed = [paired_change(evaluations[0], evaluations[-1], metric) for metric in metrics]
        if any(changed):
            for line, cell in zip(lines, ["change", *map(_change, changed)], strict=True):
                line.append(cell)
    in_one_line = [[cell.replace("\n", " ") for cell in line] for line in lines]
    if len(markdown_table(in_one_line, width=10**6)[0]) <= WIDTH:
        lines = in_one_line
    return "\n".join(markdown_table(lines))


def changes(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The paired changes from the first to the last evaluation, for JSON: `{metric: {"overall":
    {"mean", "low", "high", "n", "clear"}, "by_category": {category: the same}}}`, of those metrics
    whose values by prompt both hold; `clear`: the interval leaves out 0."""
    found: dict[str, Any] = {}
    if len(evaluations) < 2:
        return found
    first, last = evaluations[0], evaluations[-1]
    for metric, table in last["metrics"].items():
        overall = paired_change(first, last, metric)
        if overall is None:
            continue
        parts = {name: paired_change(first, last, metric, name) for name in table["by_category"]}
        found[metric] = {
            "overall": _change_as_json(overall),
            "by_category": {name: _change_as_json(e) for name, e in parts.items() if e is not None},
        }
    return found


def _change_as_json(change: Estimate) -> dict[str, Any]:
    return as_json(change) | {"clear": change.excludes_zero}


def markdown_table(rows: Sequence[Sequence[str]], width: int = WIDTH) -> list[str]:
    """The lines of a Markdown table that also reads well as plain text; the first row heads it.

    No line is longer than `width` as far as words and columns can be parted: the first column is
    wrapped, and columns for which there is no room follow in further tables, below a blank line,
    with the first column again. A cell may be of several lines.
    """
    sizes = [
        max(len(line) for cell in column for line in cell.split("\n"))
        for column in zip(*rows, strict=True)
    ]
    room = width - 4 - sum(size + 3 for size in sizes[1:])
    if room < min(sizes[0], _NARROWEST):  # not all columns fit: some go below
        room = _WIDEST
    sizes[0] = min(sizes[0], max(room, _NARROWEST))
    blocks: list[list[int]] = [[]]
    for column in range(1, len(sizes)):
        taken = 4 + sizes[0] + sum(sizes[other] + 3 for other in blocks[-1])
        if blocks[-1] and taken + sizes[column] + 3 > width:
            blocks.append([])
        blocks[-1].append(column)
    lines: list[str] = []
    for block in blocks:
        shown = [0, *block]
        lines += [""] if lines else []
        for number, row in enumerate(rows):
            name = textwrap.wrap(row[0], sizes[0], break_on_hyphens=False) or [""]
            cells = [name, *(row[column].split("\n") for column in block)]
            for parts in zip_longest(*cells, fillvalue=""):
                padded = (part.ljust(sizes[c]) for c, part in zip(shown, parts, strict=True))
                lines.append(f"| {' | '.join(padded)} |")
            if number == 0:
                lines.append(f"| {' | '.join('-' * sizes[c] for c in shown)} |")
    return lines


def _numbers(metrics: Sequence[Mapping[str, Any] | None]) -> str:
    """How many prompts a row is over."""
    known = [str(metric["overall"].get("n", "-")) for metric in metrics if metric is not None]
    return known[0] if len(set(known)) == 1 else ",\n".join(known)


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "-"
    overall = metric["overall"]
    if overall["low"] is None:
        return f"{overall['mean']:.3f}"
    return f"{overall['mean']:.3f}\n[{overall['low']:.3f}, {overall['high']:.3f}]"


def _change(change: Estimate | None) -> str:
    if change is None or change.value is None:
        return "-"
    if change.low is None or change.high is None:
        return f"{change.value:+.3f}"
    clear = ", clear" if change.excludes_zero else ""
    return f"{change.value:+.3f}{clear}\n[{change.low:+.3f}, {change.high:+.3f}]"
