"""Relations in depth, plans drawn in depth and time, and what is right, repaired or undecided."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from got_r1.files.sample_files import named_box
from got_r1.plan.chain import format_chain, parse
from got_r1.plan.layout import (
    DEPTH_RELATIONS,
    OVERLAP_LIMIT,
    RELATIONS,
    draw_plan,
    frame_times,
    iou,
    relation_holds,
)
from got_r1.plan.planning import score_by_geometry
from got_r1.plan.reading import paraphrases, read
from got_r1.plan.repair import asked_relation_is_undecided, repair, repair_layout
from got_r1.plan.wordings import CONVERSES
from got_r1.records import Box, Chain, PlannedObject, Prompt

NEAR, FAR = Box(100, 100, 500, 500, depth=1), Box(300, 300, 700, 700, depth=0)
FRONT = Prompt("a star in front of a heart")


def flat(box: Box) -> Box:
    return replace(box, depth=None)


@st.composite
def boxes(draw):
    width, height = draw(st.integers(100, 500)), draw(st.integers(100, 500))
    x, y = draw(st.integers(0, 999 - width)), draw(st.integers(0, 999 - height))
    return Box(x, y, x + width, y + height, draw(st.none() | st.integers(0, 3)))


def plan(star: Box, heart: Box, words: str = " in front of a ") -> Chain:
    parts = ["A ", PlannedObject("star", star), words, PlannedObject("heart", heart), "."]
    return parse(format_chain(parts), marks=True)


# -- relations -----------------------------------------------------------------------------------


@given(boxes(), boxes(), st.sampled_from(DEPTH_RELATIONS))
def test_larger_depth_is_nearer_and_only_overlapping_boxes_cover(a, b, relation):
    holds = relation_holds(relation, a, b)
    assert holds == relation_holds(CONVERSES[relation], b, a)
    nearer, farther = (a, b) if relation == "in front of" else (b, a)
    decided = None not in (a.depth, b.depth)
    assert holds == (
        decided and iou(a, b) >= OVERLAP_LIMIT and nearer.depth > farther.depth
    )  # fmt: skip
    if holds:
        assert not any(relation_holds(other, a, b) for other in RELATIONS)


@given(boxes(), boxes(), st.sampled_from((*RELATIONS, *DEPTH_RELATIONS)))
def test_nothing_holds_between_boxes_of_different_times(a, b, relation):
    at_once = relation_holds(relation, replace(a, time=3), replace(b, time=3))
    assert at_once == relation_holds(relation, a, b)
    assert relation_holds(relation, replace(a, time=3), b) == at_once
    assert not relation_holds(relation, replace(a, time=3), replace(b, time=4))


def test_paraphrases_of_depth_are_read_back():
    asked = read("a mouse hidden by a key")
    assert asked is not None
    sentences = paraphrases(asked)
    assert sentences["other words"] == "a mouse hidden by a key"
    assert sentences["converse"] == "a key in front of a mouse"
    for form, sentence in sentences.items():
        said = read(sentence)
        assert said is not None
        names = [thing.name for thing in said.objects]
        converse = form.startswith("converse")
        assert (names, said.relation) == (
            (["key", "mouse"], "in front of") if converse else (["mouse", "key"], "behind")
        )


# -- plans as drawings ---------------------------------------------------------------------------


def test_nearer_boxes_cover_farther_ones_whatever_their_order():
    near, far = PlannedObject("star", NEAR), PlannedObject("heart", FAR)
    one = draw_plan([near, far])
    corner = one[int(0.31 * 512), int(0.48 * 512)]  # inside of both, no outline or label
    alone = draw_plan([near])[int(0.31 * 512), int(0.48 * 512)]
    assert (corner == alone).all()
    assert (alone < 255).any()
    exchanged = draw_plan(
        [replace(near, box=replace(NEAR, depth=0)), replace(far, box=replace(FAR, depth=1))]
    )
    assert (exchanged[int(0.31 * 512), int(0.48 * 512)] != corner).any()


def test_a_plan_without_depth_is_drawn_as_outlines():
    objects = [PlannedObject("star", flat(NEAR)), PlannedObject("heart", flat(FAR))]
    drawn = draw_plan(objects)
    assert (drawn[int(0.31 * 512), int(0.48 * 512)] == 255).all()
    assert frame_times(objects) == ()


def test_times_are_drawn_side_by_side():
    still = PlannedObject("tree", Box(600, 100, 900, 900))
    moving = [
        PlannedObject("car", Box(x, 500, x + 200, 700, time=t)) for t, x in ((7, 300), (2, 20))
    ]
    objects = [still, *moving]
    assert frame_times(objects) == (2, 7)
    strip = draw_plan(objects, (200, 160))
    assert strip.shape == (160, 400, 3)
    assert strip.dtype == np.uint8
    frames = [
        draw_plan([still, PlannedObject("car", replace(one.box, time=None))], (200, 160))
        for one in moving[::-1]
    ]
    for drawn, frame in zip(np.split(strip, 2, axis=1), frames, strict=True):
        same = (drawn == frame).all(axis=2)
        same[:, 0] = True  # the line between two frames
        same[140:, 160:] = True  # the caption with the time
        assert same[:, :120].mean() > 0.95
        assert same[:130].mean() > 0.95
    assert (strip[:, :200] != strip[:, 200:]).any()
    colors = [
        set(map(tuple, frame.reshape(-1, 3).tolist())) for frame in np.split(strip, 2, axis=1)
    ]
    one_color = (26, 95, 180)  # of the second object, the car in the first of its frames
    assert one_color in colors[0] & colors[1]


def test_marks_are_stored_and_drawn_again():
    star = PlannedObject("star", replace(NEAR, time=4))
    assert named_box(star) == {"name": "star", "box": [100, 100, 500, 500], "depth": 1, "time": 4}
    assert named_box(PlannedObject("star", flat(NEAR))) == {
        "name": "star",
        "box": [100, 100, 500, 500],
    }


# -- is it right, and repaired -------------------------------------------------------------------


def score(chain: Chain):
    return score_by_geometry(read(FRONT.text), chain)


def test_a_plan_in_depth_is_right_where_it_says_so():
    assert score(plan(NEAR, FAR)).total == 1
    assert score(plan(FAR, NEAR)).terms["relation"] < 1
    apart = plan(NEAR, Box(600, 600, 900, 900, depth=0))
    assert score(apart).terms["relation"] < 1


def test_a_plan_without_depth_is_not_right_and_the_evidence_says_why():
    undecided = score(plan(flat(NEAR), FAR))
    assert undecided.terms["relation"] < 1
    assert "no depth is planned, so it cannot be decided" in undecided.evidence
    assert "cannot be decided" not in score(plan(FAR, NEAR)).evidence
    asked = read(FRONT.text)
    assert asked is not None
    assert asked_relation_is_undecided(asked, plan(flat(NEAR), flat(FAR)))
    assert not asked_relation_is_undecided(asked, plan(FAR, NEAR))


def test_depths_that_contradict_the_prompt_are_exchanged_and_the_words_follow():
    repaired = repair(FRONT, plan(FAR, NEAR, " behind a "), 10)
    assert repaired.repaired
    assert repaired.distance == 0
    star, heart = (one.box for one in repaired.chain.objects)
    assert (star, heart) == (replace(FAR, depth=1), replace(NEAR, depth=0))
    assert " in front of a " in repaired.chain.text
    assert not repaired.chain.problems


@pytest.mark.parametrize(
    ("star", "heart", "reason"),
    [
        (flat(NEAR), flat(FAR), "no depth is planned"),
        (NEAR, flat(FAR), "no depth is planned"),
        (replace(NEAR, time=0), replace(FAR, time=1), "never in one frame"),
        (Box(0, 0, 40, 40, 1), Box(100, 100, 900, 900, 0), "too different sizes"),
        (NEAR, FAR, "holds"),
    ],
)
def test_what_is_not_repaired_says_why(star, heart, reason):
    before = plan(star, heart)
    after = repair(FRONT, before, 10)
    assert not after.repaired
    assert after.chain == before
    assert reason in after.reason


@given(boxes(), boxes(), st.sampled_from(DEPTH_RELATIONS), st.sampled_from((4, 10, 24)))
def test_a_repaired_layout_holds_and_keeps_sizes_times_and_the_two_depths(a, b, relation, grid):
    assume(None not in (a.depth, b.depth))
    layout = [replace(a, time=1), b, Box(0, 0, 50, 50)]
    after = repair_layout(layout, (0, 1), relation, grid)
    if after is None:
        small, large = sorted((one.x2 - one.x1) * (one.y2 - one.y1) for one in (a, b))
        # Where one would lie inside of the other, or cross it, with too little in common.
        assert (
            small / large < OVERLAP_LIMIT
            or max(iou(Box(0, 0, a.x2 - a.x1, a.y2 - a.y1), Box(0, 0, b.x2 - b.x1, b.y2 - b.y1)), 0)
            < 2 * OVERLAP_LIMIT
        )
        return
    assert relation_holds(relation, after[0], after[1])
    assert after[2] == layout[2]
    assert [one.time for one in after] == [1, None, None]
    if a.depth != b.depth:
        assert sorted([after[0].depth, after[1].depth]) == sorted([a.depth, b.depth])
    assert repair_layout(after, (0, 1), relation, grid) == after


def test_other_repairs_keep_depth_and_time():
    before = plan(replace(NEAR, x1=600, x2=999, time=2), replace(FAR, x1=0, x2=400), " near a ")
    after = repair(Prompt("a star on the left of a heart"), before, 10)
    assert after.repaired
    star, heart = (one.box for one in after.chain.objects)
    assert (star.depth, star.time, heart.depth, heart.time) == (1, 2, 0, None)
