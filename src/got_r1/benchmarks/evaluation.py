"""Rows of metrics into means with intervals over prompts, overall and per category.

`evaluate` scores samples and summarises them; `comparison_table` sets several evaluations side by
side, with the change of each metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "comparison_table",
    "evaluate",
    "evaluation",
    "markdown_table",
    "prompt_values",
    "summarise",
]


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
    """Evaluations side by side, as a Markdown table that also reads well as plain text.

    Metrics are rows, evaluations columns, a cell is `mean [low, high]`. `metrics` picks and orders
    the rows (default: all of them). A metric that an evaluation lacks leaves a dash.

    Where the first and the last evaluation are of the same prompts and hold their values, a last
    column has the paired change with its interval, and says "clear" where that leaves out 0.
    """
    if metrics is None:
        metrics = list(dict.fromkeys(name for one in evaluations for name in one["metrics"]))
    lines = [["metric", *(str(one["name"]) for one in evaluations)]]
    for metric in metrics:
        cells = [_cell(one["metrics"].get(metric)) for one in evaluations]
        lines.append([label(metric), *cells])
    if len(evaluations) > 1:
        changes = [paired_change(evaluations[0], evaluations[-1], metric) for metric in metrics]
        if any(changes):
            for line, cell in zip(lines, ["change", *map(_change, changes)], strict=True):
                line.append(cell)
    return "\n".join(markdown_table(lines))


def markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table that also reads well as plain text; the first row heads it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "-"
    overall = metric["overall"]
    if overall["low"] is None:
        return f"{overall['mean']:.3f}"
    return f"{overall['mean']:.3f} [{overall['low']:.3f}, {overall['high']:.3f}]"


def _change(change: Estimate | None) -> str:
    if change is None or change.value is None:
        return "-"
    if change.low is None or change.high is None:
        return f"{change.value:+.3f}"
    clear = ", clear" if change.excludes_zero else ""
    return f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]{clear}"
