"""Estimates, summaries and tables: against known distributions and numbers worked out by hand."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Row, Sample
from got_r1.benchmarks.evaluation import (
    changes,
    comparison_table,
    evaluate,
    evaluation,
    prompt_values,
    summarise,
)
from got_r1.errors import BadInput
from got_r1.records import Chain, Prompt

# -- summaries -----------------------------------------------------------------------------------

ROWS: list[Row] = [
    {"relation": 1.0, "iou": 0.5, "count": None},
    {"relation": 0.0, "iou": 0.7, "count": None},
    {"relation": 1.0, "iou": 0.9, "count": None},
    {"relation": None, "iou": 0.1, "count": None},
]
CATEGORIES = ["spatial", "spatial", "complex", "color"]


def test_summary_by_hand():
    summary = summarise(prompt_values(ROWS), CATEGORIES)
    assert list(summary) == ["relation", "iou"]  # nobody was asked to count
    relation, iou = summary["relation"], summary["iou"]
    assert relation["overall"]["mean"] == pytest.approx(2 / 3)
    assert relation["overall"]["n"] == 3
    assert list(relation["by_category"]) == ["complex", "spatial"]
    assert relation["by_category"]["spatial"]["mean"] == 0.5
    assert iou["overall"]["mean"] == pytest.approx(0.55)
    assert iou["by_category"]["color"] == pytest.approx(
        {"mean": 0.1, "low": 0.0025, "high": 0.9775, "n": 1}  # one prompt: next to nothing
    )
    assert iou["overall"]["low"] < 0.55 < iou["overall"]["high"]


def test_summary_does_not_depend_on_the_order_of_metrics_in_later_rows():
    values = prompt_values([{"a": 1.0, "b": 0.0}, {"b": 1.0, "a": 1.0}])
    assert summarise(values, ["x", "x"])["a"]["overall"] == pytest.approx(
        {"mean": 1.0, "low": 0.025**0.5, "high": 1.0, "n": 2}
    )


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
    by_prompt = result.pop("by_prompt")
    assert by_prompt["values"] == {"brightness": [0.0, 1.0, 0.0, 1.0]}
    assert by_prompt["categories"] == ["night", "day", "night", "day"]
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
        "| metric                         | n | sft            | rl             |",
        "| ------------------------------ | - | -------------- | -------------- |",
        "| relation right in the plan     | 9 | 0.750          | 1.000          |",
        "|                                |   | [0.700, 0.800] | [1.000, 1.000] |",
        "| IoU of planned and found boxes | 9 | 0.000          | -              |",
        "|                                |   | [0.000, 0.100] |                |",
    ]
    assert len(comparison_table([sft, rl], ["iou"]).splitlines()) == 3


def test_the_table_says_what_changed_clearly():
    prompts = [Prompt(str(i), "day") for i in range(20)]
    sft, rl = (
        evaluation("x", rows, prompts, name=name, split="dev")
        for name, rows in (
            ("sft", [{"a": 0.0, "b": float(i % 2)} for i in range(20)]),
            ("rl", [{"a": 1.0, "b": float(i % 2)} for i in range(20)]),
        )
    )
    lines = comparison_table([sft, rl]).splitlines()
    assert lines[0].split("|")[-2].strip() == "change"
    assert "+1.000, clear" in lines[2]
    assert "[+0." in lines[3]
    assert "+0.000 " in lines[4]
    assert "[-0.168, +0.168]" in lines[5]
    change = changes([sft, rl])
    assert change["a"]["overall"]["mean"] == change["a"]["by_category"]["day"]["mean"] == 1.0
    assert change["a"]["overall"]["clear"]
    unseen = 1 - 0.025 ** (1 / 20)
    nothing = {"mean": 0.0, "low": -unseen, "high": unseen, "n": 20, "clear": False}
    assert change["b"]["overall"] == pytest.approx(nothing)
    assert changes([sft]) == {}


@pytest.mark.parametrize("name", ["relation_right_in_the_image", "a" * 70])
@pytest.mark.parametrize("several", [1, 2, 5])
def test_tables_have_at_most_80_columns_and_lose_nothing(name, several):
    prompts = [Prompt(str(i), "day") for i in range(100)]
    evaluations = [
        evaluation("x", [{name: float(i % (2 + 2 * at) > 0)} for i in range(100)], prompts,
                   name=f"model-{at}", split="dev")
        for at in range(several)
    ]  # fmt: skip
    text = comparison_table(evaluations)
    assert max(map(len, text.splitlines())) <= 80
    for one in evaluations:
        overall = one["metrics"][name]["overall"]
        for number in (overall["mean"], overall["low"], overall["high"]):
            assert f"{number:.3f}" in text
        assert one["name"] in text
    assert " 100 " in text
    if several == 2:
        change = changes(evaluations)[name]["overall"]
        assert f"{change['mean']:+.3f}, clear" in text
        assert f"[{change['low']:+.3f}, {change['high']:+.3f}]" in text


def test_rows_over_other_numbers_of_prompts_say_both():
    one = {"overall": {"mean": 0.5, "low": None, "high": None, "n": 9}, "by_category": {}}
    other = {"overall": {**one["overall"], "n": 400}, "by_category": {}}
    made = [{"name": name, "metrics": {"iou": it}} for name, it in (("a", one), ("b", other))]
    assert comparison_table(made).splitlines()[2] == (
        "| IoU of planned and found boxes | 9, 400 | 0.500 | 0.500 |"
    )


def test_unknown_benchmark_is_bad_input():
    with pytest.raises(BadInput, match="icons"):
        load_benchmark("iconz")
