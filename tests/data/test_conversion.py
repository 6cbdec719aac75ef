"""Chains in related notations: one reading, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.data.conversion import MAYBE_SHARES, MIXED, Conversion, convert
from got_r1.plan.chain import Problem, format_chain, parse
from got_r1.records import Box, PlannedObject

OBJECT_TAGS = [
    ("<|obj_start|>", "<|obj_end|>"),
    ("<|object_ref_start|>", "<|object_ref_end|>"),
    ("<ref>", "</ref>"),
    ("<|ref|>", "<|/ref|>"),
]
BOX_TAGS = [("<|box_start|>", "<|box_end|>"), ("<box>", "</box>"), ("<|det|>", "<|/det|>")]
SHAPES = {
    "pairs": "({0},{1}),({2},{3})",
    "spaced": " ( {0}, {1} ), ({2} ,{3}) ",
    "bracket": "[{0}, {1}, {2}, {3}]",
    "brackets": "[[{0},{1},{2},{3}]]",
}

SIDES = st.lists(st.integers(2, 1000), min_size=2, max_size=2, unique=True).map(sorted)
CORNERS = st.tuples(SIDES, SIDES).map(lambda s: (s[0][0], s[1][0], s[0][1], s[1][1]))
WORDS = st.sampled_from(
    ["a", "red vase", "größe 3", "on the left of", ".", ",", "(small)", "[sic]"]
)
NAMES = st.sampled_from(["red vase", "cat", "3 birds", "T-shirt (blue)"])
OBJECTS = st.tuples(NAMES, st.lists(CORNERS, min_size=1, max_size=3, unique=True))
CHAINS = st.lists(st.tuples(WORDS, OBJECTS, WORDS), min_size=1, max_size=4)


def clamped(corners: tuple[int, ...]) -> Box:
    return Box(*(min(value, 999) for value in corners))


@given(CHAINS, st.sampled_from(OBJECT_TAGS), st.sampled_from(BOX_TAGS), st.sampled_from([*SHAPES]))
def test_what_is_unambiguous_is_read_in_every_notation(chain, names, boxes, shape) -> None:
    written, wanted = "", []
    for before, (name, corners), behind in chain:
        written += f"{before} {names[0]}{name}{names[1]}"
        for one in corners:
            written += f"{boxes[0]}{SHAPES[shape].format(*one)}{boxes[1]}"
            wanted.append(PlannedObject(name, clamped(one)))
        written += f" {behind} "
    found = convert(written)
    no_area = any(box.x1 == box.x2 or box.y1 == box.y2 for box in (one.box for one in wanted))
    if no_area or len(set(wanted)) < len(wanted):
        assert found.text == written
        assert found.problems
        return
    read = parse(found.text)
    assert (read.objects, read.problems, found.problems) == (tuple(wanted), (), ())
    thousand = any(1000 in one for _, (_, corners), _ in chain for one in corners)
    assert ("1000 as a coordinate, now 999" in found.changes) == thousand
    several = any(len(corners) > 1 for _, (_, corners), _ in chain)
    assert ("several boxes behind one name, which is repeated" in found.changes) == several
    assert (f"tags {names[0]}" in found.changes) == (names != OBJECT_TAGS[0])
    assert (f"tags {boxes[0]}" in found.changes) == (boxes != BOX_TAGS[0])
    assert ("square brackets around coordinates" in found.changes) == ("[" in SHAPES[shape])
    assert convert(found.text) == Conversion(found.text)  # there is nothing more to do


PIECES = [tag for pair in (*OBJECT_TAGS, *BOX_TAGS) for tag in pair]
PIECES += [
    "cat",
    "(10,20),(30,1000)",
    "[10,20,30,40]",
    "(1,2)",
    ",",
    " ",
    "[[1,2,3,4],[5,6,7,8]]",
    "0.5",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_any_text_is_converted_whole_or_left_as_it_is(text: str) -> None:
    found = convert(text)
    if found.problems:
        assert (found.text, found.changes) == (text, ())
    else:
        assert parse(found.text).problems == ()
        assert bool(found.changes) == (found.text != text)
        assert convert(found.text).changes == ()


@given(CHAINS)
def test_a_chain_of_the_grammar_stays_as_it_is(chain) -> None:
    parts = []
    for index, (before, (name, corners), behind) in enumerate(chain):
        box = clamped(corners[0])
        if box.x1 < box.x2 and box.y1 < box.y2:
            parts += [before, PlannedObject(f"{name} {index}", box), behind]
    text = format_chain(parts)
    if parts:
        assert (convert(text).text, convert(text).changes) == (text, ())


CAT = "<|obj_start|>cat<|obj_end|>"
BOX = "<|box_start|>(10,20),(30,40)<|box_end|>"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{CAT}  {BOX} <ref>dog</ref> [1, 2, 3, 4].", f"{CAT}  {BOX} DOG (1,2),(3,4)."),
        ("<ref>dog</ref>(1,2),(3,4), big", "DOG (1,2),(3,4), big"),
        ("<ref>dog</ref> [[1,2,3,4],[5,6,7,8]]", "DOG (1,2),(3,4) DOG (5,6),(7,8)"),
        ("<ref>dog</ref><box>(1,2),(3,4)</box>, <box>(5,6),(7,8)</box>.",
         "DOG (1,2),(3,4), DOG (5,6),(7,8)."),
        ("<ref>dog</ref><box>(1,2),(3,4)(5,6),(7,8)</box>", "DOG (1,2),(3,4) DOG (5,6),(7,8)"),
        ("<ref>dog</ref><|box_start|>(001,2),(3,4)<|box_end|>", "DOG (001,2),(3,4)"),
    ],
)  # fmt: skip
def test_examples(text: str, wanted: str) -> None:
    dog = "<|obj_start|>dog<|obj_end|>"
    for corners in ("(1,2),(3,4)", "(5,6),(7,8)", "(001,2),(3,4)"):
        wanted = wanted.replace(f"DOG {corners}", f"{dog} <|box_start|>{corners}<|box_end|>")
    assert (convert(text).text, convert(text).problems) == (wanted, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<ref>cat</ref><box>(10,20),(30,1001)</box>", Problem.OUT_OF_RANGE),
        ("<ref>cat</ref><box>(30,20),(10,40)</box>", Problem.REVERSED),
        ("<ref>cat</ref><box>[30, 20, 10, 40]</box>", Problem.REVERSED),
        ("<ref>cat</ref><box>(999,20),(1000,40)</box>", Problem.NO_AREA),
        ("<ref>cat</ref><box>(0.1,0.2),(0.3,0.4)</box>", Problem.MALFORMED),
        ("<ref>cat</ref> [0.1, 0.2, 0.3, 0.4]", Problem.NO_BOX),
        ("<ref>cat</ref><box>[0, 0, 1, 1]</box>", MAYBE_SHARES),
        ("<ref>cat</ref><box>10 20 30 40 50</box>", Problem.MALFORMED),
        ("<ref>cat</ref><box>[10, 20, 30]</box>", Problem.MISSING),
        ("<ref>cat</ref> [[10, 20, 30, 40], [50, 60]]", Problem.NO_BOX),
        ("<ref>cat</ref>(10,20),(30,40),(50,60)", Problem.NO_BOX),
        ("<box>(10,20),(30,40)</box>", Problem.NO_OBJECT),
        ("a cat [10, 20, 30, 40]", Problem.NO_PLAN),
        ("<box>(10,20),(30,40)</box><ref>cat</ref>", Problem.NO_OBJECT),
        ("<ref>cat</ref><box>(1,2),(3,4)</box> and <box>(5,6),(7,8)</box>", Problem.NO_OBJECT),
        ("<ref>cat</ref><box>(1,2),(3,4)</box> and [5, 6, 7, 8]", Problem.NO_OBJECT),
        ("<ref>cat</ref> sits <box>(10,20),(30,40)</box>", Problem.NO_BOX),
        ("<ref> </ref><box>(10,20),(30,40)</box>", Problem.EMPTY_NAME),
        ("<ref>cat<box>(10,20),(30,40)</box></ref>", Problem.UNCLOSED),
        ("<ref>cat<|object_ref_end|><box>(10,20),(30,40)</box>", MIXED),
        ("<ref>cat</ref><box>(10,20),(30,40)<|box_end|>", MIXED),
        (f"{CAT} {BOX} <ref>dog<|obj_end|> {BOX}", MIXED),
        (f"{CAT} {BOX} <ref>dog</ref>", Problem.NO_BOX),
        ("<ref>cat</ref><box>(1,2),(3,4)</box><box>(1,2),(3,4)</box>", Problem.REPEATED),
    ],
)
def test_what_would_have_to_be_guessed_is_named(text: str, problem: str) -> None:
    found = convert(text)
    assert (found.text, found.changes) == (text, ())
    assert found.problems[0] == problem


def test_noise_is_read_in_linear_time() -> None:
    """A reader that needs the square of the length would not come back for minutes."""
    for noise in (" ", "7", "(1,2),"):
        for before in ("<ref>cat</ref>", "<ref>cat</ref><box>", "<ref>cat</ref>[1,2,3,4]"):
            assert convert(f"{before}{noise * 20_000}").text
