"""Estimates, summaries and tables: against known distributions and numbers worked out by hand."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Row, Sample
from got_r1.benchmarks.statistics import (
    bootstrap_interval,
    comparison_table,
    estimate,
    evaluate,
    summarise,
)
from got_r1.errors import BadInput
from got_r1.records import Chain, Prompt

# -- intervals -----------------------------------------------------------------------------------


def test_interval_covers_the_true_mean_as_often_as_it_says():
    # 300 experiments of 200 draws with p = 0.7. Percentile intervals of this size cover 93% to 95%;
    # then fewer than 264 or more than 296 hits have odds below 1 in 1,000 (and the seeds are set).
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        values = (rng.random(200) < 0.7).astype(float)
        low, high = bootstrap_interval(values.tolist(), trial, resamples=300)
        hits += low <= 0.7 <= high
    assert 264 <= hits <= 296


def test_interval_agrees_with_scipy_and_the_normal_approximation():
    values = [1.0] * 300 + [0.0] * 100
    low, high = bootstrap_interval(values, seed=3, resamples=4000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    # An endpoint of 4,000 resamples has a standard error near 0.001: seven of them.
    assert low == pytest.approx(theirs.low, abs=0.007)
    assert high == pytest.approx(theirs.high, abs=0.007)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.007)


def test_a_higher_level_is_wider():
    values = np.random.default_rng(0).random(50).tolist()
    narrow, wide = (bootstrap_interval(values, 0, level=level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(0, 9))
def test_interval_is_ordered_repeatable_and_inside_the_values(values: list[float], seed: int):
    low, high = bootstrap_interval(values, seed, resamples=50)
    assert (low, high) == bootstrap_interval(values, seed, resamples=50)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


def test_equal_values_have_no_width_and_no_values_no_interval():
    assert bootstrap_interval([1.0] * 10) == (1.0, 1.0)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])


# -- summaries -----------------------------------------------------------------------------------

ROWS: list[Row] = [
    {"relation": 1.0, "iou": 0.5, "count": None},
    {"relation": 0.0, "iou": 0.7, "count": None},
    {"relation": 1.0, "iou": 0.9, "count": None},
    {"relation": None, "iou": 0.1, "count": None},
]
CATEGORIES = ["spatial", "spatial", "complex", "color"]


def test_summary_by_hand():
    summary = summarise(ROWS, CATEGORIES)
    assert list(summary) == ["relation", "iou"]  # nobody was asked to count
    relation, iou = summary["relation"], summary["iou"]
    assert relation["overall"]["mean"] == pytest.approx(2 / 3)
    assert relation["overall"]["n"] == 3
    assert list(relation["by_category"]) == ["complex", "spatial"]
    assert relation["by_category"]["spatial"]["mean"] == 0.5
    assert iou["overall"]["mean"] == pytest.approx(0.55)
    assert iou["by_category"]["color"] == {"mean": 0.1, "low": 0.1, "high": 0.1, "n": 1}
    assert iou["overall"]["low"] < 0.55 < iou["overall"]["high"]


def test_summary_does_not_depend_on_the_order_of_metrics_in_later_rows():
    assert summarise([{"a": 1.0, "b": 0.0}, {"b": 1.0, "a": 1.0}], ["x", "x"])["a"]["overall"] == {
        "mean": 1.0,
        "low": 1.0,
        "high": 1.0,
        "n": 2,
    }


def test_summary_needs_one_category_a_row():
    with pytest.raises(ValueError, match="zip"):
        summarise(ROWS, CATEGORIES[:3])


# -- evaluations and their table -----------------------------------------------------------------


class Brightness:
    """A benchmark of one metric: how bright the image is."""

    name = "brightness"

    def prompts(self, split: str, n: int, seed: int) -> list[Prompt]:
        return [Prompt("light", "day" if i % 2 else "night") for i in range(n)]

    def score(self, samples: Sequence[Sample]) -> list[Row]:
        return [{"brightness": float(sample.image.mean()) / 255} for sample in samples]


SETTINGS = {"split": "dev", "seed": 5, "guidance": 2.0, "model": "m"}


def test_evaluation_says_where_it_came_from_and_survives_json():
    benchmark = Brightness()
    images = [np.full((2, 2, 3), level, np.uint8) for level in (0, 255, 0, 255)]
    samples = [
        Sample(prompt, Chain(""), image)
        for prompt, image in zip(benchmark.prompts("dev", 4, 5), images, strict=True)
    ]
    result = evaluate(benchmark, samples, name="sft", **SETTINGS)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    metrics = result.pop("metrics")
    assert result == {"name": "sft", "benchmark": "brightness", "prompts": 4, **SETTINGS}
    assert metrics["brightness"]["overall"]["mean"] == 0.5
    assert metrics["brightness"]["by_category"]["day"]["mean"] == 1.0
    assert metrics["brightness"]["by_category"]["night"]["n"] == 2


def test_evaluating_nothing_is_bad_input():
    with pytest.raises(BadInput, match="no samples"):
        evaluate(Brightness(), [], name="sft", **SETTINGS)


def test_table_by_hand():
    def one(mean: float, low: float, high: float) -> dict[str, object]:
        return {"overall": {"mean": mean, "low": low, "high": high, "n": 9}, "by_category": {}}

    sft = {"name": "sft", "metrics": {"plan_relation": one(0.75, 0.7, 0.8), "iou": one(0, 0, 0.1)}}
    rl = {"name": "rl", "metrics": {"plan_relation": one(1, 1, 1)}}
    assert comparison_table([sft, rl]).splitlines() == [
        "| metric        | sft                  | rl                   |",
        "| ------------- | -------------------- | -------------------- |",
        "| plan relation | 0.750 [0.700, 0.800] | 1.000 [1.000, 1.000] |",
        "| iou           | 0.000 [0.000, 0.100] | -                    |",
    ]
    assert len(comparison_table([sft, rl], ["iou"]).splitlines()) == 3


def test_estimate_carries_its_size():
    result = estimate([0.0, 1.0, 1.0, 0.0])
    assert (result.mean, result.n) == (0.5, 4)


def test_unknown_benchmark_is_bad_input():
    with pytest.raises(BadInput, match="icons"):
        load_benchmark("iconz")
