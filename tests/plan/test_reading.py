"""Prompts read: the icon world's grammar and T2I-CompBench's sentences as witnesses."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.icons import prompts as icons
from got_r1.icons.splits import CONVERSES as ICON_CONVERSES
from got_r1.icons.world import Meaning
from got_r1.plan.layout import RELATIONS
from got_r1.plan.reading import (
    CONVERSES,
    RELATION_WORDS,
    Asked,
    AskedObject,
    find_relation_words,
    likeness,
    paraphrases,
    read,
)

meanings = st.builds(
    lambda seed, category: icons.draw_meaning(random.Random(seed), category),
    st.integers(0, 2**32),
    st.sampled_from(icons.CATEGORIES),
)
related = meanings.filter(lambda meaning: meaning.relation is not None)


def asked_of(meaning: Meaning) -> Asked:
    """What the icon world's own grammar understood."""
    objects = tuple(AskedObject(spec.name, spec.count) for spec in meaning.objects)
    return Asked(objects, meaning.relation)


# -- against the icon world's grammar ------------------------------------------------------------


@given(meanings)
def test_every_sentence_of_the_icon_world_is_read_as_its_own_grammar_reads_it(meaning):
    for phrasing in icons.phrasings(meaning):
        assert read(icons.say(meaning, phrasing)) == asked_of(meaning)


@given(related)
def test_paraphrases_differ_and_say_the_same_in_both_grammars(meaning):
    said = paraphrases(asked_of(meaning))
    assert len(set(said.values())) == len(said) == 6
    first, second, *others = meaning.objects
    converse = Meaning((second, first, *others), ICON_CONVERSES[meaning.relation])
    for form, text in said.items():
        expected = converse if form.startswith("converse") else meaning
        assert icons.parse(text) == expected
        assert read(text) == asked_of(expected)


def test_the_icon_worlds_words_and_converses_are_among_ours():
    assert dict(CONVERSES) == ICON_CONVERSES
    assert tuple(RELATION_WORDS) == RELATIONS
    for relation, words in icons.RELATION_PHRASES.items():
        assert set(words) <= set(RELATION_WORDS[relation])
        assert words[0] == RELATION_WORDS[relation][0]


# -- sentences about other things ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names", "relation"),
    [
        ("a cat on the left of a dog", ["cat", "dog"], "left"),
        ("The cat is to the left of the dog.", ["cat", "dog"], "left"),
        ("to the left of the dog is a cat", ["cat", "dog"], "left"),
        ("On the left side of a dog, there is a cat", ["cat", "dog"], "left"),
        ("A photo of a cat standing next to a dog, in the snow", ["cat", "dog"], "next to"),
        ("The mirror was hung above the marble sink.", ["mirror", "marble sink"], "top"),
        (
            "The striped black and white cat lay next to the soft blanket.",
            ["striped black-and-white cat", "soft blanket"],
            "next to",
        ),
        ("a glass of water on side of a lamp", ["glass of water", "lamp"], "on side of"),
        ("a cat near a dog with two birds", ["cat", "dog", "bird"], "near"),
        ("a green bench and a blue bowl", ["green bench", "blue bowl"], None),
        ("rubber soles and fluffy clouds", ["rubber soles", "fluffy clouds"], None),
    ],
)  # fmt: skip
def test_known_sentences(text, names, relation):
    asked = read(text)
    assert asked is not None
    assert [thing.name for thing in asked.objects] == names
    assert asked.relation == relation


def test_numbers_make_singles():
    asked = read("two mice, three knives and one fluffy teddy bear")
    assert asked is not None
    assert asked.singles == ("mouse",) * 2 + ("knife",) * 3 + ("fluffy teddy bear",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "near a dog",
        "a cat near",
        "a man is walking his dog",
        "a dog in front of a desk",  # no relation of boxes
        "a dog behind a desk",
        "a cat and a dog near a tree",  # which of them?
        "two cats near a tree",
        "a cat near a dog near a tree",
        "The jagged, towering cliffs loomed over the rocky shoreline.",
        "The vibrant flower bloomed next to the mossy stone.",
        "a cat, , a dog",
        "a " * 10_000,
    ],
)
def test_other_sentences_are_not_guessed_at(text):
    assert read(text) is None


@given(st.text())
def test_any_text_is_read_or_refused(text):
    asked = read(text)
    assert asked is None or asked.objects


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_benchmarks_spatial_prompts_are_read_whole(shared_data: Path, split):
    """All 1,000 of `spatial`, and all of the complex ones that are tagged as spatial."""
    for name in (f"spatial_{split}.txt", f"complex_{split}_spatial.txt"):
        lines = (shared_data / "prompts" / name).read_text().splitlines()
        for line in filter(None, lines):
            asked = read(line)
            assert asked is not None, line
            assert asked.relation is not None, line
            assert all(thing.name.split()[-1] in line.lower() for thing in asked.objects), line
            if name.startswith("spatial"):
                plain = paraphrases(asked)["plain"].replace("an ", "a ")
                assert plain == line.lower().replace("an ", "a ").replace(
                    "on top of", "on the top of"
                )


# -- names and words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "planned", "expected"),
    [
        ("red heart", "red heart", 1),
        ("red heart", "striped red heart", 1),
        ("red heart", "blue heart", 0.5),
        ("red heart", "red star", 0),
        ("cat", "large cats", 1),
        ("women", "a woman", 1),
        ("glass of water", "tall glass of cold water", 1),
        ("glass of water", "water", 0),
        ("black-and-white cat", "white cat", 2 / 3),
        ("lamp", "clamp", 0),
        ("", "x", 0),
    ],
)
def test_likeness_of_names(asked, planned, expected):
    assert likeness(asked, planned) == pytest.approx(expected)


def test_where_words_of_a_relation_stand():
    text = "A Cat On the left of a sunflower, under a bear"
    assert [(name, text[a:b]) for name, a, b in find_relation_words(text)] == [
        ("left", "On the left of"),
        ("bottom", "under"),
    ]
    assert find_relation_words("thunder, a nearby undertaker, overalls") == []
