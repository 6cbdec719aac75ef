"""GenEval's rules and shares on every stored case of the official code, and by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.benchmarks.evaluation import prompt_values, summarise
from got_r1.benchmarks.geneval.colours import color_prompts, cut_out
from got_r1.benchmarks.geneval.rules import (
    Clause,
    Detected,
    Options,
    Scene,
    judge,
    keep,
    parse_options,
    parse_scene,
    relations,
)
from got_r1.errors import BadInput


def stored(reference_data: Path, name: str, count: int) -> list[dict[str, Any]]:
    found = json.loads((reference_data / "benchmarks" / f"{name}.json").read_text())
    assert len(found) == count
    return found


# -- parity ----------------------------------------------------------------------------------------


class Picture:
    """The picture of a stored case, and the colour classifier that the official code was given."""

    def __init__(self, case: dict[str, Any], options: Options) -> None:
        self.found = case["detections"]
        self.options = options
        self.crops: list[dict[str, Any]] = []
        size = case["image"]
        self.image = np.empty((size["height"], size["width"], 3), np.uint8)
        self.image[:] = size["background"]
        for some in self.found.values():
            for one in some:
                x1, y1, x2, y2 = one["mask"] or [round(value) for value in one["box"]]
                self.image[y1:y2, x1:x2] = one["paint"]

    def colors_of(self, name: str, seen: Sequence[Detected]) -> list[str]:
        colors = []
        for one in seen:
            about = self.found[name][one.index]
            mask = None
            if about["mask"] is not None:
                mask = np.zeros(self.image.shape[:2], bool)
                x1, y1, x2, y2 = about["mask"]
                mask[y1:y2, x1:x2] = True
            cut = cut_out(self.image, one, mask, self.options)
            self.crops.append(
                {
                    "class": name,
                    "index": one.index,
                    "size": [cut.shape[1], cut.shape[0]],
                    "rgb_sum": cut.sum(axis=(0, 1), dtype=np.int64).tolist(),
                }
            )
            colors.append(about["color"])
        return colors


def test_decisions_reproduce_the_official_code(reference_data: Path) -> None:
    for case in stored(reference_data, "geneval", 130):
        options = parse_options(case["options"])
        scene = parse_scene(case["metadata"], case["id"])
        picture = Picture(case, options)
        kept = {
            name: keep(
                [Detected(tuple(one["box"]), one["score"], i) for i, one in enumerate(some)],
                counting=scene.tag == "counting",
                options=options,
            )
            for name, some in case["detections"].items()
        }
        verdict = judge(scene, kept, picture.colors_of, options)
        expected = case["expected"]
        assert verdict.correct == expected["correct"], case["id"]
        wordings = [expected["reason"], *expected.get("reason_alternatives", [])]
        assert verdict.reason in wordings, case["id"]
        indices = {name: [one.index for one in some] for name, some in kept.items() if some}
        assert indices == {name: some for name, some in expected["kept"].items() if some}
        assert picture.crops == expected["crops"], case["id"]


def test_the_shares_reproduce_the_official_code(reference_data: Path) -> None:
    for case in stored(reference_data, "geneval_summary", 6):
        rows = [{image["tag"]: float(image["correct"])} for image in case["images"]]
        tags = [image["tag"] for image in case["images"]]
        expected = case["expected"]
        metrics = summarise(prompt_values(rows), tags, {"overall": list(expected["tasks"])})
        means = {name: metric["overall"]["mean"] for name, metric in metrics.items()}
        assert f"{means.pop('overall'):.5f}" == expected["overall"]
        shares = {tag: task["pct"] for tag, task in expected["tasks"].items()}
        assert {tag: f"{mean:.2%}" for tag, mean in means.items()} == shares


# -- rules by hand ---------------------------------------------------------------------------------

sides = st.floats(0, 300, width=32)
boxes = st.tuples(sides, sides, sides, sides).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@given(boxes, boxes)
def test_relations_mirror_each_other(one: Any, other: Any) -> None:
    there, back = (
        relations(Detected(one, 1), Detected(other, 1)),
        relations(Detected(other, 1), Detected(one, 1)),
    )
    assert back == {OPPOSITE[name] for name in there}
    assert len(there) <= 2
    assert not any(OPPOSITE[name] in there for name in there)


def test_a_diagonal_of_small_objects_is_two_relations() -> None:
    corner, middle = Detected((0, 0, 2, 2), 1), Detected((100, 100, 102, 102), 1)
    assert relations(corner, middle) == {"left of", "above"}
    assert relations(middle, middle) == set()


@given(st.lists(st.floats(0, 1, width=32), max_size=25), st.integers(1, 20))
def test_what_is_kept_is_the_best(scores: list[float], most: int) -> None:
    found = [Detected((0, 0, 1, 1), score, i) for i, score in enumerate(scores)]
    kept = keep(found, counting=False, options=Options(max_objects=most))
    assert len(kept) == min(most, sum(score > np.float32(0.3) for score in scores))
    assert [one.score for one in kept] == sorted((one.score for one in kept), reverse=True)
    assert all(one.score > 0.3 for one in kept)


def test_thresholds_are_compared_in_float32() -> None:
    """As the official arrays are: the float32 nearest to 0.3 is above 0.3, and does not pass."""
    at, above = float(np.float32(0.3)), float(np.nextafter(np.float32(0.3), np.float32(1)))
    assert at > 0.3
    kept = keep([Detected((0, 0, 1, 1), at, 0), Detected((0, 0, 1, 1), above, 1)], counting=False)
    assert [one.index for one in kept] == [1]


def test_overlaps_at_the_limit_are_dropped() -> None:
    """Seven of ten pixels: the official quotient is a double, so exactly the option 0.7."""
    wide, narrow = Detected((0, 0, 9, 0), 0.9, 0), Detected((0, 0, 6, 0), 0.8, 1)
    for limit, left in ((0.7, [0]), (0.71, [0, 1])):
        kept = keep([wide, narrow], counting=False, options=Options(max_overlap=limit))
        assert [one.index for one in kept] == left


def test_an_offset_of_less_than_a_thousandth_of_a_pixel_is_none() -> None:
    point = Detected((5, 5, 5, 5), 1)
    assert relations(Detected((5.0005, 5, 5.0005, 5), 1), point) == set()
    assert relations(Detected((5.01, 5, 5.01, 5), 1), point) == {"right of"}


def test_a_cut_out_reaches_over_the_edge_as_pillow_does() -> None:
    image = np.full((10, 20, 3), 200, np.uint8)
    cut = cut_out(image, Detected((-2.5, 4.4, 3.5, 12), 1), None)
    assert cut.shape == (8, 6, 3)  # from -2 to 4, halves to even; from 4 to 12
    assert (cut[:6, 2:] == 200).all()
    assert not cut[6:].any()
    assert not cut[:, :2].any()
    assert cut_out(image, Detected((3.2, 3, 3.4, 9), 1), None).size == 0


def test_colours_have_three_sentences_each() -> None:
    sentences = color_prompts("bus")
    assert len(sentences) == 10
    assert sentences[0] == ["a photo of a red bus", "a photo of a red-colored bus",
                            "a photo of a red object"]  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"tag": "x"},
        {"tag": "x", "prompt": "p", "include": [{"class": "cat"}]},
        {"tag": "x", "prompt": "p", "include": [{"class": "cat", "count": "many"}]},
        {"tag": "x", "prompt": "p", "include": [{"class": "cat", "count": 2.7}]},
        {"tag": "x", "prompt": 3},
        {"tag": "x", "prompt": "p", "include": [{"class": "a", "count": 1, "position": ["at", 0]}]},
        {
            "tag": "x",
            "prompt": "p",
            "include": [{"class": "a", "count": 1, "position": ["above", 0]}],
        },
    ],
)
def test_other_records_are_told(record: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="line 7"):
        parse_scene(record, "line 7")


def test_options_are_read_or_told() -> None:
    assert parse_options(["threshold=0.5", "crop=0", "max_objects=3"]) == Options(
        threshold=0.5, crop=False, max_objects=3
    )
    with pytest.raises(BadInput, match="no option 'treshold'"):
        parse_options(["treshold=0.5"])
    with pytest.raises(BadInput, match="is not a number"):
        parse_options(["threshold=high"])
    with pytest.raises(BadInput, match="neither crop=0 nor crop=1"):
        parse_options(["crop=yes"])  # which the official script takes for no


def test_a_failed_clause_is_no_target_and_does_not_end_the_judging() -> None:
    scene = Scene(
        "p",
        "position",
        (Clause("cup", 2), Clause("dog", 1, position=("above", 0)), Clause("cat", 1)),
        (Clause("cup", 1),),
    )
    seen = {"cup": [Detected((0, 0, 9, 9), 1)], "dog": [Detected((0, 50, 9, 59), 1)]}
    verdict = judge(scene, seen, lambda name, found: [])
    assert verdict.reason.split("\n") == [
        "expected cup>=2, found 1",
        "no target for dog to be above",
        "expected cat>=1, found 0",
        "expected cup<1, found 1",
    ]
