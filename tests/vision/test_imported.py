"""Detections made elsewhere: what is read, and that nothing doubtful is read silently."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.vision.base import Detection
from got_r1.vision.imported import read_detections

HEART = {"label": "heart", "box": [10, 20.5, 110, 220], "score": 0.75}
STAR = {"label": "star", "box": [0, 0, 479, 479], "score": 1}


def line(image: str = "a heart_000000.png", size=(479, 479), detections=(HEART,)) -> dict:
    return {"image": image, "size": list(size), "detections": list(detections)}


def write(folder: Path, *lines: object) -> Path:
    path = folder / "detections.jsonl"
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def test_a_file_is_read_in_its_order(tmp_path):
    path = write(tmp_path, line(detections=[HEART, STAR]), line("b.png", (640, 480), []))
    found = read_detections(path)
    [first, nothing] = found.of(["a heart_000000.png", "b.png"], [(479, 479), (640, 480)])
    assert first == (
        Detection("heart", (10.0, 20.5, 110.0, 220.0), 0.75),
        Detection("star", (0.0, 0.0, 479.0, 479.0), 1.0),
    )
    assert nothing == ()
    assert found.name == "imported from detections.jsonl"


def test_asking_in_another_order_or_for_fewer(tmp_path):
    path = write(tmp_path, line("a"), line("b", detections=[]), line("c", detections=[STAR]))
    found = read_detections(path).of(["c", "a"], [(479, 479)] * 2)
    assert [one[0].label for one in found] == ["star", "heart"]


def test_blank_lines_and_a_mark_at_the_start_do_not_matter(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text("\n" + json.dumps(line()) + "\n\n", encoding="utf-8-sig")
    assert len(read_detections(path).images) == 1


def test_missing_images_are_listed(tmp_path):
    found = read_detections(write(tmp_path, line("a")))
    names = ["a", *(f"{index}.png" for index in range(7))]
    with pytest.raises(BadInput, match=r"no detections of 7 images: 0\.png, .*4\.png and 2 more"):
        found.of(names, [(479, 479)] * 8)


def test_another_image_size_is_refused(tmp_path):
    found = read_detections(write(tmp_path, line("a", (480, 479), [])))
    with pytest.raises(BadInput, match=r"another image size: 1 image: a \(480 x 479, not 479 x"):
        found.of(["a"], [(479, 479)])


def test_an_image_twice_is_refused(tmp_path):
    path = write(tmp_path, line("a"), line("b"), line("a"))
    with pytest.raises(BadInput, match=r"line 3 of .* 'a' a second time \(first in line 1\)"):
        read_detections(path)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "must be an object with the keys image, size, detections"),
        ({"image": "a", "size": [1, 1]}, "it has 'image', 'size'"),
        ({**line(), "extra": 1}, "keys image, size, detections"),
        (line(""), "must be a file's name"),
        ({**line(), "image": 3}, "must be a file's name"),
        (line("samples/a.png"), "give the file's name alone"),
        (line(size=(479,)), "whole pixels"),
        (line(size=(0, 479)), "whole pixels"),
        (line(size=(479.0, 479)), "whole pixels"),
        (line(size=(True, 479)), "whole pixels"),
        ({**line(), "detections": None}, "must be a list"),
        (line(detections=["heart"]), "detection 1 in line 1"),
        (line(detections=[HEART, {**HEART, "label": " "}]), "'label' of detection 2"),
        (line(detections=[{**HEART, "box": [1, 2, 3]}]), "four numbers"),
        (line(detections=[{**HEART, "box": [1, 2, 3, "4"]}]), "four numbers"),
        (line(detections=[{**HEART, "box": [1, 2, 3, float("nan")]}]), "four numbers"),
        (line(detections=[{**HEART, "box": [1, 2, 3, 10**400]}]), "four numbers"),
        (line(detections=[{**HEART, "box": [5, 2, 3, 4]}]), "reversed"),
        (line(detections=[{**HEART, "box": [0, 0, 481, 4]}]), "outside of its image of 479 x 479"),
        (line(detections=[{**HEART, "box": [-2, 0, 4, 4]}]), "outside of its image"),
        (line(detections=[{**HEART, "score": 1.01}]), r"in \[0, 1\]"),
        (line(detections=[{**HEART, "score": float("nan")}]), r"in \[0, 1\]"),
        (line(detections=[{**HEART, "score": True}]), r"in \[0, 1\]"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, bad, why):
    with pytest.raises(BadInput, match=why) as error:
        read_detections(write(tmp_path, bad))
    assert "line 1 of" in str(error.value)


def test_an_empty_or_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is empty"):
        read_detections(write(tmp_path, ""))
    with pytest.raises(BadInput, match="there is no detections file"):
        read_detections(tmp_path / "nowhere.jsonl")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["image", "size", "detections", "label", "box", "score"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["image", "size", "detections"]), json_values))
def test_any_json_is_read_or_refused_in_a_sentence(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("any") / "d.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    try:
        [image] = read_detections(path).images.values()
    except BadInput:
        return
    assert all(0 <= one.score <= 1 for one in image.detections)
