"""Whose box is it? Labels under any key, names in prose, families' own marks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.judges.labels import Match, compare
from got_r1.judges.replies import Unreadable, read_boxes

FRAME = (392, 280)
RED, BLUE = (10.0, 20.0, 300.0, 240.0), (0.0, 0.0, 50.0, 60.0)
R, B = "[10, 20, 300, 240]", "[0, 0, 50, 60]"


def boxes(reply: str, name: str = "red heart") -> list[tuple[float, float, float, float]]:
    return read_boxes(reply, name, FRAME)


# -- two things, each under its name ---------------------------------------------------------------

KEYS = (
    *("label", "name", "object", "object_name", "objectName", "category", "class", "class_name"),
    *("item", "entity", "target", "thing", "type", "phrase", "title", "text", "description", "ref"),
    *("what", "noun", "detected_object", "query", "tag", "Label", "foo", "描述"),
)
BOX_KEYS = ("bbox_2d", "bbox", "box", "bounding_box", "coordinates", "BBox")


@given(st.sampled_from(KEYS), st.sampled_from(BOX_KEYS), st.booleans(), st.booleans())
def test_a_text_beside_a_box_is_its_label_whatever_its_key(key, box_key, label_first, red_first):
    def thing(name: str, box: tuple[float, ...]) -> dict:
        pairs = [(key, name), (box_key, box)]
        return dict(pairs if label_first else pairs[::-1])

    things = [thing("red heart", RED), thing("blue star", BLUE)]
    reply = json.dumps(things if red_first else things[::-1])
    assert boxes(reply) == [RED]
    assert boxes(reply, "blue star") == [BLUE]
    with pytest.raises(Unreadable, match="none of them"):
        boxes(reply, "green moon")


TWO = {
    # JSON in other shapes
    f'{{"label": "red heart", "bbox": {R}, "label": "blue star", "bbox": {B}}}',
    f'{{"bbox": {R}, "label": "red heart", "bbox": {B}, "label": "blue star"}}',
    f'[{{"label": "red heart", "bbox": {R}, "label": "blue star", "bbox": {B}}}]',
    f'{{"red heart": {R}, "blue star": {B}}}',
    f'{{"red_heart": {{"bbox": {R}}}, "blue_star": {{"bbox": {B}}}}}',
    f'{{"objects": [{{"name": "red heart", "bbox": {R}}}, {{"name": "blue star", "bbox": {B}}}]}}',
    f'{{"boxes": [{R}, {B}], "labels": ["red heart", "blue star"]}}',
    f'{{"bboxes": [{R}, {B}], "class_names": ["red heart", "blue star"]}}',
    f'[["red heart", {R}], ["blue star", {B}]]',
    f'["red heart", {R}, "blue star", {B}]',
    '[["red heart", 10, 20, 300, 240], ["blue star", 0, 0, 50, 60]]',
    f'[{{"object": "heart", "color": "red", "bbox": {R}}}, '
    f'{{"object": "star", "color": "blue", "bbox": {B}}}]',
    f'[{{"label": "blue star", "near": "red heart", "bbox": {B}}}, '
    f'{{"label": "red heart", "near": "blue star", "bbox": {R}}}]',
    f'[{{"label": "red heart", "confidence": "high", "reasoning": "It is left of a blue star.", '
    f'"bbox": {R}}}, {{"label": "blue star", "confidence": "0.9", "bbox": {B}}}]',
    f'[{{"label": "red heart", "bbox": {R}}}, '
    f'{{"label": "blue star left of a red heart", "bbox": {B}}}]',
    f'{{"objects": [{{"obj": "red heart", "loc": {R}}}, {{"obj": "blue star", "loc": {B}}}]}}',
    f'[{{"object": {{"name": "red heart"}}, "bbox": {R}}}, '
    f'{{"object": {{"name": "blue star"}}, "bbox": {B}}}]',
    f'[{{"labels": ["red heart"], "bbox": {R}}}, {{"labels": ["blue star"], "bbox": {B}}}]',
    f'[{{"id": "red heart", "bbox": {R}}}, {{"id": "blue star", "bbox": {B}}}]',
    f'[{{"reasoning": "This is a red heart.", "bbox": {R}}}, '
    f'{{"reasoning": "This is a blue star.", "bbox": {B}}}]',
    f'{{"label_1": "red heart", "bbox_1": {R}, "label_2": "blue star", "bbox_2": {B}}}',
    f'{{"heart": {{"color": "red", "bbox": {R}}}, "star": {{"color": "blue", "bbox": {B}}}}}',
    # lines and prose
    f"red heart: {R}, blue star: {B}",
    f"red heart: {R}\nblue star: {B}",
    f"- **Red heart**: {R}\n- **Blue star**: {B}",
    f"1. red heart - {R}\n2. blue star - {B}",
    f"The red heart is at {R} and the blue star is at {B}.",
    f"The red heart is on the left: {R}. The blue star is located at {B}.",
    f"{R} red heart\n{B} blue star",
    f"1. {R}: red heart\n2. {B}: blue star",
    f"Here are the boxes:\n{R} - red heart\n{B} - blue star",
    f"{R} is the red heart, {B} is the blue star.",
    f'red heart: ```json\n{{"bbox": {R}}}\n```\nblue star: ```json\n{{"bbox": {B}}}\n```',
    f"Red heart:\n{R}\n\nBlue star:\n{B}\n",
    f"The red heart is on the left. Its box is {R}. The blue star is above. Its box is {B}.",
    "red heart: (10,20),(300,240); blue star: (0,0),(50,60)",
    f"| object | box |\n|---|---|\n| red heart | {R} |\n| blue star | {B} |",
    f"<red heart>{R}</red heart><blue star>{B}</blue star>",
    f'<box label="red heart">{R}</box><box label="blue star">{B}</box>',
    f"The box of the red heart is {R}, and for the blue star it is {B}.",
    # families' marks
    "<ref>red heart</ref><box>(10,20),(300,240)</box><ref>blue star</ref><box>(0,0),(50,60)</box>",
    f"<ref>red heart</ref><box>[{R}]</box> <ref>blue star</ref><box>[{B}]</box>",
    "<ref>red heart</ref><box>10 20 300 240</box><ref>blue star</ref><box>0 0 50 60</box>",
    "<|object_ref_start|>red heart<|object_ref_end|><|box_start|>(10,20),(300,240)<|box_end|>"
    "<|object_ref_start|>blue star<|object_ref_end|><|box_start|>(0,0),(50,60)<|box_end|>",
    f"<|ref|>red heart<|/ref|><|det|>[{R}]<|/det|><|ref|>blue star<|/ref|><|det|>[{B}]<|/det|>",
    "<p>red heart</p> {<10><20><300><240>} and <p>blue star</p> {<0><0><50><60>}",
}


@pytest.mark.parametrize("reply", sorted(TWO))
def test_of_two_things_each_name_gets_its_own_box(reply):
    assert boxes(reply) == [RED]
    assert boxes(reply, "blue star") == [BLUE]


@pytest.mark.parametrize("reply", sorted(TWO))
def test_a_third_name_gets_neither(reply):
    with pytest.raises(Unreadable):
        boxes(reply, "green moon")


# -- one thing -------------------------------------------------------------------------------------

OURS = {
    f'{{"object": "heart", "color": "red", "bbox": {R}}}',
    f'{{"label": "heart", "bbox": {R}}}',
    f'{{"label": "small red heart", "bbox": {R}}}',
    f'{{"label": "Red Heart (left)", "bbox": {R}}}',
    f'{{"label": "red heart 1", "bbox": {R}}}',
    f'{{"label": "the red heart on the blue star", "bbox": {R}}}',
    f'{{"label": "红心", "bbox": {R}}}',
    f'{{"id": "1", "confidence": "high", "position": "upper left", "bbox": {R}}}',
    f'{{"reasoning": "A blue star is above, the shape with two lobes is what is asked.", "b": 1, '
    f'"bbox": {R}}}',
    f'{{"category": "shape", "color": "red", "bbox": {R}}}',
    f'{{"caption": "A red heart and a blue star on white.", "bbox": {R}}}',
    f'{{"scene": "a toy box", "objects": [{{"bbox": {R}}}]}}',
    '[10, 20, 300, 240, "red heart"]',
    f"\\boxed{{{R}}}",
    f'{{"file_name": "image_001.png", "bbox": {R}}}',
    f'{{"result": [{{"bbox": {R}}}]}}',
    f'{{"object_1": {{"bbox": {R}}}}}',
    f"The box is {R}.",
    f"Sure! Here is the bounding box of the red heart in the image:\n```json\n[{R}]\n```",
    f"The red heart is left of the blue star. {R}",
    f'I looked at each shape. Here it is: {{"bbox": {R}}}',
    f'{{"label": "x", "bbox": {R}}}',
    f'[{{"label": "red heart", "bbox": {R}}}, {{"label": "blue star", "bbox": null}}]',
    f'{{"red heart": {R}, "blue star": "not found"}}',
    f"There is no blue star in the image, but the red heart is at {R}.",
    f"No doubt, the red heart is at {R}.",
}


@pytest.mark.parametrize("reply", sorted(OURS))
def test_a_box_that_is_ours(reply):
    assert boxes(reply) == [RED]


NOBODY_KNOWS = {
    f'{{"label": "blue star", "bbox": {B}}}',
    f'{{"foo": "blue star", "bbox": {B}}}',
    f'{{"foo": "blue star", "loc": {B}}}',
    '{"foo": "blue star", "x1": 0, "y1": 0, "x2": 50, "y2": 60}',
    f'{{"label": "blue heart", "bbox": {B}}}',
    f'{{"object": "heart", "color": "blue", "bbox": {B}}}',
    f'{{"label": "red heart and blue star", "bbox": {B}}}',
    f'[{{"label": "blue star", "bbox": {B}}}, {{"bbox": {R}}}]',
    f'[{{"label": "red heart", "bbox": {R}}}, {{"label": "blue star", "bbox": {B}}}, '
    f'{{"bbox": {B}}}]',
    f'{{"label": "blue star", "bbox": {B}, "bbox": {R}}}',
    f'{{"boxes": [{R}, {B}], "labels": ["red heart"]}}',
    f'[{{"label": "heart", "bbox": {R}}}, {{"label": "star", "bbox": {B}}}]',
    f'[{{"label": "红心", "bbox": {R}}}, {{"label": "蓝星", "bbox": {B}}}]',
    f'[{{"label": "red heart"}}, {{"bbox": {R}}}, {{"label": "blue star"}}, {{"bbox": {B}}}]',
    f"red heart, blue star: {R}, {B}",
    f"1. red heart\n2. blue star\n{R}\n{B}",
    f"{R}, {B}\n(red heart, blue star)",
    f"The red heart and the blue star are here: {R}, {B}",
    f"Boxes: {R}, {B} for the red heart and the blue star.",
    f"I see a red heart and a blue star.\n{R}\n{B}",
    f"The blue star is at {B}.",
    f"<ref>blue star</ref><box>[{B}]</box>",
}


@pytest.mark.parametrize("reply", sorted(NOBODY_KNOWS))
def test_a_box_of_nobody_knows_what_is_unreadable(reply):
    with pytest.raises(Unreadable):
        boxes(reply)


@pytest.mark.parametrize(
    "reply",
    [
        f"I found two red hearts: {R} and {B}.",
        f"Sure, here you go:\n[{R}, {B}]\nLet me know if you need more.",
        f"Left heart: {R}\nRight heart: {B}",
        f"Red heart 1: {R}\nRed heart 2: {B}",
        f"First instance: {R}\nSecond instance: {B}",
        f'{{"name": "red heart", "instances": [{R}, {B}]}}',
        f'[{{"label": "red heart", "bbox": {R}}}, {{"bbox": {B}}}]',
    ],
)
def test_several_of_ours_are_all_ours(reply):
    assert boxes(reply) == [RED, BLUE]


ABSENT = {
    f'{{"red heart": null, "blue star": {B}}}',
    f'{{"red heart": [], "blue star": {B}}}',
    f'{{"red heart": "not found", "blue star": {B}}}',
    f'[{{"label": "red heart", "bbox": null}}, {{"label": "blue star", "bbox": {B}}}]',
    f'[{{"label": "red heart", "found": false}}, {{"label": "blue star", "bbox": {B}}}]',
    f"There is no red heart in the image. The blue star is at {B}.",
    f'There is no red heart. [{{"label": "blue star", "bbox": {B}}}]',
    '{"found": "no"}',
    '{"label": "red heart", "count": 0}',
    '{"present": "false", "bbox": null}',
    '{"error": "no red heart found"}',
    '{"result": "The image does not contain a red heart."}',
}


@pytest.mark.parametrize("reply", sorted(ABSENT))
def test_our_thing_is_absent_whatever_else_is_there(reply):
    assert boxes(reply) == []


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "asked", "match"),
    [
        ("Red_Heart", "red heart", Match.SAME),
        ("hearts", "heart", Match.SAME),
        ("boxes", "box", Match.SAME),
        ("salt and pepper shaker", "salt and pepper shaker", Match.SAME),
        ("the first object", "red heart", Match.NONE),
        ("", "red heart", Match.NONE),
        ("2", "red heart", Match.NONE),
        ("heart", "red heart", Match.PART),
        ("red", "red heart", Match.OTHER),
        ("hat", "man in a red hat", Match.OTHER),
        ("man", "man in a red hat", Match.PART),
        ("man with a red heart", "red heart", Match.OTHER),
        ("heart of red glass", "red heart", Match.CONTAINS),
        ("红色的心", "红色的心", Match.SAME),
        ("左边红色的心", "红色的心", Match.CONTAINS),
    ],
)
def test_names_are_compared_by_their_words(label, asked, match):
    assert compare(label, asked) is match


@pytest.mark.parametrize("name", ["red heart", "blue star"])
def test_of_two_names_in_a_row_neither_gets_a_box(name):
    for reply in (f"red heart, blue star: {R}, {B}", f"red heart, blue star: [{R}, {B}]"):
        with pytest.raises(Unreadable):
            boxes(reply, name)


@given(st.text(), st.text(), st.lists(st.text(), max_size=2))
def test_any_texts_can_be_compared(label, asked, aside):
    assert compare(label, asked, aside) in Match
