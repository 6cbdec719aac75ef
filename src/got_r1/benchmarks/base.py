"""The seam of the benchmarks, and the statistics that all of them share.

A benchmark turns finished samples into rows, one a prompt, of metrics in [0, 1]; `evaluate` turns
the rows into means with bootstrap intervals, overall and per category; `comparison_table` sets
several evaluations side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from got_r1.errors import BadInput
from got_r1.records import Chain, Prompt

__all__ = [
    "Benchmark",
    "Estimate",
    "Row",
    "Sample",
    "bootstrap_interval",
    "comparison_table",
    "estimate",
    "evaluate",
    "load_benchmark",
    "summarise",
]

Row = Mapping[str, float | None]
"""The metrics of one sample, each in [0, 1]; None where a metric does not apply to its prompt."""

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model made of one prompt. `image`: uint8 [height, width, 3]."""

    prompt: Prompt
    chain: Chain
    image: np.ndarray


class Benchmark(Protocol):
    """A set of prompts and a way to score what a model makes of them."""

    name: str

    def prompts(self, split: str, n: int, seed: int) -> list[Prompt]:
        """The first `n` prompts of `split` ("dev" or "val"), the same for the same seed."""
        ...

    def score(self, samples: Sequence[Sample]) -> list[Row]:
        """One row a sample, all with the same metrics in the same order."""
        ...


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises `BadInput` for an unknown one."""
    match name:
        case "icons":
            from got_r1.benchmarks.icons import IconsBenchmark

            return IconsBenchmark()
        case _:
            raise BadInput(f"there is no benchmark {name!r}: use 'icons'")


# -- statistics ----------------------------------------------------------------------------------


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


def summarise(rows: Sequence[Row], categories: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Estimates of each metric, overall and per category, ready for JSON.

    `categories` names the category of each row. A value of None is left out, and so is a metric or
    a category that has no value at all. Returns
    `{metric: {"overall": {"mean", "low", "high", "n"}, "by_category": {category: the same}}}`,
    metrics in the order of the rows, categories in alphabetical order.
    """
    summary: dict[str, Any] = {}
    for metric in dict.fromkeys(name for row in rows for name in row):
        values: dict[str, list[float]] = {}
        for row, category in zip(rows, categories, strict=True):
            value = row.get(metric)
            if value is not None:
                values.setdefault(category, []).append(value)
        if values:
            every = [value for group in values.values() for value in group]
            summary[metric] = {
                "overall": asdict(estimate(every, seed)),
                "by_category": {
                    category: asdict(estimate(values[category], seed))
                    for category in sorted(values)
                },
            }
    return summary


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
    if not samples:
        raise BadInput("there are no samples to evaluate: give at least one prompt")
    return {
        "name": name,
        "benchmark": benchmark.name,
        "split": split,
        "prompts": len(samples),
        "seed": seed,
        "guidance": guidance,
        "model": model,
        "metrics": summarise(
            benchmark.score(samples), [sample.prompt.category for sample in samples]
        ),
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
