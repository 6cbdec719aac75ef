"""Rows of metrics into means with bootstrap intervals over prompts, overall and per category.

`evaluate` scores samples and summarises them; `comparison_table` sets several evaluations side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from got_r1.benchmarks.base import Benchmark, Row, Sample
from got_r1.errors import BadInput

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "Estimate",
    "bootstrap_interval",
    "comparison_table",
    "estimate",
    "evaluate",
    "evaluation",
    "summarise",
]

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over `n` prompts with its interval."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_interval(
    values: Sequence[float],
    seed: int = 0,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979): prompts are drawn with replacement.

    It says how far the mean could move with other prompts of the same kind, not with another
    training seed. Values that are all equal give an interval without width, which is too narrow:
    500 successes out of 500 still allow a failure rate of 3/500.

    Raises ValueError for no values.
    """
    if not len(values):
        raise ValueError("an interval needs at least one value")
    array = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = rng.choice(array, (resamples, array.size)).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Mean and 95% bootstrap interval. Raises ValueError for no values."""
    low, high = bootstrap_interval(values, seed)
    return Estimate(float(np.mean(values)), low, high, len(values))


def summarise(
    rows: Sequence[Row],
    categories: Sequence[str],
    seed: int = 0,
    *,
    images_per_prompt: int = 1,
    averages: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Estimates of each metric, overall and per category, ready for JSON.

    `categories` names the category of each row. Rows stand in groups of `images_per_prompt`, and
    the intervals are over prompts: images of one prompt are no independent trials of the model.
    A value of None is left out, and so is a metric or a category that has no value at all. Each of
    `averages` is made where all of its metrics are there.

    Returns `{metric: {"overall": {"mean", "low", "high", "n"}, "by_category": {category: the
    same}}}`, `n` prompts; metrics in the order of the rows, categories in alphabetical order.
    Raises ValueError where rows and categories, or rows and prompts, do not come out even.
    """
    if len(rows) % images_per_prompt:
        raise ValueError(f"{len(rows)} rows are not {images_per_prompt} for each prompt")
    named = list(zip(rows, categories, strict=True))
    summary: dict[str, Any] = {}
    every: dict[str, list[float]] = {}
    for metric in dict.fromkeys(name for row in rows for name in row):
        values: dict[str, list[float]] = {}
        for first in range(0, len(named), images_per_prompt):
            group = named[first : first + images_per_prompt]
            found = [row[metric] for row, _ in group if row.get(metric) is not None]
            numbers = [value for value in found if isinstance(value, int | float)]
            if numbers:
                values.setdefault(group[0][1], []).append(float(np.mean(numbers)))
        if values:
            every[metric] = [value for group in values.values() for value in group]
            summary[metric] = {
                "overall": asdict(estimate(every[metric], seed)),
                "by_category": {
                    category: asdict(estimate(values[category], seed))
                    for category in sorted(values)
                },
            }
    for metric, parts in (averages or {}).items():
        if all(part in every for part in parts):
            average = estimate_average([every[part] for part in parts], seed)
            summary[metric] = {"overall": asdict(average), "by_category": {}}
    return summary


def estimate_average(groups: Sequence[Sequence[float]], seed: int = 0) -> Estimate:
    """Mean over the groups of each group's mean, with its 95% bootstrap interval; prompts are drawn
    anew inside each group."""
    rng = np.random.default_rng(seed)
    means = [
        rng.choice(np.asarray(group, np.float64), (RESAMPLES, len(group))).mean(axis=1)
        for group in groups
    ]
    low, high = np.quantile(np.mean(means, axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mean = float(np.mean([np.mean(group) for group in groups]))
    return Estimate(mean, float(low), float(high), sum(map(len, groups)))


def evaluate(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    name: str,
    split: str,
    seed: int,
    guidance: float,
    model: str,
) -> dict[str, Any]:
    """Score samples and describe where they came from: the content of `evals/<name>.json`.

    `name` says which policy ("sft", "rl"), `seed` and `guidance` how it was sampled, `model` where
    it lies. Raises `BadInput` for no samples.
    """
    return evaluation(
        benchmark.name,
        benchmark.score(samples),
        [sample.prompt.category for sample in samples],
        name=name,
        split=split,
        seed=seed,
        guidance=guidance,
        model=model,
    )


def evaluation(
    benchmark: str,
    rows: Sequence[Row],
    categories: Sequence[str],
    *,
    images_per_prompt: int = 1,
    averages: Mapping[str, Sequence[str]] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """An evaluation as `evaluate` gives it, of rows that are scored already; `about` is where they
    came from. Raises `BadInput` for no rows."""
    if not rows:
        raise BadInput("there are no samples to evaluate: give at least one prompt")
    several = {"images_per_prompt": images_per_prompt} if images_per_prompt > 1 else {}
    metrics = summarise(rows, categories, images_per_prompt=images_per_prompt, averages=averages)
    return {
        "name": about.pop("name"),
        "benchmark": benchmark,
        "split": about.pop("split"),
        "prompts": len(rows) // images_per_prompt,
        **several,
        **about,
        "metrics": metrics,
    }


# -- side by side --------------------------------------------------------------------------------


def comparison_table(
    evaluations: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None = None
) -> str:
    """Evaluations side by side, as a Markdown table that also reads well as plain text.

    Metrics are rows, evaluations columns, a cell is `mean [low, high]`. `metrics` picks and orders
    the rows (default: all of them). A metric that an evaluation lacks leaves a dash.
    """
    if metrics is None:
        metrics = list(dict.fromkeys(name for one in evaluations for name in one["metrics"]))
    lines = [["metric", *(str(one["name"]) for one in evaluations)]]
    for metric in metrics:
        cells = [_cell(one["metrics"].get(metric)) for one in evaluations]
        lines.append([metric.replace("_", " "), *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def _cell(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "-"
    overall = metric["overall"]
    return f"{overall['mean']:.3f} [{overall['low']:.3f}, {overall['high']:.3f}]"
