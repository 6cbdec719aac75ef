"""Repaired layouts: what must always hold, and the least movement against a search by hand."""

import math
from itertools import combinations, product

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from got_r1.plan.layout import RELATIONS, gap, iou, relation_holds
from got_r1.plan.repair import repair_layout
from got_r1.records import Box

GRIDS = (4, 10, 24)


@st.composite
def boxes(draw, largest=500):
    width, height = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    x, y = draw(st.integers(0, 999 - width)), draw(st.integers(0, 999 - height))
    return Box(x, y, x + width, y + height)


layouts = st.lists(boxes(), min_size=2, max_size=4)
relations = st.sampled_from(RELATIONS)


def size(box: Box) -> tuple[int, int]:
    """Width and height of a box whose far edge may be the border (999 stands for 1000)."""
    ends = [1000 if end == 999 else end for end in (box.x2, box.y2)]
    return ends[0] - box.x1, ends[1] - box.y1


def overlapping(layout) -> set[tuple[int, int]]:
    return {(i, j) for i, j in combinations(range(len(layout)), 2) if iou(layout[i], layout[j]) > 0}


def moved(before, after) -> float:
    return sum(math.hypot(a.x1 - b.x1, a.y1 - b.y1) for a, b in zip(before, after, strict=True))


# -- what always holds ---------------------------------------------------------------------------


@settings(max_examples=60)
@given(layouts, relations, st.sampled_from(GRIDS))
@example([Box(0, 0, 400, 400), Box(599, 0, 999, 400)], "right", 10)
def test_a_repaired_layout_holds_what_was_asked_and_nothing_else_changes(layout, relation, grid):
    after = repair_layout(layout, (0, 1), relation, grid)
    assert after is not None, "two boxes of half the image at most always have a place"
    assert relation_holds(relation, after[0], after[1])
    assert list(after[2:]) == layout[2:]
    for box, was in zip(after, layout, strict=True):
        assert 0 <= box.x1 < box.x2 <= 999
        assert 0 <= box.y1 < box.y2 <= 999
        assert size(box) == size(was)
    if relation_holds(relation, layout[0], layout[1]):
        assert list(after) == layout
    assert repair_layout(after, (0, 1), relation, grid) == after, "what is repaired stays"


@settings(max_examples=60)
@given(layouts, relations)
def test_new_overlaps_come_only_where_every_place_has_one(layout, relation):
    after = repair_layout(layout, (0, 1), relation, 4)
    new = overlapping(after) - overlapping(layout)
    if new:
        fewest = min(len(overlapping(other) - overlapping(layout)) for other in places(layout, 4)
                     if relation_holds(relation, *other[:2]))  # fmt: skip
        assert len(new) == fewest


def places(layout, grid):
    """Every layout that moving the first two can give, written down in another way."""

    def of(box: Box):
        for x, y in product(starts(box.x1, size(box)[0]), starts(box.y1, size(box)[1])):
            yield Box(x, y, min(999, x + size(box)[0]), min(999, y + size(box)[1]))

    def starts(low: int, length: int):
        last = min(1000 - length, 998)
        found = {0, last, low}
        for k in range(1, grid + 1):
            found |= {low + round(k * 1000 / grid), low - round(k * 1000 / grid)}
        return sorted(at for at in found if 0 <= at <= last)

    for one, two in product(of(layout[0]), of(layout[1])):
        yield [one, two, *layout[2:]]


@settings(max_examples=25)
@given(st.lists(boxes(300), min_size=2, max_size=3), relations)
def test_no_clear_place_is_nearer_and_without_one_no_place_at_all(layout, relation):
    assume(not relation_holds(relation, layout[0], layout[1]))
    grid, step = 5, 200
    after = repair_layout(layout, (0, 1), relation, grid)

    def is_clear(other) -> bool:
        a, b = other[:2]
        dx, dy = a.x1 + a.x2 - b.x1 - b.x2, a.y1 + a.y2 - b.y1 - b.y2
        leads = {"left": -dx - abs(dy), "right": dx - abs(dy), "top": -dy - abs(dx)}
        leads |= {"bottom": dy - abs(dx), "on side of": abs(dx) - abs(dy)}
        clearly = leads.get(relation, 1000) >= 2 * step - 1
        near = relation not in ("next to", "near", "on side of") or 250 - gap(a, b) >= step - 1
        apart = gap(a, b) >= step and all(
            gap(other[i], o) >= min(step, gap(layout[i], o)) for i in (0, 1) for o in layout[2:]
        )
        return clearly and near and apart and overlapping(other) <= overlapping(layout)

    held = [other for other in places(layout, grid) if relation_holds(relation, *other[:2])]
    clear = [other for other in held if is_clear(other)]
    fewest = min(len(overlapping(other) - overlapping(layout)) for other in held)
    calm = [other for other in held if len(overlapping(other) - overlapping(layout)) == fewest]
    assert moved(layout, after) == pytest.approx(
        min(moved(layout, other) for other in clear or calm), abs=1e-3
    )


# -- by hand -------------------------------------------------------------------------------------


def cells(x: int, y: int, width: int, height: int) -> Box:
    return Box(*(min(999, 100 * v) for v in (x, y, x + width, y + height)))


def test_one_step_suffices_where_one_is_missing():
    # Four cells to the left and four up is no direction; four and three is, clearly, by one cell.
    # Either box could move, and for "top" also down; of equal ways the first box stays.
    before = [cells(0, 0, 3, 3), cells(4, 4, 3, 3)]
    assert repair_layout(before, (0, 1), "left", 10) == (cells(0, 0, 3, 3), cells(4, 3, 3, 3))
    assert repair_layout(before, (0, 1), "top", 10) == (cells(0, 0, 3, 3), cells(4, 5, 3, 3))


def lead(relation, one, two) -> float:
    """By how many thousandths the asked axis leads, between centres."""
    dx = (one.x1 + one.x2 - two.x1 - two.x2) / 2
    dy = (one.y1 + one.y2 - two.y1 - two.y2) / 2
    along = {"left": -dx, "right": dx, "top": -dy, "bottom": dy}[relation]
    return along - abs(dy if relation in ("left", "right") else dx)


def test_a_margin_moves_what_holds_by_too_little():
    before = [cells(0, 0, 3, 3), cells(4, 3, 3, 3)]
    assert repair_layout(before, (0, 1), "left", 10) == tuple(before)
    for margin, distance in ((0.1, 0), (0.2, 100), (0.3, math.hypot(100, 100))):
        after = repair_layout(before, (0, 1), "left", 10, margin)
        assert lead("left", *after) >= 1000 * margin - 1
        assert moved(before, after) == pytest.approx(distance, abs=1)


@settings(max_examples=60)
@given(layouts, st.sampled_from(["left", "right", "top", "bottom"]), st.floats(0.05, 0.6))
def test_a_margin_is_kept_where_there_is_room_and_costs_nothing_else(layout, relation, margin):
    plain = repair_layout(layout, (0, 1), relation, 10)
    after = repair_layout(layout, (0, 1), relation, 10, margin)
    assert relation_holds(relation, *after[:2])
    if after != plain:  # where a margin changes anything it is reached, in a clear place
        assert lead(relation, *after[:2]) >= 1000 * margin - 1
        assert not (overlapping(after) - overlapping(layout))
        assert repair_layout(after, (0, 1), relation, 10, margin) == after
    assert [size(box) for box in after] == [size(box) for box in layout]


@pytest.mark.parametrize("relation", ["next to", "near", "on side of"])
def test_relations_without_a_direction_have_no_margin(relation):
    before = [cells(0, 0, 3, 3), cells(7, 4, 3, 3)]
    assert repair_layout(before, (0, 1), relation, 10, 0.4) == repair_layout(
        before, (0, 1), relation, 10
    )


def test_boxes_on_the_grid_stay_on_it_the_border_included():
    before = [cells(7, 0, 3, 3), cells(0, 0, 4, 4)]
    one, two = repair_layout(before, (0, 1), "left", 10)
    assert {value for box in (one, two) for value in (box.x1, box.y1, box.x2, box.y2)} <= {
        *range(0, 1000, 100),
        999,
    }
    assert relation_holds("left", one, two)
    assert gap(one, two) >= 99


def test_a_third_box_is_walked_around():
    before = [cells(7, 4, 3, 3), cells(0, 0, 3, 3), cells(0, 4, 3, 3)]
    after = repair_layout(before, (0, 1), "left", 10)
    assert after[2] == before[2]
    assert not overlapping(after)


def test_boxes_too_large_to_stand_side_by_side_are_not_repaired():
    large = [Box(0, 0, 999, 999), Box(100, 100, 900, 900)]
    assert repair_layout(large, (0, 1), "left", 10) is None
    assert repair_layout([Box(0, 0, 600, 999), Box(0, 0, 600, 999)], (1, 0), "left", 10) is None


def test_the_order_of_the_objects_does_not_matter():
    before = [cells(0, 7, 3, 3), cells(7, 0, 3, 3), cells(0, 0, 3, 3)]
    after = repair_layout(before, (1, 2), "left", 10)
    assert after[0] == before[0]
    assert relation_holds("left", after[1], after[2])
