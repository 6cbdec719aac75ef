"""The chain grammar: both directions, and everything that a policy may write instead."""

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.errors import BadInput
from got_r1.plan.chain import (
    BOX_END,
    BOX_START,
    OBJ_END,
    OBJ_START,
    TAGS,
    Problem,
    find_problems,
    format_chain,
    format_object,
    parse,
    strip_boxes,
)
from got_r1.records import Box, PlannedObject

VASE = PlannedObject("yellow vase", Box(202, 482, 729, 964))
VASE_TEXT = (
    "<|obj_start|>yellow vase<|obj_end|> <|box_start|>(202,482),(729,964)<|box_end|>"  # the paper's
)
TABLE = PlannedObject("table", Box(0, 800, 999, 999))


def spans(low: int = 0, high: int = 999) -> st.SearchStrategy[tuple[int, int]]:
    pairs = st.tuples(st.integers(low, high), st.integers(low, high))
    return pairs.filter(lambda pair: pair[0] != pair[1]).map(lambda pair: (min(pair), max(pair)))


boxes = st.builds(lambda x, y: Box(x[0], y[0], x[1], y[1]), spans(), spans())
tagless = st.text().filter(lambda text: not any(tag in text for tag in TAGS))
names = tagless.map(str.strip).filter(bool)
planned = st.builds(PlannedObject, names, boxes)
# Text in which the grammar's pieces are frequent, so that every transition is met.
noise = st.lists(
    st.one_of(
        st.sampled_from([*TAGS, " ", "(1,2),(30,40)", "(1,2)", "(", ",", "12", "-", "red heart"]),
        st.text(max_size=5),
    ),
    max_size=40,
).map("".join)


def wrap(name: str, coordinates: str) -> str:
    return f"{OBJ_START}{name}{OBJ_END} {BOX_START}{coordinates}{BOX_END}"


# -- reading what was written --------------------------------------------------------------------


def test_the_papers_example_in_both_directions():
    assert format_object(VASE) == VASE_TEXT
    chain = parse(f"A {VASE_TEXT} stands.")
    assert chain.objects == (VASE,)
    assert chain.problems == ()


def test_tags_keep_the_official_order():
    assert TAGS == ("<|box_start|>", "<|box_end|>", "<|obj_start|>", "<|obj_end|>")


@given(st.lists(st.tuples(tagless, planned), min_size=1, max_size=6, unique_by=lambda p: p[1]))
def test_parse_reads_back_what_format_wrote(parts):
    objects = tuple(item for _, item in parts)
    text = format_chain([piece for pair in parts for piece in pair])
    chain = parse(text)
    assert chain.text == text
    assert chain.objects == objects
    assert chain.problems == ()
    bare = format_chain(chain.objects)
    assert parse(bare).objects == objects
    assert format_chain(parse(bare).objects) == bare


def test_objects_of_one_name_are_separate_in_different_boxes():
    hearts = [PlannedObject("heart", Box(x, 0, x + 99, 99)) for x in (0, 300, 600)]
    chain = parse(format_chain(hearts))
    assert chain.objects == tuple(hearts)
    assert chain.problems == ()


def value_of(number: str) -> int | None:
    """What a coordinate means, if it is one: digits alone, 0 to 999."""
    return int(number) if re.fullmatch("0*[0-9]{1,3}", number) else None


numbers = st.one_of(
    st.from_regex(r"[-+]?0{0,7}[0-9]{1,6}", fullmatch=True),
    st.from_regex(r"[-+.0-9eE_٣²]{1,7}", fullmatch=True),
    st.integers(-2000, 2000).map(str),
)


@given(st.tuples(numbers, numbers, numbers, numbers))
def test_a_coordinate_is_its_number_or_a_problem(given_numbers):
    x1, y1, x2, y2 = given_numbers
    chain = parse(wrap("a", f"({x1},{y1}),({x2},{y2})"))
    values = [value_of(number) for number in given_numbers]
    if None in values or not (values[0] < values[2] and values[1] < values[3]):
        assert not chain.objects
        assert chain.problems
    else:
        assert chain.objects == (PlannedObject("a", Box(*values)),)
        assert not chain.problems


def test_spaces_and_leading_zeros_in_coordinates_are_tolerated():
    assert parse(wrap(" a ", " ( 007 , 2 ) , (30,\n40) ")).objects == (
        PlannedObject("a", Box(7, 2, 30, 40)),
    )


# -- malformed chains ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [Problem.EMPTY]),
        (" \n", [Problem.EMPTY]),
        ("a heart and a star", [Problem.NO_PLAN]),
        (f"{OBJ_START}a", [Problem.UNCLOSED, Problem.NO_PLAN]),
        (f"{OBJ_START}a{OBJ_END} {BOX_START}(1,2),(3,4)", [Problem.UNCLOSED, Problem.NO_PLAN]),
        (f"{OBJ_START}a {OBJ_START}b{OBJ_END} {BOX_START}(1,2),(3,4){BOX_END}", [Problem.UNCLOSED]),
        (f"{OBJ_START}a{BOX_END}", [Problem.UNCLOSED, Problem.NO_PLAN]),
        (f"a{OBJ_END}", [Problem.STRAY, Problem.NO_PLAN]),
        (f"(1,2),(3,4){BOX_END}", [Problem.STRAY, Problem.NO_PLAN]),
        (wrap(" ", "(1,2),(3,4)"), [Problem.EMPTY_NAME, Problem.NO_OBJECT, Problem.NO_PLAN]),
        (f"{OBJ_START}a{OBJ_END}", [Problem.NO_BOX, Problem.NO_PLAN]),
        (f"{OBJ_START}a{OBJ_END} on {BOX_START}(1,2),(3,4){BOX_END}",
         [Problem.NO_BOX, Problem.NO_OBJECT, Problem.NO_PLAN]),
        (f"{OBJ_START}a{OBJ_END} {OBJ_START}b{OBJ_END} {BOX_START}(1,2),(3,4){BOX_END}",
         [Problem.NO_BOX]),
        (f"{BOX_START}(1,2),(3,4){BOX_END}", [Problem.NO_OBJECT, Problem.NO_PLAN]),
        (wrap("a", "(1,2),(3,4)") + f" {BOX_START}(5,6),(7,8){BOX_END}", [Problem.NO_OBJECT]),
        (wrap("a", ""), [Problem.MISSING, Problem.NO_PLAN]),
        (wrap("a", "(1,2)"), [Problem.MISSING, Problem.NO_PLAN]),
        (wrap("a", "1,2,3,4"), [Problem.MALFORMED, Problem.NO_PLAN]),
        (wrap("a", "(1.5,2),(3,4)"), [Problem.MALFORMED, Problem.NO_PLAN]),
        (wrap("a", "(1,2),(3,4),(5,6)"), [Problem.MALFORMED, Problem.NO_PLAN]),
        (wrap("a", "(1,2),(3,1000)"), [Problem.OUT_OF_RANGE, Problem.NO_PLAN]),
        (wrap("a", "(-1,2),(3,4)"), [Problem.OUT_OF_RANGE, Problem.NO_PLAN]),
        (wrap("a", "(-00005,2),(3,4)"), [Problem.OUT_OF_RANGE, Problem.NO_PLAN]),
        (wrap("a", "(-0,2),(3,4)"), [Problem.OUT_OF_RANGE, Problem.NO_PLAN]),
        (wrap("a", "(+1,2),(3,4)"), [Problem.MALFORMED, Problem.NO_PLAN]),
        (wrap("a", "(1.0,2),(3,4)"), [Problem.MALFORMED, Problem.NO_PLAN]),
        (wrap("a", "(1_0,2),(30,40)"), [Problem.MALFORMED, Problem.NO_PLAN]),
        (wrap("a", "(٣,2),(30,40)"), [Problem.MISSING, Problem.NO_PLAN]),
        (wrap("a", f"(1,2),(3,{'9' * 5000})"), [Problem.OUT_OF_RANGE, Problem.NO_PLAN]),
        (wrap("a", "(30,2),(3,4)"), [Problem.REVERSED, Problem.NO_PLAN]),
        (wrap("a", "(1,20),(3,4)"), [Problem.REVERSED, Problem.NO_PLAN]),
        (wrap("a", "(1,2),(1,4)"), [Problem.NO_AREA, Problem.NO_PLAN]),
        (wrap("a", "(1,2),(3,4)") * 2, [Problem.REPEATED]),
    ],
)  # fmt: skip
def test_a_malformed_chain_names_its_problems(text, problems):
    assert parse(text).problems == tuple(problem.value for problem in problems)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (f"A {wrap('a', '(1,2),(3,4)')}.", []),
        (
            f"{VASE_TEXT} {wrap('a', '(1,2),(3,1004)')}.",
            [(Problem.OUT_OF_RANGE, "<|box_start|>(1,2)")],
        ),
        (f"A {OBJ_START}a{OBJ_END} and {VASE_TEXT}", [(Problem.NO_BOX, "<|obj_start|>a<")]),
        (f"{VASE_TEXT} and {VASE_TEXT[:-5]}", [(Problem.UNCLOSED, "<|box_start|>(202,482),(729")]),
        (f"{VASE_TEXT} end{OBJ_END}", [(Problem.STRAY, "<|obj_end|>")]),
        (f"{VASE_TEXT} {OBJ_START} {OBJ_END}", [(Problem.EMPTY_NAME, "<|obj_start|> <")]),
        (f"{VASE_TEXT} {VASE_TEXT}", [(Problem.REPEATED, "<|obj_start|>yellow")]),
    ],
)
def test_problems_are_found_where_they_begin(text, places):
    found = find_problems(text)
    assert [problem for problem, _ in found] == [problem for problem, _ in places]
    for (_, at), (_, start) in zip(found, places, strict=True):
        assert text.startswith(start, at)
        assert at == text.rindex(start)


def test_valid_objects_of_a_malformed_chain_are_kept():
    text = f"{VASE_TEXT} {wrap('broken', '(9,9)')} {format_object(TABLE)} {OBJ_START}tail"
    chain = parse(text)
    assert chain.objects == (VASE, TABLE)
    assert chain.problems == (Problem.MISSING.value, Problem.UNCLOSED.value)


def test_a_repeated_object_is_kept_once():
    assert parse(VASE_TEXT * 3).objects == (VASE,)


@given(st.one_of(st.text(), noise))
def test_any_string_comes_back_as_a_chain(text):
    chain = parse(text)
    assert chain.text == text
    assert set(chain.problems) <= {problem.value for problem in Problem}
    assert len(set(chain.objects)) == len(chain.objects)
    assert chain.problems or chain.objects
    # Whatever was accepted can be written again: no invalid object slips through.
    if chain.objects:
        assert parse(format_chain(chain.objects)).objects == chain.objects


def test_six_hundred_tokens_of_noise():
    rng = random.Random(0)
    words = [*TAGS, "(", ")", ",", "12", "999", "1000", "heart", " "]
    for _ in range(200):
        chain = parse("".join(rng.choice(words) for _ in range(600)))
        assert chain.problems


def test_length_is_no_danger():
    """Inputs that make a backtracking pattern quadratic; a slow parser would never end here."""
    size = 300_000
    texts = [
        "(" * size,
        " " * size + "x",
        "<|obj_" * size,
        BOX_START * size,
        wrap("a", "1" * size),
        wrap("a", " " * size),
        wrap("a", "(1,2)," + " " * size),
    ]
    for text in texts:
        assert parse(text).problems
        strip_boxes(text)


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "  ", " heart", f"a{BOX_START}"])
def test_a_name_that_would_not_read_back_is_refused(name):
    with pytest.raises(BadInput, match="object name"):
        format_object(PlannedObject(name, VASE.box))


@pytest.mark.parametrize(
    "box", [Box(5, 0, 4, 9), Box(5, 0, 5, 9), Box(0, 0, 9, 1000), Box(-1, 0, 9, 9)]
)
def test_a_box_that_would_not_read_back_is_refused(box):
    with pytest.raises(BadInput, match="box of 'heart'"):
        format_object(PlannedObject("heart", box))


def test_prose_with_tags_is_refused():
    with pytest.raises(BadInput, match="prose"):
        format_chain(["a ", OBJ_START, VASE])


@given(
    st.text(), st.lists(st.sampled_from(["<begin_of_image>", "<｜end▁of▁sentence｜>", " ", "\n"]))
)
def test_what_closes_a_chain_is_no_text_of_it(text, ends):
    text = text.strip() + VASE_TEXT
    assert parse("".join([text, *ends])).text.rstrip() == text


# -- what the judge of R_sem reads ---------------------------------------------------------------


def test_boxes_are_stripped_and_prose_is_left_tidy():
    text = f"A {VASE_TEXT}, on a\n {format_object(TABLE)} ."
    assert strip_boxes(text) == "A yellow vase, on a table."


def test_an_unclosed_box_loses_its_coordinates_too():
    assert strip_boxes(f"a {OBJ_START}heart{OBJ_END} {BOX_START}(12,34),(56") == "a heart"


def test_stripping_does_not_spell_a_new_tag():
    assert not any(tag in strip_boxes("<|obj_<|obj_end|>start|>") for tag in TAGS)


@given(st.one_of(st.text(), noise))
def test_no_tag_survives_stripping(text):
    stripped = strip_boxes(text)
    assert not any(tag in stripped for tag in TAGS)
    assert stripped == " ".join(stripped.split())


letters = st.text(alphabet="xyz ,.", max_size=20)
pets = st.builds(PlannedObject, st.sampled_from(["cat", "dog"]), boxes)


@given(st.lists(st.tuples(letters, pets), min_size=1))
def test_stripping_takes_every_digit_of_the_boxes_and_no_name(parts):
    stripped = strip_boxes(format_chain([piece for pair in parts for piece in pair]))
    assert not re.search(r"[0-9()]", stripped)
    for name in ("cat", "dog"):
        assert stripped.count(name) == sum(item.name == name for _, item in parts)


# -- the extension: depth and time ---------------------------------------------------------------

marked = st.builds(
    lambda box, depth, time: replace(box, depth=depth, time=time),
    boxes,
    st.none() | st.integers(0, 999),
    st.none() | st.integers(0, 999),
)
marked_objects = st.builds(PlannedObject, names, marked)


def place(item: PlannedObject) -> PlannedObject:
    return replace(item, box=replace(item.box, depth=None))


@given(st.lists(st.tuples(tagless, marked_objects), min_size=1, unique_by=lambda p: place(p[1])))
def test_marks_are_read_back_and_are_malformed_where_they_are_not_allowed(parts):
    objects = tuple(item for _, item in parts)
    text = format_chain([piece for pair in parts for piece in pair])
    chain = parse(text, marks=True)
    assert chain.objects == objects
    assert chain.problems == ()
    assert format_chain(chain.objects) == format_chain(objects)
    plain = [item for item in objects if item.box.depth is item.box.time is None]
    assert list(parse(text).objects) == plain
    assert (Problem.MALFORMED in parse(text).problems) == (len(plain) < len(objects))


@given(noise.filter(lambda text: not re.search(r"[zt]\s*-?[0-9]", text)))
def test_a_chain_without_marks_is_read_alike_in_both_grammars(text):
    assert parse(text) == parse(text, marks=True)
    assert find_problems(text) == find_problems(text, marks=True)


def test_a_box_in_the_extended_grammar():
    box = Box(202, 482, 729, 964, depth=2, time=0)
    assert format_object(PlannedObject("vase", box)) == wrap("vase", "(202,482),(729,964),z2,t0")
    assert repr(box) == "Box(x1=202, y1=482, x2=729, y2=964, depth=2, time=0)"
    assert repr(VASE.box) == "Box(x1=202, y1=482, x2=729, y2=964)"  # keys of judges' caches


@pytest.mark.parametrize(
    ("marks", "read"),
    [
        (",z7", (7, None)),
        (",t7", (None, 7)),
        (" , z 007 , t 1 ", (7, 1)),
        (",t1,z7", Problem.MALFORMED),
        (",z1,z2", Problem.MALFORMED),
        (",z", Problem.MALFORMED),
        (",7", Problem.MALFORMED),
        (",Z7", Problem.MALFORMED),
        (",z1.5", Problem.MALFORMED),
        ("z7", Problem.MALFORMED),
        (",z1000", Problem.OUT_OF_RANGE),
        (",t-1", Problem.OUT_OF_RANGE),
        (f",z{'9' * 5000}", Problem.OUT_OF_RANGE),
    ],
)
def test_how_marks_are_written(marks, read):
    chain = parse(wrap("vase", f"(1,2),(30,40){marks}"), marks=True)
    if isinstance(read, Problem):
        assert chain.problems == (read, Problem.NO_PLAN)
    else:
        assert [(one.box.depth, one.box.time) for one in chain.objects] == [read]
        assert chain.problems == ()


def test_what_stays_in_its_place_is_repeated_at_one_time_only():
    def problems(*marks):
        text = "".join(wrap("star", f"(1,2),(30,40){mark}") for mark in marks)
        return parse(text, marks=True).problems

    assert problems(",t0", ",t1") == ()
    assert problems(",z1,t0", ",z2,t0") == (Problem.REPEATED,)
    assert problems("", ",z2") == (Problem.REPEATED,)


def test_marks_are_no_prose():
    text = f"A {format_object(PlannedObject('vase', Box(1, 2, 30, 40, 3, 4)))} stands."
    assert strip_boxes(text) == "A vase stands."
