"""Geometry by hand-computed numbers, and drawings of plans by what must be seen on them."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.plan.layout import (
    RELATIONS,
    assign,
    centre,
    draw_plan,
    gap,
    iou,
    match_boxes,
    relation_holds,
)
from got_r1.records import Box, PlannedObject

coordinates = st.tuples(st.integers(0, 999), st.integers(0, 999)).map(sorted)
boxes = st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), coordinates, coordinates)

# -- IoU and matching ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Box(0, 0, 10, 10), Box(0, 0, 10, 10), 1.0),
        (Box(0, 0, 10, 10), Box(5, 0, 15, 10), 50 / 150),
        (Box(0, 0, 10, 10), Box(5, 5, 15, 15), 25 / 175),
        (Box(0, 0, 10, 10), Box(2, 2, 4, 4), 4 / 100),
        (Box(0, 0, 10, 10), Box(10, 0, 20, 10), 0.0),
        (Box(0, 0, 10, 10), Box(5, 5, 5, 9), 0.0),
        (Box(5, 5, 5, 5), Box(5, 5, 5, 5), 0.0),
    ],
)
def test_iou(a, b, expected):
    assert iou(a, b) == pytest.approx(expected)


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a, b):
    assert 0 <= iou(a, b) <= 1
    assert iou(a, b) == iou(b, a)


def test_centre_and_gap():
    assert centre(Box(0, 10, 5, 20)) == (2.5, 15)
    assert gap(Box(0, 0, 10, 10), Box(30, 14, 40, 20)) == 20
    assert gap(Box(30, 14, 40, 20), Box(0, 0, 10, 10)) == 20
    assert gap(Box(0, 0, 10, 10), Box(5, 5, 15, 15)) == 0


def test_matching_finds_the_best_total_not_the_best_first_pair():
    # Row 0 likes column 0 best (0.9), but then row 1 would get nothing.
    assert assign(np.array([[0.9, 0.8], [0.7, 0.0]])) == ((0, 1), (1, 0))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_matching_nothing(shape):
    assert assign(np.zeros(shape)) == ()


def test_boxes_without_overlap_stay_unmatched():
    planned = [Box(0, 0, 10, 10), Box(500, 500, 600, 600)]
    found = [Box(505, 500, 605, 600), Box(800, 0, 900, 100)]
    assert match_boxes(planned, found) == ((1, 0),)
    assert match_boxes([], found) == ()


@given(st.lists(boxes, max_size=4), st.lists(boxes, max_size=4))
def test_no_other_matching_has_a_larger_total(planned, found):
    pairs = match_boxes(planned, found)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    total = sum(iou(planned[i], found[j]) for i, j in pairs)
    few, many = sorted((planned, found), key=len)
    best = max(sum(map(iou, few, chosen)) for chosen in permutations(many, len(few)))
    assert total == pytest.approx(best)


# -- relations -----------------------------------------------------------------------------------


def square(x: int, y: int, side: int = 100) -> Box:
    return Box(x - side // 2, y - side // 2, x + side // 2, y + side // 2)


B = square(500, 500)


@pytest.mark.parametrize(
    ("a", "holding"),
    [
        (square(200, 500), {"left", "next to", "near", "on side of"}),
        (square(800, 500), {"right", "next to", "near", "on side of"}),
        (square(500, 200), {"top", "next to", "near"}),
        (square(500, 800), {"bottom", "next to", "near"}),
        (square(100, 500), {"left"}),  # a gap of 300
        (square(200, 210), {"left", "next to", "near", "on side of"}),  # mainly left
        (square(200, 200), {"next to", "near"}),  # as far up as left: no direction
        (square(150, 500), {"left", "next to", "near", "on side of"}),  # a gap of just 250
        (square(149, 500), {"left"}),
        (square(490, 500), set()),  # overlapping
        (square(410, 500), {"left", "next to", "near", "on side of"}),  # an IoU of .053 is allowed
    ],
)
def test_which_relations_hold(a, holding):
    assert {relation for relation in RELATIONS if relation_holds(relation, a, B)} == holding


def test_there_are_the_seven_relations_of_the_benchmark():
    assert RELATIONS == ("left", "right", "top", "bottom", "next to", "near", "on side of")


@given(boxes, boxes)
def test_converses_and_symmetries(a, b):
    for relation, converse in (("left", "right"), ("top", "bottom"), ("next to", "next to"),
                               ("near", "near"), ("on side of", "on side of")):  # fmt: skip
        assert relation_holds(relation, a, b) == relation_holds(converse, b, a)
    directions = [relation_holds(r, a, b) for r in ("left", "right", "top", "bottom")]
    assert sum(directions) <= 1


# -- drawing -------------------------------------------------------------------------------------


def colours(image: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0)}


def plate_of(image: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of the region that is densely of one colour (the label, not the outline)."""
    mask = (image == colour).all(-1)
    # Outlines are 3 px: a pixel whose neighbours 4 to the right and 4 below are alike is plate.
    dense = mask[:-4, :-4] & mask[4:, :-4] & mask[:-4, 4:] & mask[4:, 4:]
    ys, xs = np.nonzero(dense)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 4, int(ys.max()) + 4


RED, BLUE = (192, 28, 40), (26, 95, 180)  # the first two colours of the palette


def test_the_canvas_is_blank_without_objects():
    image = draw_plan([], (30, 20))
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert (image == 255).all()


def test_a_box_is_drawn_where_it_is_planned():
    image = draw_plan([PlannedObject("heart", Box(250, 500, 750, 999))], (400, 400))
    mask = (image == RED).all(-1)
    ys, xs = np.nonzero(mask)
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (100, 200, 300, 399)
    assert mask[300, 100:102].all()  # its sides
    assert mask[300, 299:301].all()
    assert not mask[300, 110:290].any()  # and nothing inside


def test_the_name_stands_at_the_top_left_corner():
    image = draw_plan([PlannedObject("heart", Box(250, 500, 750, 999))], (512, 512))
    x1, y1, _, y2 = plate_of(image, RED)
    assert abs(x1 - 128) <= 2
    assert abs(y1 - 256) <= 2
    assert (image[y1:y2, x1 : x1 + 40] == 255).all(-1).any()  # white letters on the plate


def letters(plan: list[PlannedObject]) -> int:
    """Pixels of the soft edges of letters: neither white nor a colour of the palette."""
    image = draw_plan(plan, (512, 512))
    soft = (image != 255).any(-1)
    for colour in (RED, BLUE):
        soft &= (image != colour).any(-1)
    return int(soft.sum())


@pytest.mark.parametrize(
    "box",
    [Box(0, 0, 100, 100), Box(899, 0, 999, 100), Box(0, 980, 50, 999), Box(990, 990, 999, 999),
     Box(0, 0, 999, 999), Box(999, 999, 999, 999)],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cat", "a rather long name of an object"])
def test_labels_are_whole_wherever_the_box_is(box, name):
    in_the_middle = letters([PlannedObject(name, Box(300, 400, 700, 800))])
    assert in_the_middle > 50
    assert letters([PlannedObject(name, box)]) == in_the_middle


@pytest.mark.parametrize(
    "other", [Box(300, 300, 700, 700), Box(310, 310, 600, 600), Box(290, 320, 300, 330)]
)
def test_labels_of_overlapping_boxes_do_not_hide_each_other(other):
    first = PlannedObject("first", Box(300, 300, 700, 700))
    second = PlannedObject("second", other)
    assert letters([first, second]) == letters([first]) + letters([second])


def test_a_flat_box_is_not_hidden_under_its_label():
    image = draw_plan([PlannedObject("heart", Box(400, 500, 500, 520))], (512, 512))
    assert (image[259:264, 208:253] == 255).all()  # the inside of the box is empty


def test_ten_objects_have_ten_colours():
    plan = [PlannedObject(f"n{at}", Box(at, at, at + 80, at + 80)) for at in range(0, 900, 90)]
    image = draw_plan(plan)
    # An outline alone has more than 200 pixels; letters' soft edges have few of any one colour.
    frequent = {c for c in colours(image) if (image == c).all(-1).sum() > 200}
    assert len(frequent - {(255, 255, 255)}) == 10


@given(
    st.lists(st.builds(PlannedObject, st.text(min_size=1, max_size=300), boxes), max_size=3),
    st.tuples(st.integers(16, 200), st.integers(16, 200)),
)
def test_any_plan_can_be_drawn(plan, size):
    image = draw_plan(plan, size)
    assert image.shape == (size[1], size[0], 3)
    assert np.array_equal(image, draw_plan(plan, size))


def test_lone_surrogates_in_a_name_are_no_error():
    assert draw_plan([PlannedObject("a\ud800", Box(0, 0, 500, 500))]).shape == (512, 512, 3)
