"""Prompts read: the icon world's grammar and T2I-CompBench's sentences as witnesses."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.benchmarks.compbench import spatial as compbench
from got_r1.benchmarks.compbench.quirks import CORRECTED
from got_r1.benchmarks.geneval import rules as geneval
from got_r1.icons import prompts as icons
from got_r1.icons.world import Meaning
from got_r1.plan.layout import DEPTH_RELATIONS, RELATIONS, relation_holds
from got_r1.plan.reading import (
    AskedObject,
    PromptSpec,
    find_relation_words,
    likeness,
    paraphrases,
    read,
    relation_asked,
)
from got_r1.plan.wordings import CONVERSES, RELATION_OF_WORDS, RELATION_WORDS
from got_r1.records import Box

meanings = st.builds(
    lambda seed, category: icons.draw_meaning(random.Random(seed), category),
    st.integers(0, 2**32),
    st.sampled_from(icons.CATEGORIES),
)
related = meanings.filter(lambda meaning: meaning.relation is not None)


def asked_of(meaning: Meaning) -> PromptSpec:
    """What the icon world's own grammar understood."""
    objects = tuple(AskedObject(spec.name, spec.count) for spec in meaning.objects)
    return PromptSpec(objects, meaning.relation)


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
    converse = Meaning((second, first, *others), CONVERSES[meaning.relation])
    for form, text in said.items():
        expected = converse if form.startswith("converse") else meaning
        assert icons.parse(text) == expected
        assert read(text) == asked_of(expected)


# -- every wording, and every reader of it --------------------------------------------------------

WORDINGS = [(relation, words) for relation, some in RELATION_WORDS.items() for words in some]
SIDES = {"left": Box(100, 450, 200, 550), "right": Box(800, 450, 900, 550)}
SIDES |= {"top": Box(450, 100, 550, 200), "bottom": Box(450, 800, 550, 900)}
CENTRE = Box(450, 450, 550, 550)


def corners(box):
    return box.x1, box.y1, box.x2, box.y2


def test_no_wording_has_two_meanings():
    assert tuple(RELATION_WORDS) == tuple(CONVERSES) == (*RELATIONS, *DEPTH_RELATIONS)
    assert len(RELATION_OF_WORDS) == len(WORDINGS)
    assert all(CONVERSES[CONVERSES[relation]] == relation for relation in CONVERSES)


@pytest.mark.parametrize(("relation", "words"), WORDINGS)
def test_all_readers_know_every_wording_with_the_same_meaning(relation, words):
    sentences = {
        f"a star {words} a heart": ("star", "heart"),
        f"A photo of the red star is {words} one heart.": ("red star", "heart"),
        f"a star {words} a heart, with a tree": ("star", "heart"),
    }
    for text, (one, two) in sentences.items():
        asked, meaning = read(text), icons.parse(text)
        assert asked == asked_of(meaning)
        assert asked.relation == relation
        assert relation_asked(text) == (one, relation, two)
        assert [found[0] for found in find_relation_words(text)] == [relation]
    # Sentences outside the grammar of `read`.
    assert relation_asked(f"Two dogs {words} a sofa; a lamp") == ("two dogs", relation, "a sofa")


def test_a_negated_relation_is_not_asked_for():
    for text in ("a cat that is not left of a dog", "there isn't a cat left of a dog"):
        assert relation_asked(text) is None
    assert relation_asked("No smoking here; a big cat asleep left of a dog") is not None


def test_a_book_beneath_a_cup():
    assert relation_asked("a book beneath a cup") == ("book", "bottom", "cup")


@pytest.mark.parametrize("words", compbench.LOCALITIES)
def test_the_official_2d_scorer_measures_its_phrases_as_we_read_them(words):
    relation = RELATION_OF_WORDS[words]
    nearness = CONVERSES[relation] == relation  # its limits are the script's own
    assert (words in compbench.BESIDE) == nearness
    for box in () if nearness else SIDES.values():
        score = compbench.position_score(corners(box), corners(CENTRE), words, CORRECTED)
        assert (score == 1) == relation_holds(relation, box, CENTRE)


def test_every_phrase_of_the_official_scripts_is_known():
    for phrase in (*compbench.LOCALITIES, compbench.SIDE):
        assert phrase in RELATION_OF_WORDS
    for phrase in (*compbench.PHRASES, *compbench.MISSED_PHRASES):
        assert phrase in RELATION_OF_WORDS or f"{phrase} of" in RELATION_OF_WORDS


def test_geneval_measures_its_relations_as_we_read_them():
    for side, box in SIDES.items():
        one, centre = (
            geneval.Detected((where.x1, where.y1, where.x2, where.y2), 1) for where in (box, CENTRE)
        )
        seen = geneval.relations(one, centre)
        assert {RELATION_OF_WORDS[words] for words in seen} == {side}


@given(related)
def test_the_sides_of_a_relation_are_the_names_of_its_objects(meaning):
    first, second = (spec.name for spec in meaning.objects[:2])
    for phrasing in icons.phrasings(meaning):
        assert relation_asked(icons.say(meaning, phrasing)) == (first, meaning.relation, second)


@given(
    st.sampled_from(WORDINGS),
    st.text(alphabet="abcdeé ", min_size=1, max_size=12).filter(str.strip),
    st.text(alphabet="fghijü ", min_size=1, max_size=12).filter(str.strip),
)
def test_the_sides_of_any_single_relation_are_found(wording, before, after):
    relation, words = wording
    stated = relation_asked(f"two {before} {words} two {after}")
    assert stated == (
        " ".join(f"two {before}".split()), relation, " ".join(f"two {after}".split())
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Cat sitting on top of the sofa.", ("cat", "top", "sofa")),
        ("to the left of the dog is a cat", ("cat", "left", "dog")),
        ("a picture of two cats near a sofa", ("two cats", "near", "a sofa")),
        ("a spoon and a vase beside a bowl and a cup", ("a vase", "next to", "a bowl")),
        ("a red vase and a blue bowl", None),
        ("a vase on the left of a bowl near a cup", None),
        ("a linear undertone", None),
        ("a right-hand man, a top-left of-shoot", None),
        ("near a bowl", None),
        ("a vase below", None),
        ("", None),
    ],
)
def test_a_relation_is_asked_when_there_is_just_one(text, expected):
    assert relation_asked(text) == expected


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
        ("A mouse hidden by a key.", ["mouse", "key"], "behind"),
        ("there is a dog standing directly in front of a desk", ["dog", "desk"], "in front of"),
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
        "a cat and a dog near a tree",  # which of them?
        "two cats near a tree",
        "a cat near a dog near a tree",
        "The jagged, towering cliffs loomed over the rocky shoreline.",
        "The vibrant flower bloomed next to the mossy stone.",
        "a cat, , a dog",
        "no red heart",  # a negation names nothing to draw
        "a red heart and no blue star",
        "a beach without people",
        "a dog never left of a cat",
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
def test_the_benchmarks_spatial_prompts_are_read_whole(reference_data: Path, split):
    """All 1,000 of `spatial`, and all of the complex ones that are tagged as spatial."""
    for name in (f"spatial_{split}.txt", f"complex_{split}_spatial.txt"):
        lines = (reference_data / "prompts" / name).read_text().splitlines()
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
        ("café", "a small Café", 1),
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
    shifted = "\u0130\u0130 sit above a bear"  # lower case has one character more for each
    assert [shifted[a:b] for _, a, b in find_relation_words(shifted)] == ["above"]
    assert find_relation_words("thunder, a nearby undertaker, overalls") == []
