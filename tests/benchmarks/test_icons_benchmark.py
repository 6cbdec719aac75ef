"""The icon world's benchmark on samples made by hand, whose every number is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from got_r1.benchmarks import load_benchmark
from got_r1.benchmarks.base import Row, Sample
from got_r1.benchmarks.evaluation import evaluate
from got_r1.errors import BadInput
from got_r1.icons.render import render
from got_r1.icons.world import IMAGE_SIZE, Icon, Scene, box_from_cells
from got_r1.plan import chain as chains
from got_r1.records import Chain, PlannedObject, Prompt

BENCHMARK = load_benchmark("icons")
RELATION = Prompt("a red heart on the left of a blue star", "spatial")


def icon(noun: str, color: str, x: int, y: int, size: int = 4) -> Icon:
    return Icon(noun, color, "plain", box_from_cells(x, y, size, size))


def plan(*icons: Icon) -> Chain:
    return chains.parse(chains.format_chain([PlannedObject(i.name, i.box) for i in icons]))


def score(prompt: Prompt, chain: Chain, drawn: Sequence[Icon]) -> Row:
    (row,) = BENCHMARK.score([Sample(prompt, chain, render(Scene(tuple(drawn))))])
    return row


HEART, STAR = icon("heart", "red", 0, 3), icon("star", "blue", 5, 3)
HEART_RIGHT, STAR_LEFT = icon("heart", "red", 5, 3), icon("star", "blue", 0, 3)


def test_a_perfect_sample_is_right_in_everything_that_was_asked():
    assert score(RELATION, plan(HEART, STAR), [HEART, STAR]) == {
        "plan_relation": 1,
        "image_relation": 1,
        "realised": 1,
        "plan_attributes": 1,
        "attributes": 1,
        "plan_count": None,
        "count": None,
        "iou": 1,
        "well_formed": 1,
    }


def test_a_swapped_plan_fails_the_plan_only():
    row = score(RELATION, plan(HEART_RIGHT, STAR_LEFT), [HEART, STAR])
    assert (row["plan_relation"], row["image_relation"]) == (0, 1)
    assert row["realised"] is None  # the plan was wrong: nothing right to realise
    assert (row["plan_attributes"], row["attributes"]) == (1, 1)
    assert row["iou"] == 0


def test_a_swapped_image_fails_the_image_only():
    row = score(RELATION, plan(HEART, STAR), [HEART_RIGHT, STAR_LEFT])
    assert (row["plan_relation"], row["image_relation"], row["realised"]) == (1, 0, 0)
    assert (row["attributes"], row["iou"]) == (1, 0)


def test_a_wrong_colour_fails_attributes_relation_and_its_half_of_the_iou():
    row = score(RELATION, plan(HEART, STAR), [HEART, icon("star", "green", 5, 3)])
    assert (row["attributes"], row["image_relation"], row["iou"]) == (0, 0, 0.5)
    assert (row["plan_attributes"], row["plan_relation"]) == (1, 1)


def test_iou_of_a_shifted_object():
    # The star is 4 cells wide and moves by one: 3 / 5 for it, 1 for the heart.
    row = score(RELATION, plan(HEART, STAR), [HEART, icon("star", "blue", 5, 4)])
    assert row["iou"] == pytest.approx((1 + 3 / 5) / 2)
    assert row["image_relation"] == 1


def test_counts_are_exact_and_asked_for_only_by_numbers():
    prompt = Prompt("three red hearts", "numeracy")
    hearts = [icon("heart", "red", x, y, 3) for x, y in ((0, 0), (4, 0), (0, 4), (4, 4))]
    measures = ("plan_count", "count", "attributes")

    def of(planned: int, drawn: int) -> tuple[float | None, ...]:
        row = score(prompt, plan(*hearts[:planned]), hearts[:drawn])
        assert row["plan_relation"] is row["image_relation"] is row["realised"] is None
        return tuple(row[measure] for measure in measures)

    assert of(3, 3) == (1, 1, 1)
    assert of(3, 2) == (1, 0, 0)  # one is missing
    assert of(3, 4) == (1, 0, 1)  # all asked objects are there, and one more
    assert of(2, 3) == (0, 1, 1)
    assert score(prompt, plan(*hearts[:3]), hearts[:2])["iou"] == pytest.approx(2 / 3)


def test_a_malformed_chain_is_wrong_in_the_plan_and_leaves_the_image_alone():
    whole = plan(HEART, STAR).text
    row = score(RELATION, chains.parse(whole.removesuffix(chains.BOX_END)), [HEART, STAR])
    assert row["well_formed"] == 0
    assert (row["plan_relation"], row["plan_attributes"], row["iou"]) == (0, 0, 0)
    assert (row["image_relation"], row["attributes"], row["realised"]) == (1, 1, None)


def test_an_empty_image_shows_nothing():
    blank = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 255, np.uint8)
    (row,) = BENCHMARK.score([Sample(RELATION, plan(HEART, STAR), blank)])
    assert (row["image_relation"], row["attributes"], row["iou"], row["realised"]) == (0, 0, 0, 0)


def test_evaluation_over_a_mixed_list():
    color = Prompt("a red heart and a blue star", "color")
    image = render(Scene((HEART, STAR)))
    samples = [
        Sample(RELATION, plan(HEART, STAR), image),
        Sample(RELATION, plan(HEART_RIGHT, STAR_LEFT), image),
        Sample(color, plan(HEART, STAR), image),
    ]
    metrics = evaluate(
        BENCHMARK, samples, name="sft", split="dev", seed=0, guidance=1.0, model="m"
    )["metrics"]
    assert metrics["plan_relation"]["overall"]["mean"] == 0.5
    assert metrics["plan_relation"]["overall"]["n"] == 2
    assert list(metrics["plan_relation"]["by_category"]) == ["spatial"]
    assert metrics["realised"]["overall"]["n"] == 1
    assert metrics["iou"]["overall"]["mean"] == pytest.approx(2 / 3)
    assert metrics["iou"]["by_category"]["color"]["mean"] == 1
    assert "count" not in metrics


def test_prompts_are_repeatable_and_of_the_split():
    val = BENCHMARK.prompts("val", 25, 0)
    assert len({prompt.text for prompt in val}) == 25
    assert val == BENCHMARK.prompts("val", 25, 0)
    assert {prompt.text for prompt in val}.isdisjoint(
        prompt.text for prompt in BENCHMARK.prompts("dev", 25, 0)
    )


def test_bad_input():
    with pytest.raises(BadInput, match="split 'test'"):
        BENCHMARK.prompts("test", 5, 0)
    image = render(Scene((HEART, STAR)))
    with pytest.raises(BadInput, match="not a sentence"):
        BENCHMARK.score([Sample(Prompt("a castle at dawn"), plan(HEART), image)])
