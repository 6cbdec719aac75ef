"""All the ways to say a meaning, and which of them training never shows."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.icons.data import triples
from got_r1.icons.prompts import CATEGORIES, draw_meaning, parse, phrasings, prompt_list, say
from got_r1.icons.splits import split_of
from got_r1.icons.wordings import DIVISIONS, Division, draw_of, seen_paraphrases, wordings
from got_r1.icons.world import Meaning, ObjectSpec
from got_r1.plan.layout import RELATIONS
from got_r1.plan.reading import read, relation_asked
from got_r1.plan.wordings import CONVERSES
from got_r1.policy import load_policy

meanings = st.builds(
    lambda seed, category: draw_meaning(random.Random(seed), category),
    st.integers(0, 2**32),
    st.sampled_from(CATEGORIES),
)
divisions = st.sampled_from(DIVISIONS)
STAR, HEART, TREE = ObjectSpec("star"), ObjectSpec("heart"), ObjectSpec("tree", "red")


def said_either_way(meaning: Meaning) -> list[Meaning]:
    if meaning.relation is None:
        return [meaning]
    first, second, *others = meaning.objects
    return [meaning, Meaning((second, first, *others), CONVERSES[meaning.relation])]


@given(meanings, divisions)
def test_every_wording_reads_back_as_the_meaning(meaning: Meaning, division: Division) -> None:
    made = wordings(meaning, division)
    assert len({wording.text for wording in made}) == len(made)
    for wording in made:
        again = parse(wording.text)
        assert again in said_either_way(meaning), wording
        assert split_of(again) == split_of(meaning)


@given(meanings)
def test_the_general_reader_reads_every_wording(meaning: Meaning) -> None:
    names = {spec.name for spec in meaning.objects}
    for wording in wordings(meaning):
        asked = read(wording.text)
        assert asked is not None, wording
        assert {thing.name for thing in asked.objects} == names
        assert len(asked.singles) == sum(spec.count for spec in meaning.objects)
        if meaning.relation is not None:
            relation = (asked.objects[0].name, asked.relation, asked.objects[1].name)
            ways = [
                (m.objects[0].name, m.relation, m.objects[1].name) for m in said_either_way(meaning)
            ]
            assert relation in ways, wording


@given(meanings, divisions)
def test_seen_and_held_out_wordings_share_no_name(meaning: Meaning, division: Division) -> None:
    made = wordings(meaning, division)
    seen = {wording.name for wording in made if not wording.held_out}
    held_out = {wording.name for wording in made if wording.held_out}
    assert seen
    assert not seen & held_out
    assert not any(wording.new_words for wording in made if not wording.held_out)


@given(meanings)
def test_the_shipped_division_has_seen_what_the_shipped_lists_say(meaning: Meaning) -> None:
    seen = {wording.text for wording in wordings(meaning) if not wording.held_out}
    either = {say(one, style) for one in said_either_way(meaning) for style in phrasings(one)}
    assert seen == either


@pytest.mark.parametrize(
    ("text", "name", "held_out"),
    [
        ("a star to the right of a heart", "A to the right of B", {"divided"}),
        ("a star on the right of a heart", "A on the right of B", set()),
        ("a star under a heart", "A under B", {"divided"}),
        ("under a heart is a star", "under B is A", {"shipped", "divided"}),
        ("a heart with a star under it", "B with A under it", {"shipped"}),
        ("a heart with a star to its left", "B with A to its left", {"shipped", "divided"}),
        ("a heart with a star to its right", "B with A to its right", {"shipped"}),
        ("2 stars and 1 heart", "numbers as digits", {"shipped", "divided"}),
        ("two stars and one heart", "numbers in words", set()),
    ],
)
def test_the_divisions(text: str, name: str, held_out: set[Division]) -> None:
    meaning = parse(text)
    assert meaning is not None
    for division in DIVISIONS:
        found = {wording.text: wording for wording in wordings(meaning, division)}[text]
        assert (found.name, found.held_out) == (name, division in held_out)


@pytest.mark.parametrize("relation", RELATIONS)
def test_held_out_wordings_of_the_new_division_can_be_understood(relation: str) -> None:
    """Of every relation and form, one at least has no word that training does not show."""
    made = wordings(parse(f"a star {relation} a heart") or _of(relation), "divided")
    for form in ("A ", "B with", "B "):
        known = [w for w in made if w.held_out and not w.new_words and w.name.startswith(form)]
        assert known, form


def _of(relation: str) -> Meaning:
    return Meaning((STAR, HEART), next(name for name in RELATIONS if name == relation))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("a dog with a cat to its left", ("cat", "left", "dog")),
        ("There is a bench with a red bike next to it.", ("red bike", "next to", "bench")),
        ("a table with a lamp is above it", ("lamp", "top", "table")),
        ("a dog with a cat to its left near a tree", None),
    ],
)
def test_with_sentences_of_any_things_are_read(
    text: str, asked: tuple[str, str, str] | None
) -> None:
    found = read(text)
    if asked is None:
        assert found is None
    else:
        assert relation_asked(text) == asked


def test_digits_are_numbers_to_both_readers() -> None:
    asked = read("2 dogs and 10 red cups")
    assert asked is not None
    assert [(one.name, one.count) for one in asked.objects] == [("dog", 2), ("red cup", 10)]
    assert parse("3 stars") == Meaning((ObjectSpec("star", None, None, 3),))
    assert parse("5 stars") is None
    assert parse("3 star") is None


# -- what is drawn -------------------------------------------------------------------------------


def test_nothing_that_is_drawn_under_a_division_is_held_out() -> None:
    texts = [prompt.text for prompt in prompt_list("train", 600, 0, draw_of("divided"))]
    texts += [triple.prompt.text for triple in triples(100, wordings="divided")]
    names = set()
    for text in texts:
        meaning = parse(text)
        assert meaning is not None
        assert split_of(meaning) == "train"
        (found,) = (w for w in wordings(meaning, "divided") if w.text == text)
        assert not found.held_out
        names.add(found.name.split(" ")[0])
    assert {"A", "B", "below", "numbers", "articles"} <= names


@given(meanings, divisions)
def test_paraphrases_are_seen_and_others(meaning: Meaning, division: Division) -> None:
    text = say(meaning)
    others = seen_paraphrases(text, division)
    seen = {wording.text for wording in wordings(meaning, division) if not wording.held_out}
    assert len(set(others)) == len(others) >= 3
    assert set(others) == seen - {text}


def test_paraphrases_of_a_foreign_sentence_are_refused() -> None:
    with pytest.raises(ValueError, match="not a sentence"):
        seen_paraphrases("a dog")


def test_the_shipped_tokenizer_spells_every_wording() -> None:
    words = load_policy("icons").words
    for relation in RELATIONS:
        for wording in wordings(Meaning((STAR, HEART, TREE), relation)):
            assert wording.text in words.tokenizer.decode(words.encode_prompt(wording.text))
    for wording in wordings(Meaning((ObjectSpec("star", None, None, 2), HEART))):
        assert wording.text in words.tokenizer.decode(words.encode_prompt(wording.text))
