"""The seam of the benchmarks, and the statistics that all of them share.

A benchmark turns finished samples into rows, one an image, of metrics in [0, 1]; `evaluate` turns
the rows into means with bootstrap intervals over prompts, overall and per category;
`comparison_table` sets several evaluations side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from got_r1.benchmarks.settings import BenchmarkSettings
from got_r1.errors import BadInput
from got_r1.records import Chain, Prompt
from got_r1.sample_files import SampleFiles

__all__ = [
    "Benchmark",
    "Estimate",
    "Row",
    "Sample",
    "Shelf",
    "bootstrap_interval",
    "comparison_table",
    "estimate",
    "evaluate",
    "evaluation",
    "load_benchmark",
    "spread",
    "summarise",
]

Row = Mapping[str, float | str | None]
"""The metrics of one sample, each in [0, 1]; None where a metric does not apply to its prompt. Text
is evidence for people, of which no mean is made."""

T = TypeVar("T")

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model made of one prompt. `image`: uint8 [height, width, 3]; `name`: its file in the
    folder it was read from, where it was read from one."""

    prompt: Prompt
    chain: Chain
    image: np.ndarray
    name: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Some of a benchmark's prompts and where their images lie, numbered from 0.

    `images`: a folder that holds nothing but them, where there is one. `beside`: further files of
    the official layout, by their paths.
    """

    files: SampleFiles
    prompts: tuple[Prompt, ...]
    images: Path | None = None
    beside: Mapping[Path, str] = field(default_factory=dict)


class Benchmark(Protocol):
    """A set of prompts and a way to score what a model makes of them."""

    name: str

    size: int
    """How many prompts make the benchmark (of each category, where categories are files)."""

    images_per_prompt: int
    """How many images of each prompt do."""

    reads_chains: bool
    """Whether scoring needs the chains; images made elsewhere have none."""

    averages: Mapping[str, Sequence[str]]
    """Metrics that are plain means over other metrics, whatever their numbers of prompts."""

    def prompts(self, split: str, n: int, seed: int) -> list[Prompt]:
        """`n` prompts of `split` ("dev" or "val"), the same for the same seed."""
        ...

    def shelves(
        self, folder: Path, prompts: Sequence[Prompt], images_per_prompt: int
    ) -> list[Shelf]:
        """How images of these prompts lie in a folder, in the official layout."""
        ...

    def score(self, samples: Sequence[Sample]) -> list[Row]:
        """One row a sample. Where several images of a prompt count, they stand together."""
        ...

    def scorers(self) -> dict[str, str]:
        """What gave the numbers, in words with its version, by its part."""
        ...

    def deviations(self, made: Mapping[str, Any]) -> dict[str, list[str]]:
        """By metric, why a number cannot stand beside published ones; none where it can.

        `made`: the content of an evaluation but for this, to see what was measured.
        """
        ...


def load_benchmark(name: str, settings: BenchmarkSettings | None = None) -> Benchmark:
    """The benchmark of that name; `settings` for those that need the user's files and models.

    Raises `BadInput` for an unknown one.
    """
    match name:
        case "icons":
            from got_r1.benchmarks.icons import IconsBenchmark

            own = BenchmarkSettings()
            if replace(settings or own, split=own.split, device=own.device) != own:
                raise BadInput(
                    "the icon world brings its own prompts and detector: leave out --data, "
                    "--category and whatever names a model that looks at images"
                )
            return IconsBenchmark()
        case "compbench":
            from got_r1.benchmarks.compbench.benchmark import CompBench

            return CompBench(settings or BenchmarkSettings())
        case "geneval":
            from got_r1.benchmarks.geneval.benchmark import GenEval

            return GenEval(settings or BenchmarkSettings())
        case _:
            raise BadInput(f"there is no benchmark {name!r}: use 'icons', 'compbench' or 'geneval'")


def spread(items: Sequence[T], n: int) -> list[T]:
    """`n` of the items at even distances, the first among them, or all where there are fewer.
    Lists of prompts are often sorted by kind, so that their first `n` are all of one."""
    if n >= len(items):
        return list(items)
    return [items[place * len(items) // n] for place in range(n)]


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
