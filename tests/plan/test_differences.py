"""Where a plan is not what its prompt asks for, in phrases."""

import pytest

from got_r1.plan.chain import format_chain, parse
from got_r1.plan.differences import chain_faults, differences
from got_r1.plan.reading import read
from got_r1.records import Box, PlannedObject

CAT, DOG = PlannedObject("a black cat", Box(0, 300, 300, 600)), Box(600, 300, 900, 600)


@pytest.mark.parametrize(
    ("prompt", "names", "expected"),
    [
        ("a cat left of a dog", ["dog"], []),
        ("a cat right of a dog", ["dog"], ['"a black cat" is not planned on the right of "dog"']),
        ("a cat left of a brown dog", ["dog"], ['"brown dog" is planned as "dog"']),
        ("a cat and a horse", ["dog"], ['"horse" is not planned']),
        ("three cats", ["cat"], ['only 2 of 3 "cat" are planned']),
        ("two horses", ["dog"], ['2 "horse" are not planned']),
        ("two cats", ["cat", "cats"], ['a further "cats" is planned']),
        ("a cat", ["dog"], []),
    ],
)
def test_differences_of_a_plan(prompt, names, expected):
    others = [
        PlannedObject(n, Box(DOG.x1, DOG.y1 + i, *(DOG.x2, DOG.y2))) for i, n in enumerate(names)
    ]
    assert list(differences(read(prompt), [CAT, *others])) == expected


def test_what_is_drawn_beside_all_that_is_asked_for():
    found = differences(
        read("a cat"), [CAT, PlannedObject("dog", DOG)], done="drawn", complete=True
    )
    assert found == ('a further "dog" is drawn',)


def test_nothing_is_planned():
    assert differences(read("a cat"), []) == ('"cat" is not planned',)


@pytest.mark.parametrize(
    ("words", "faulty"), [("left of", False), ("above", True), ("with", False)]
)
def test_a_chain_against_its_own_boxes(words, faulty):
    chain = parse(format_chain(["A ", CAT, f" {words} a ", PlannedObject("dog", DOG), "."]))
    assert bool(chain_faults(chain)) == faulty


def test_a_malformed_chain_names_its_problems():
    found = chain_faults(parse("A <|obj_start|>cat<|obj_end|> sits."))
    assert found == (
        "malformed chain: object without a box right behind it",
        "malformed chain: no planned object",
    )
