"""A plan that people edit: files of objects and prose, and what is refused in them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.files.inputs import load_plan, read_chain_text, read_plan
from got_r1.icons.data import triples
from got_r1.plan.chain import TAGS, format_chain, parse, strip_boxes
from got_r1.plan.editing import Plan, parse_move, plan_of_chain, prose_of
from got_r1.records import Box, PlannedObject

HEART = {"name": "red heart", "box": [0, 300, 400, 700]}
STAR = {"name": "blue star", "box": [600, 300, 999, 700]}
CHAIN = format_chain(
    ["A ", *(PlannedObject(o["name"], Box(*o["box"])) for o in (HEART, STAR)), "."]
)
PROSE = "A {1}{2}."
RECORD = {"chain": CHAIN, "prose": PROSE, "objects": [HEART, STAR]}
PLAN = plan_of_chain(parse(CHAIN))


@pytest.fixture
def stored(tmp_path):
    def write(content):
        path = tmp_path / "000.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lacking", [set(), {"prose"}, {"objects"}, {"prose", "objects"}, {"chain"}]
)
def test_a_record_and_each_half_of_it_is_the_same_plan(stored, lacking):
    path = stored({key: value for key, value in RECORD.items() if key not in lacking})
    assert read_plan(path) == read_chain_text(path) == CHAIN
    assert load_plan(path).objects == PLAN.objects


def test_objects_alone_are_a_plan_that_says_the_prompt(stored):
    path = stored({"objects": [HEART, STAR]})
    assert strip_boxes(read_plan(path)) == "A red heart and a blue star."
    said = strip_boxes(read_plan(path, "a heart on the left of a star"))
    assert said == "A red heart on the left of a blue star."
    contradicted = strip_boxes(read_plan(path, "a heart above a star"))
    assert contradicted == "A red heart and a blue star."


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"objects": [HEART, STAR | {"box": [0, 0, 300, 300]}]},
            "disagree: object 2 is 'blue star' at [0, 0, 300, 300] in 'objects' and 'blue star' at "
            "[600, 300, 999, 700] in the chain; delete the line 'chain'",
        ),
        ({"objects": [HEART, STAR | {"name": "red star"}]}, "object 2 is 'red star'"),
        ({"objects": [HEART]}, "1 in 'objects', 2 in the chain"),
        ({"objects": [STAR, HEART]}, "object 1 is 'blue star'"),
        ({"chain": CHAIN.replace("600", "500")}, "object 2 is 'blue star' at [600,"),
        ({"chain": CHAIN.replace("A ", "The ")}, "'A {1}{2}.' is not the prose of the chain"),
        ({"prose": "A {1} and a {2}."}, "is not the prose of the chain"),
        ({"chain": 3}, "no text under 'chain'"),
        ({"chain": None, "objects": None}, "neither a 'chain' nor 'objects'"),
        ({"chain": None, "objects": []}, "needs a list under 'objects'"),
        ({"chain": None, "objects": "red heart"}, "needs a list under 'objects'"),
        ({"chain": None, "prose": 3}, "holds 3 where it needs text"),
        ({"chain": None, "prose": "A {3}."}, "the prose names object {3}, and the plan has 2"),
        ({"chain": None, "prose": "A {0}."}, "the prose names object {0}"),
        ({"chain": None, "prose": "A {1}, {1}."}, "names object {1} twice"),
        ({"chain": None, "prose": f"A {TAGS[0]} {{1}}."}, "holds a tag"),
        ({"chain": None, "objects": [HEART, HEART]}, "same name and box repeated"),
    ],
)
@pytest.mark.parametrize("read", [read_plan, read_chain_text])
def test_a_file_that_says_two_things_or_none_is_refused(stored, read, change, told):
    path = stored(RECORD | change)
    with pytest.raises(BadInput) as error:
        read(path)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("red heart", "object 2 of the chain file"),
        ({"name": "star"}, "has no 'box'"),
        ({"box": [0, 0, 1, 1]}, "has no 'name'"),
        (STAR | {"bbox": [0, 0, 1, 1]}, "has 'bbox'; its keys are name, box"),
        (STAR | {"name": 3}, "holds 3 where it needs text"),
        (STAR | {"name": " "}, "cannot stand in a chain"),
        (STAR | {"name": TAGS[1]}, "cannot stand in a chain"),
        (STAR | {"box": [0, 0, 1]}, "give four numbers"),
        (STAR | {"box": "0,0,1,1"}, "give four numbers"),
        (STAR | {"box": [0, 0, 0.5, 1]}, "the coordinate 0.5; give whole numbers in thousandths"),
        (STAR | {"box": [0, 0, True, 1]}, "the coordinate True"),
        (STAR | {"box": [0, 0, float("nan"), 1]}, "the coordinate nan"),
        (STAR | {"box": [0, 0, "1", 1]}, "the coordinate '1'"),
        (STAR | {"box": [-1, 0, 300, 300]}, "give numbers from 0 to 999"),
        (STAR | {"box": [0, 0, 1001, 300]}, "give numbers from 0 to 999"),
        (STAR | {"box": [300, 0, 0, 300]}, "give x1 < x2 and y1 < y2"),
        (STAR | {"box": [0, 300, 300, 300]}, "give x1 < x2 and y1 < y2"),
    ],
)
def test_what_is_no_object_is_refused(stored, entry, told):
    with pytest.raises(BadInput) as error:
        read_plan(stored({"objects": [HEART, entry]}))
    assert told in str(error.value)


def test_a_key_that_stands_twice_is_refused(stored):
    path = stored(json.dumps(RECORD)[:-1] + ', "objects": []}')
    with pytest.raises(BadInput, match="has 'objects' twice"):
        read_plan(path)


def test_the_border_and_whole_floats_are_numbers(stored):
    path = stored({"objects": [{"name": " a\n star", "box": [0.0, 0, 1000, 999.0]}]})
    assert load_plan(path).objects == (PlannedObject("a star", Box(0, 0, 999, 999)),)


def test_a_malformed_chain_is_read_for_a_score_and_not_drawn(stored):
    path = stored({"chain": "A <|obj_start|>star<|obj_end|>", "objects": [], "prose": ""})
    assert read_chain_text(path) == "A <|obj_start|>star<|obj_end|>"
    with pytest.raises(BadInput, match="object without a box right behind it at character 3"):
        read_plan(path)


# -- prose -----------------------------------------------------------------------------------------


def test_chains_of_the_world_keep_their_text():
    for triple in triples(50, seed=3):
        chain = parse(triple.chain)
        assert plan_of_chain(chain).chain == chain


@given(st.lists(st.text("{}12 a.", max_size=8), min_size=3, max_size=3))
def test_any_prose_comes_back(pieces):
    text = format_chain([pieces[0], PLAN.objects[0], pieces[1], PLAN.objects[1], pieces[2]])
    chain = parse(text)
    assert plan_of_chain(chain).chain.text.strip() == chain.text.strip()


def test_objects_that_the_prose_does_not_name_are_said_at_its_end():
    plan = Plan(PLAN.objects, "In {{braces}}, a {2} shines.")
    assert strip_boxes(plan.chain.text) == "In {braces}, a blue star shines and a red heart."
    assert prose_of(plan.chain) == "In {{braces}}, a {1} shines and a {2}."


# -- changes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["blue star", " BLUE  Star", "star", "2"])
def test_an_object_is_moved_by_what_people_call_it(target):
    assert PLAN.moved(target, [0, 0, 300, 300]).objects[1].box == Box(0, 0, 300, 300)
    assert PLAN.moved(target, [0, 600]).objects[1].box == Box(0, 600, 400, 999)


def test_a_move_to_the_border_keeps_the_size():
    assert PLAN.moved("1", [600, 0]).objects[0].box == Box(600, 0, 999, 400)


@pytest.mark.parametrize(
    ("target", "numbers", "told"),
    [
        (
            "moon",
            [0, 0],
            "'moon' is no object of the plan; name one of 1 'red heart', 2 'blue star'",
        ),
        ("3", [0, 0], "is no object"),
        ("heart", [300, 0, 0, 300], "'red heart' has the box [300, 0, 0, 300]"),
        ("heart", [900, 0], "give numbers from 0 to 999"),
    ],
)
def test_a_move_that_cannot_be_is_refused(target, numbers, told):
    with pytest.raises(BadInput) as error:
        PLAN.moved(target, numbers)
    assert told in str(error.value)


def test_one_of_several_is_named_by_its_number():
    plan = Plan((*PLAN.objects, PlannedObject("red star", Box(0, 0, 1, 1))))
    with pytest.raises(BadInput, match="'star' is several objects"):
        plan.index_of("star")
    assert (plan.index_of("red star"), plan.index_of("3")) == (2, 2)


def test_the_last_object_stays():
    left = PLAN.without("heart")
    assert strip_boxes(left.chain.text) == "A blue star."
    with pytest.raises(BadInput, match="the only object"):
        left.without("1")


@pytest.mark.parametrize(
    "text", ["a", "a=", "=1,2", "a=1", "a=1,2,3", "a=1,2,3,4,5", "a=x,y", "a=-1,2"]
)
def test_what_is_no_move(text):
    with pytest.raises(ValueError, match="^" + re.escape(text)):
        parse_move(text)


def test_a_move_is_a_name_and_numbers():
    assert parse_move("a=b = 1, 2,3,4") == ("a=b", [1, 2, 3, 4])
    assert parse_move("star=5,6") == ("star", [5, 6])


def test_a_plan_file_is_json_with_an_object_a_line(stored):
    plan = Plan(PLAN.objects, PLAN.prose, 'a "heart" }, {1}')
    assert json.loads(plan.text) == plan.record()
    assert load_plan(stored(plan.text)) == plan
    assert len(plan.text.splitlines()) == len(plan.objects) + 6


@pytest.mark.parametrize("marks", [{}, {"depth": 2}, {"time": 0}, {"depth": 0, "time": 3}])
def test_depth_and_time_come_through_a_file_and_a_move(stored, marks):
    heart, star = HEART | marks, STAR | marks
    plan = load_plan(stored({"objects": [heart, star], "prose": PROSE}), marks=True)
    assert [one.box.depth for one in plan.objects] == [marks.get("depth")] * 2
    moved = load_plan(stored(plan.moved("star", [0, 0, 300, 300]).text), marks=True)
    assert moved.record()["objects"] == [heart, star | {"box": [0, 0, 300, 300]}]
    assert moved.chain.objects == moved.objects
    assert ("depth" in plan.text, "time" in plan.text) == ("depth" in marks, "time" in marks)
