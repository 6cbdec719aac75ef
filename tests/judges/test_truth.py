"""Plan truth and image truth, case by case."""

import pytest

from got_r1.icons.prompts import parse as read
from got_r1.icons.truth import ImageTruth, PlanTruth, image_truth, plan_truth
from got_r1.icons.world import COLORS, Icon
from got_r1.plan.chain import format_chain, parse
from got_r1.records import Box, PlannedObject

LEFT, RIGHT, MIDDLE = Box(0, 400, 300, 700), Box(600, 400, 900, 700), Box(400, 0, 500, 100)
FAR_LEFT = Box(0, 800, 200, 999)


def plan(*objects: tuple[str, Box]):
    return parse(format_chain([PlannedObject(name, box) for name, box in objects]))


def icons(*objects: tuple[str, Box]) -> list[Icon]:
    scene = []
    for name, box in objects:
        *look, noun = name.split()
        color = next(word for word in look if word in COLORS)
        fill = next((word for word in look if word not in COLORS), "plain")
        scene.append(Icon(noun, color, fill, box))
    return scene


CASES = [
    # what is asked, what is there, (relation, objects, count)
    ("a red heart on the left of a blue star",
     [("red heart", LEFT), ("blue star", RIGHT)], (True, True, None)),
    ("a red heart on the left of a blue star",
     [("blue star", RIGHT), ("red heart", LEFT)], (True, True, None)),
    ("a red heart on the left of a blue star",
     [("red heart", RIGHT), ("blue star", LEFT)], (False, True, None)),
    # a relation between wrong objects is not right
    ("a red heart on the left of a blue star",
     [("green heart", LEFT), ("blue star", RIGHT)], (False, False, None)),
    ("a red heart on the left of a blue star",
     [("striped red heart", LEFT), ("blue star", RIGHT)], (True, True, None)),  # fill left free
    ("a striped red heart on the left of a blue star",
     [("red heart", LEFT), ("blue star", RIGHT)], (False, False, None)),
    ("a red heart on the left of a blue star", [("red heart", LEFT)], (False, False, None)),
    ("a heart on the left of a star",
     [("red heart", LEFT), ("blue star", RIGHT)], (True, True, None)),
    # a second star on the other side makes it ambiguous: not right
    ("a heart on the left of a star",
     [("red heart", MIDDLE), ("blue star", RIGHT), ("blue star", FAR_LEFT)], (False, True, None)),
    ("a heart on the left of a star",
     [("red heart", LEFT), ("red heart", FAR_LEFT), ("blue star", RIGHT)], (True, True, None)),
    # one thing may fit both objects: then one pair suffices
    ("a heart on the left of a red heart",
     [("blue heart", LEFT), ("red heart", RIGHT)], (True, True, None)),
    ("a heart on the left of a red heart",
     [("red heart", LEFT), ("red heart", RIGHT)], (True, True, None)),
    ("a heart on the left of a red heart",
     [("red heart", LEFT), ("blue heart", RIGHT)], (False, True, None)),
    # lists and numbers
    ("a red heart and a blue star",
     [("red heart", LEFT), ("blue star", RIGHT)], (None, True, None)),
    ("a red heart and a blue star",
     [("blue heart", LEFT), ("red star", RIGHT)], (None, False, None)),
    ("two hearts", [("red heart", LEFT), ("blue heart", RIGHT)], (None, True, True)),
    ("two hearts", [("red heart", LEFT)], (None, False, False)),
    ("two hearts",
     [("red heart", LEFT), ("red heart", RIGHT), ("red heart", MIDDLE)], (None, True, False)),
    ("two hearts",
     [("red heart", LEFT), ("red heart", RIGHT), ("red star", MIDDLE)], (None, True, True)),
    ("two red hearts", [("red heart", LEFT), ("blue heart", RIGHT)], (None, False, False)),
    ("two red hearts and one star",
     [("red heart", LEFT), ("blue star", MIDDLE), ("red heart", RIGHT)], (None, True, True)),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "things", "expected"), CASES)
def test_plan_and_image_are_measured_alike(prompt, things, expected):
    meaning = read(prompt)
    assert meaning is not None
    assert plan_truth(meaning, plan(*things)) == PlanTruth(*expected)
    assert image_truth(meaning, icons(*things)) == ImageTruth(*expected)


def test_nothing_there_is_wrong_not_an_error():
    meaning = read("a heart on the left of a star")
    assert image_truth(meaning, ()) == ImageTruth(False, False, None)
    assert plan_truth(meaning, parse("")) == PlanTruth(False, False, None)


def test_a_malformed_chain_is_wrong_even_where_its_objects_are_right():
    text = format_chain([PlannedObject("red heart", LEFT), PlannedObject("blue star", RIGHT)])
    meaning = read("a heart on the left of a star")
    assert plan_truth(meaning, parse(text)) == PlanTruth(True, True, None)
    assert plan_truth(meaning, parse(text + "<|obj_start|>")) == PlanTruth(False, False, None)


def test_names_from_elsewhere_are_surplus():
    meaning = read("a heart")
    assert plan_truth(meaning, plan(("red heart", LEFT), ("old vase", RIGHT))).objects
    assert not plan_truth(meaning, plan(("old vase", RIGHT))).objects


def test_a_planned_name_without_colour_is_not_a_colour():
    assert not plan_truth(read("a red heart"), plan(("heart", LEFT))).objects
    assert plan_truth(read("a heart"), plan(("heart", LEFT))).objects
