"""Coordinates by hand, and what must hold for any box."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from got_r1.records import Box
from got_r1.vision.base import Detection
from got_r1.vision.batches import as_pictures, same_shape
from got_r1.vision.boxes import corners, overlap, suppressed, to_thousandths


def test_corners_scale_each_side_by_its_own_length():
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.9, 0.1, 0.4, 0.4]])
    assert corners(boxes, (200, 100)).tolist() == [
        pytest.approx([80, 30, 120, 70]),
        pytest.approx([140, 0, 200, 30]),  # cut to the image
    ]


def test_corners_in_a_larger_frame():
    """A wide image padded below to a square: heights are shares of the width."""
    boxes = torch.tensor([[0.5, 0.25, 0.5, 0.25]])
    assert corners(boxes, (200, 100), frame=(200, 200)).tolist() == [[50, 25, 150, 75]]


def test_overlap_by_hand():
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0
    assert overlap((3, 3, 3, 9), (3, 3, 3, 9)) == 0


def test_the_more_confident_one_of_a_label_survives():
    first = Detection("heart", (0, 0, 10, 10), 0.5)
    again = Detection("heart", (1, 0, 11, 10), 0.9)
    other = Detection("star", (0, 0, 10, 10), 0.7)
    apart = Detection("heart", (20, 0, 30, 10), 0.4)
    assert suppressed([first, again, other, apart], 0.5) == [again, other, apart]
    assert suppressed([first, again, other, apart], 1.0) == [again, other, first, apart]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 384, 384), Box(0, 0, 999, 999)),
        ((96, 192, 288, 384), Box(250, 500, 749, 999)),  # 249.75, 499.5, 749.25
        ((-5, 390, 2, 400), Box(0, 998, 5, 999)),
        ((384, 384, 384, 384), Box(998, 998, 999, 999)),
        ((100, 100, 100, 100), Box(260, 260, 261, 261)),
    ],
)
def test_thousandths_by_hand(box, expected):
    assert to_thousandths(box, 384, 384) == expected


sides = st.integers(1, 4000)
places = st.floats(-10, 4010)


@given(st.tuples(places, places, places, places), sides, sides)
def test_thousandths_are_a_box_that_a_plan_could_have(values, width, height):
    x1, x2 = sorted(values[::2])
    y1, y2 = sorted(values[1::2])
    box = to_thousandths((x1, y1, x2, y2), width, height)
    assert 0 <= box.x1 < box.x2 <= 999
    assert 0 <= box.y1 < box.y2 <= 999


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5))
def test_batches_hold_equals_and_miss_nothing(keys, batch):
    groups = list(same_shape(keys, batch))
    assert sorted(index for group in groups for index in group) == list(range(len(keys)))
    assert all(0 < len(group) <= batch for group in groups)
    assert all(len({keys[index] for index in group}) == 1 for group in groups)


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4), (4, 4, 4)])
def test_only_rgb_arrays_are_pictures(shape):
    with pytest.raises(ValueError, match="must be uint8"):
        as_pictures([np.zeros(shape, dtype=np.uint8)])
    with pytest.raises(ValueError, match="float32"):
        as_pictures([np.zeros((4, 4, 3), dtype=np.float32)])
