"""T2I-CompBench's scorers on every stored case of the official code, and rules worked out by hand.

The number of cases is asserted, so that an empty file cannot pass.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from got_r1.benchmarks.compbench import complex as complex_prompts
from got_r1.benchmarks.compbench import depth, numeracy, spatial, vqa
from got_r1.benchmarks.compbench.frames import FrameBox, FramedObject, frame_size, to_frame
from got_r1.benchmarks.compbench.quirks import CORRECTED, OFFICIAL, Quirks
from got_r1.benchmarks.compbench.tagger import Token
from got_r1.errors import BadInput
from got_r1.vision.boxes import overlap as iou

CLOSE = 1e-9


def cases(reference_data: Path, name: str, count: int) -> list[dict[str, Any]]:
    found = json.loads((reference_data / "benchmarks" / f"{name}.json").read_text())
    assert len(found) == count
    return found


def tokens(case: dict[str, Any]) -> list[Token]:
    return [Token(*one) for one in case["tokens"]]


def detections(case: dict[str, Any]) -> list[FramedObject]:
    return [
        FramedObject(one["label"], one["score"], tuple(one["box"])) for one in case["detections"]
    ]


# -- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "frame"),
    [
        ((512, 512), (479, 479)),
        ((384, 384), (479, 479)),
        ((40, 40), (479, 479)),
        ((480, 360), (480, 360)),
        ((1024, 768), (480, 360)),
        ((300, 600), (240, 480)),
        ((480, 479), (480, 479)),
    ],
)
def test_frames_by_hand(size: tuple[int, int], frame: tuple[int, int]) -> None:
    assert frame_size(*size) == frame
    assert frame_size(*frame) == frame


def test_boxes_are_brought_to_the_frame_and_cut_to_it() -> None:
    found = to_frame("cat", 0.5, (-3, 10, 1030, 1024), (1024, 1024))
    assert found.box == pytest.approx((0, 10 * 479 / 1024, 479, 479))
    with pytest.raises(BadInput, match="x1 <= x2"):
        to_frame("cat", 0.5, (5, 0, 4, 1), (10, 10))
    with pytest.raises(BadInput, match="x1 <= x2"):
        to_frame("cat", 0.5, (float("nan"), 0, 4, 1), (10, 10))


sides = st.floats(0, 479)
boxes = st.tuples(sides, sides, sides, sides).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(one: FrameBox, other: FrameBox) -> None:
    assert 0 <= iou(one, other) <= 1 + 1e-12
    assert iou(one, other) == iou(other, one)
    if (one[2] - one[0]) * (one[3] - one[1]) > 1:
        assert iou(one, one) == pytest.approx(1)


# -- 2D --------------------------------------------------------------------------------------------


def test_2d_reproduces_the_official_code(reference_data: Path) -> None:
    for case in cases(reference_data, "compbench_2d_spatial", 116):
        result = spatial.score(
            case["prompt"],
            tokens(case),
            detections(case),
            complex_prompt=case["mode"] == "complex",
        )
        expected = case["expected"]
        assert (result.obj1, result.obj2, result.locality) == (
            expected["obj1"],
            expected["obj2"],
            expected["locality"],
        ), case["id"]
        assert result.position == pytest.approx(expected["position_score"], abs=CLOSE), case["id"]
        assert result.score == pytest.approx(expected["score"], abs=CLOSE), case["id"]


LEFT, RIGHT = (0.0, 200.0, 80.0, 280.0), (300.0, 200.0, 380.0, 280.0)
HIGH = (100.0, 0.0, 180.0, 80.0)
LOW = (100.0, 300.0, 180.0, 380.0)


@given(boxes, boxes)
def test_opposite_directions_mirror_each_other(one: FrameBox, other: FrameBox) -> None:
    for there, back in (("left", "right"), ("top", "bottom")):
        asked, mirrored = f"on the {there} of", f"on the {back} of"
        assert spatial.position_score(one, other, asked) == spatial.position_score(
            other, one, mirrored
        )
        # Never both: one of two opposite relations at most.
        both = [spatial.position_score(one, other, text) for text in (asked, mirrored)]
        assert min(both) == 0


@given(boxes, boxes)
def test_nearness_needs_no_order_and_mending_it_never_gains(one: FrameBox, other: FrameBox) -> None:
    official = spatial.position_score(one, other, "near")
    corrected = spatial.position_score(one, other, "near", Quirks(near_along_one_axis=False))
    assert official == spatial.position_score(other, one, "near")
    assert 0 < corrected <= official <= 1


def words(text: str, *nouns: str) -> list[Token]:
    return [Token(word, "NOUN" if word in nouns else "X") for word in text.split()]


def test_what_each_corrected_fault_changes_in_2d() -> None:
    cat, dog = FramedObject("cat", 0.8, HIGH), FramedObject("dog", 0.8, LOW)
    on_top = "a cat on top of a dog"
    tagged = words(on_top, "cat", "dog")
    assert spatial.score(on_top, tagged, [cat, dog]).score == 0
    corrected = spatial.score(on_top, tagged, [cat, dog], quirks=Quirks(on_top_of_hole=False))
    assert corrected.score == pytest.approx(0.4 + 0.5)

    assert spatial.position_score(LEFT, RIGHT, "near") == 1  # 300 pixels apart in a row
    apart = spatial.position_score(LEFT, RIGHT, "near", Quirks(near_along_one_axis=False))
    assert apart == pytest.approx(150 / 300)

    nearby = "a cat on the left of a dog nearby"
    assert spatial.locality(nearby) == "near"
    assert spatial.locality(nearby, Quirks(near_inside_words=False)) == "on the left of"

    beside = "The cat is on the side of the dog ."
    missed = spatial.score(beside, words(beside, "cat", "dog"), [], complex_prompt=True)
    assert (missed.obj1, missed.locality) == (None, None)
    corrected = spatial.score(
        beside,
        words(beside, "cat", "dog"),
        [cat, dog],
        complex_prompt=True,
        quirks=Quirks(phrases_missed=False),
    )
    assert (corrected.obj1, corrected.obj2, corrected.locality) == ("cat", "dog", "on the side of")
    assert corrected.score > 0.5


def test_a_prompt_without_a_noun_is_told() -> None:
    with pytest.raises(BadInput, match="has no noun"):
        spatial.score("so red", words("so red"), [])


# -- 3D --------------------------------------------------------------------------------------------


def painted(case: dict[str, Any]) -> np.ndarray:
    about = case["depth"]
    image = np.full((about["height"], about["width"]), about["background"] / 255, np.float32)
    for x0, y0, x1, y1, value in about["rects"]:
        image[y0:y1, x0:x1] = np.float32(value / 255)
    return image


def test_3d_reproduces_the_official_code(reference_data: Path) -> None:
    changed = 0
    for case in cases(reference_data, "compbench_3d_spatial", 52):
        image = painted(case)
        result = depth.score(case["prompt"], tokens(case), detections(case), image)
        expected = dict(case["expected"])
        corrected = expected.pop("position_score_if_axes_were_row_col", None)
        names = {"position_score": "position"}
        for name, value in expected.items():
            ours = getattr(result, names.get(name, name))
            if isinstance(value, float):
                assert ours == pytest.approx(value, abs=CLOSE), (case["id"], name)
            else:
                assert ours == value, (case["id"], name)
        if corrected is not None:
            upright = depth.score(
                case["prompt"],
                tokens(case),
                detections(case),
                image,
                quirks=Quirks(depth_axes_swapped=False),
            )
            assert upright.position == pytest.approx(corrected, abs=CLOSE)
            changed += upright.position != result.position
    assert changed > 10  # the switch does something on the very same cases


def test_the_depth_pipeline_reproduces_the_official_code(reference_data: Path) -> None:
    for case in cases(reference_data, "compbench_3d_depth_pipeline", 10):
        network, expected = case["dpt_output"], case["expected"]
        grid = np.array(network["grid"], np.float32)
        places = np.arange(network["width"]) * len(grid) // network["width"]
        raw = grid[np.ix_(places, places)]
        source = (case["source_image"]["width"], case["source_image"]["height"])
        frame = frame_size(*source)
        assert frame == (case["image"]["width"], case["image"]["height"])
        stored = depth.as_stored(raw, source)
        assert int(stored.sum(dtype=np.int64)) == expected["saved_png_u8_sum"]
        image = depth.depth_map(raw, source, frame)
        levels = np.rint(image * 255).astype(np.int64)
        assert int(levels.sum()) == expected["depth_u8_sum"]
        points = expected["depth_sample_points"]
        assert levels[np.ix_(points, points)].tolist() == expected["depth_u8_rows"]
        result = depth.score(case["prompt"], tokens(case), detections(case), image)
        assert result.position == pytest.approx(expected["position_score"], abs=CLOSE)
        assert result.score == pytest.approx(expected["score"], abs=CLOSE)


def test_a_flat_depth_is_no_number_of_its_own() -> None:
    flat = depth.depth_map(np.full((8, 8), 3.0, np.float32), (32, 32), (479, 479))
    assert not flat.any()


def test_substrings_are_corrected_to_whole_words() -> None:
    image = np.zeros((479, 479), np.float32)
    carrot = [FramedObject("carrot", 0.8, LEFT), FramedObject("race car", 0.4, RIGHT)]
    prompt = "a car behind a horse"
    tagged = words(prompt, "car", "horse")
    assert depth.score(prompt, tagged, carrot, image).obj1_index == 0
    assert depth.score(prompt, tagged, carrot, image, quirks=CORRECTED).obj1_index == 1


# -- numeracy --------------------------------------------------------------------------------------


@pytest.fixture
def plurals(reference_data: Path) -> dict[str, str]:
    return numeracy.read_objects((reference_data / "prompts" / "new_objects.txt").read_text())


def test_numeracy_reproduces_the_official_code(
    reference_data: Path, plurals: dict[str, str]
) -> None:
    for case in cases(reference_data, "compbench_numeracy", 56):
        expected = case["expected"]
        asked = numeracy.asked_counts(case["tokens"], plurals)
        assert [one.word for one in asked] == expected["objects"], case["id"]
        assert [one.number for one in asked] == expected["numbers"], case["id"]
        result = numeracy.score(asked, detections(case))
        assert list(result.labels_after_dedup) == expected["labels_after_dedup"], case["id"]
        assert list(result.labels_after_renaming) == expected["labels_after_renaming"], case["id"]
        assert result.score == pytest.approx(expected["score"], abs=CLOSE), case["id"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Two dogs", "names no number"),
        ("two dog", "says 'two' of 'dog'"),
        ("dogs and two", "ends with the number 'two'"),
        ("", "names no number"),
    ],
)
def test_what_the_official_code_breaks_at_is_told(
    text: str, told: str, plurals: dict[str, str]
) -> None:
    with pytest.raises(BadInput, match=told):
        numeracy.asked_counts(text.split(), plurals)


def test_a_damaged_list_of_objects_is_told() -> None:
    with pytest.raises(BadInput, match=r"line 2 of new_objects\.txt"):
        numeracy.read_objects("cat - cats\ndogs\n")


@given(st.lists(boxes, max_size=8))
def test_duplicates_are_dropped_once_and_for_all(found: list[FrameBox]) -> None:
    objects = [FramedObject("cat", 0.9, box) for box in found]
    kept = numeracy.without_duplicates(objects)
    assert numeracy.without_duplicates(kept) == kept
    assert bool(kept) == bool(objects)


def test_numeracy_with_whole_words() -> None:
    found = [FramedObject("carrot", 1, LEFT), FramedObject("race car", 1, RIGHT)]
    asked = [numeracy.Count("car", 1)]
    assert numeracy.score(asked, found).score == 0.5
    assert numeracy.score(asked, found, quirks=CORRECTED).score == 1


# -- attributes ------------------------------------------------------------------------------------


def test_vqa_reproduces_the_official_code(reference_data: Path) -> None:
    for case in cases(reference_data, "compbench_blip_vqa", 24):
        expected = case["expected"]
        asked = vqa.questions(case["noun_chunks"], case["np_num"])
        assert asked == expected["questions"], case["id"]
        assert [vqa.model_question(one) for one in asked] == expected["model_questions"]
        answers = [vqa.answer(*logits) for logits in case["logits_yes_no"]]
        assert answers[: len(asked)] == expected["answers"], case["id"]
        assert answers[len(asked) :] == expected["ignored_answers"], case["id"]
        assert vqa.score(answers[: len(asked)]) == expected["score"], case["id"]


@given(st.floats(-80, 80), st.floats(-80, 80))
def test_yes_and_no_share_one(yes: float, no: float) -> None:
    assert float(vqa.answer(yes, no)) + float(vqa.answer(no, yes)) == pytest.approx(1, abs=2e-4)


def test_long_and_odd_questions() -> None:
    long = " ".join(["word"] * 60)
    assert len(vqa.model_question(long).split()) == 50
    assert vqa.model_question('A "RED" (dog)... ?  ') == "a red dog ?"
    assert vqa.score([]) == "1.0000"


# -- complex ---------------------------------------------------------------------------------------


def prompt_list(reference_data: Path, name: str) -> list[str]:
    return (reference_data / "prompts" / name).read_text().rstrip("\n").split("\n")


def test_3in1_reproduces_the_official_code(reference_data: Path) -> None:
    lists = [
        prompt_list(reference_data, f"complex_val_{kind}.txt") for kind in ("spatial", "action")
    ]
    for case in cases(reference_data, "compbench_3in1", 30):
        kind = complex_prompts.kind(
            case["prompt"],
            case.get("spatial_list", lists[0]),
            case.get("action_list", lists[1]),
        )
        assert kind == case["expected"]["category"], case["id"]
        parts = zip(case["attribute"], case["spatial"], case["clip"], strict=True)
        scores = [
            complex_prompts.score(kind, attribute=float(a), spatial=s, clip=c) for a, s, c in parts
        ]
        assert scores == pytest.approx(case["expected"]["scores"], abs=CLOSE), case["id"]


def test_every_complex_prompt_has_its_official_kind(reference_data: Path) -> None:
    lists = [
        prompt_list(reference_data, f"complex_val_{kind}.txt") for kind in ("spatial", "action")
    ]
    kinds = [
        (complex_prompts.kind(case["prompt"], *lists), case["category"])
        for case in cases(reference_data, "compbench_3in1_categories", 300)
    ]
    assert all(ours == theirs for ours, theirs in kinds)
    assert sorted(theirs for _, theirs in kinds).count("spatial") == 58


def test_the_documented_calls_are_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert code.count("assert") == 6
    exec(compile(code, "docs/benchmarks.md", "exec"), {})


# -- quirks ----------------------------------------------------------------------------------------


def test_official_mends_nothing_and_corrected_all() -> None:
    assert OFFICIAL.corrected() == ()
    assert len(CORRECTED.corrected()) == 6
    assert Quirks(on_top_of_hole=False).corrected() == ("on_top_of_hole",)


@given(boxes, boxes, st.floats(0, 1), st.floats(0, 1))
def test_a_score_in_depth_stays_a_share(
    one: FrameBox, other: FrameBox, mean1: float, mean2: float
) -> None:
    overlap = iou(one, other)
    behind, front = (
        depth.position_score(overlap, mean1, mean2, text) for text in ("behind", "in front of")
    )
    assert 0 <= min(behind, front) == 0
    assert max(behind, front) <= 1
    assume(overlap not in (0, 0.5) and mean1 != mean2)
    assert max(behind, front) > 0
