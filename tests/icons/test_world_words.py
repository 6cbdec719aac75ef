"""What the icon world understands, and what it says of the rest."""

import random
from pathlib import Path

import pytest

from got_r1.icons.data import triples
from got_r1.icons.prompts import CATEGORIES, draw_meaning, parse, phrasings, say
from got_r1.icons.scenes import draw_scene
from got_r1.icons.words import (
    alike,
    describe,
    doubts,
    fold_name,
    folded,
    plan_doubts,
    snap,
    spoken,
    vocabulary,
)
from got_r1.icons.world import CELL, GRID, pixels_from_box
from got_r1.plan.chain import parse as parse_chain
from got_r1.plan.layout import RELATIONS
from got_r1.plan.wordings import RELATION_WORDS
from got_r1.records import Box, PlannedObject
from got_r1.sampling import Drawing
from got_r1.sampling.checks import Checks


@pytest.mark.parametrize("category", CATEGORIES)
def test_sentences_of_the_training_are_understood_and_stay(category):
    rng = random.Random(category)
    for _ in range(20):
        meaning = draw_meaning(rng, category)
        for phrasing in phrasings(meaning):
            text = say(meaning, phrasing)
            assert doubts(text) == ()
            assert spoken(text) == text == spoken(f"  {text.upper()} . ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RED HEART", "a red heart"),
        ("two hearts and a star", "two hearts and one star"),
        *(
            (f"a star {w} a red heart", None)
            for relation in RELATIONS
            for w in RELATION_WORDS[relation]
        ),
    ],
)
def test_other_words_become_those_of_the_training(text, told):
    assert doubts(text) == ()
    assert told in (None, spoken(text))
    assert parse(spoken(text)) == parse(text)
    assert folded(spoken(text)) in {say(parse(text), one) for one in phrasings(parse(text))}


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("a dotted green tree above a striped yellow zebra", ['"zebra" is no word of the icon']),
        ("five red hearts", ["5 objects are asked for, and an image holds at most 4"]),
        ("three hearts and two zebras", ["5 objects", '"zebras" is no word']),
        ("11 red hearts", ['"11" is no word of the icon world, which counts up to four']),
        ("no red heart", ['"no" is no word of the icon world: what a prompt names is drawn']),
        ("ein rotes Herz", ['"ein"', '"rotes"', '"Herz"']),
        ("a red hart", ['"hart" is no word of the icon world (the nearest is "heart")']),
        ("a heart above a star above a moon", ["it states 2 relations"]),
        ("two hearts near a star", ["a relation of several objects"]),
        ("heart red", ["no sentence of the icon world"]),
        ("?!", ["no sentence of the icon world"]),
        ("a heart and " * 50 + "a star", ["longer than any sentence"]),
    ],
)
def test_what_is_not_understood_is_named(text, reasons):
    found = doubts(text)
    assert len(found) == len(reasons)
    for reason, one in zip(reasons, found, strict=True):
        assert reason in one


def test_a_name_without_a_fill_is_plain():
    assert alike("plain red heart", "red heart") == alike("red heart", "striped red heart") == 1
    assert alike("striped heart", "red heart") == 0.5
    assert alike("heart", "star") == alike("heart", "house") == 0


def test_names_are_folded_as_chains_write_them():
    assert fold_name(" Plain  Red HEART") == "red heart"
    assert fold_name("Striped heart") == "striped heart"
    assert fold_name("Red Zebra") == "Red Zebra"


def test_boxes_snap_to_tokens():
    assert snap(Box(0, 0, 310, 290)) == Box(0, 0, 300, 300)
    for box in (Box(3, 990, 4, 999), Box(0, 0, 999, 999), Box(449, 551, 452, 556)):
        edges = pixels_from_box(snap(box))
        assert all(edge % CELL == 0 and 0 <= edge <= GRID * CELL for edge in edges)
        assert edges[0] < edges[2]
        assert edges[1] < edges[3]


def test_a_plan_of_a_scene_leaves_no_doubt():
    rng = random.Random(0)
    for _ in range(50):
        layout = draw_scene(rng, draw_meaning(rng, rng.choice(CATEGORIES)))
        icons = [PlannedObject(icon.name, icon.box) for group in layout for icon in group]
        assert plan_doubts(icons) == ()


@pytest.mark.parametrize(
    ("objects", "told"),
    [
        ([("red zebra", (0, 0, 300, 300))], '"zebra" is no word'),
        ([("heart red", (0, 0, 300, 300))], '"heart red" names no object'),
        ([("red heart", (0, 0, 900, 300))], "a box of 36x12 pixels, and the world's are 12x12"),
        ([("red heart", (0, 0, 400, 400)), ("star", (300, 300, 700, 700))], "overlap"),
        ([("heart", (100 * i, 0, 100 * i + 300, 300)) for i in range(5)], "5 objects"),
    ],
)
def test_what_no_image_of_this_world_shows_is_named(objects, told):
    found = plan_doubts([PlannedObject(name, Box(*box)) for name, box in objects])
    assert any(told in one for one in found)


def test_the_readme_lists_every_word():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for kind, words in vocabulary().items():
        row = f"| {kind} | {', '.join(words)} |"
        assert row in readme, f"README.md must have this line: {row}"
        assert ", ".join(words) in describe()


def test_a_relation_that_is_read_and_not_drawn_is_told(monkeypatch):
    monkeypatch.setattr("got_r1.icons.words.RELATIONS", ("left", "right"))
    assert doubts("a heart above a star") == ('"above" is no relation of the icon world',)
    assert spoken("A heart above a star") == "a heart above a star"


def test_a_model_that_draws_in_depth_knows_its_relations():
    for made in triples(20, seed=5, depth=1.0):
        text = made.prompt.text
        assert doubts(text, depth=True) == ()
        assert spoken(text, depth=True) == text
        assert "is no relation of the icon world" in doubts(text)[0]
        drawing = Drawing(made.prompt, parse_chain(made.chain, marks=True), "", made.image, 0, 0, 0)
        said = Checks(world=True, marks=True).look(drawing)
        wrong = made.meaning.relation != parse(text).relation  # the captions' own noise
        assert bool(said["faults"]) == wrong
        assert said["not_understood"] == []
        assert min(said["iou"]) > 0.9
