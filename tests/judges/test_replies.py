"""What models answer when they are asked for JSON, and what of it is an answer."""

import contextlib
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from got_r1.judges.replies import MOST_BOXES, Unreadable, read_boxes, read_score

FRAME = (392, 280)


def boxes(reply: str, name: str = "red heart") -> list[tuple[float, float, float, float]]:
    return read_boxes(reply, name, FRAME)


# -- scores: what is read --------------------------------------------------------------------------

CLEAR = {
    # the form that was asked for, and JSON's own freedoms
    '{"score": 8}': 8,
    '{"score": 8.5}': 8.5,
    '{"score": 0}': 0,
    '{"score": 1e1}': 10,
    '{\n  "reasoning": "fine",\n  "score": 7\n}': 7,
    '{"reasoning": "two\nlines", "score": 7}': 7,
    # fences and prose around it
    '```json\n{"score": 8}\n```': 8,
    '```\n{"score": 8}\n```\n': 8,
    'Here is my verdict:\n{"score": 8}\nI hope this helps!': 8,
    '<think>a 3? {"score": 3} no</think>\n{"score": 8}': 8,
    'Let {me} see. {"score": 8}': 8,
    # nearly JSON
    "{'score': 8}": 8,
    "{'reasoning': 'it\\'s there', 'score': 8}": 8,
    '{"score": 8,}': 8,
    '{"reasoning": "ok", "score": 8, }': 8,
    "{score: 8}": 8,
    "{score: eight}": 8,
    "{'found': True, 'note': None, 'score': 8}": 8,
    '{{"score": 8}}': 8,
    '[{"score": 8}': 8,
    '{"reasoning": "a "red" heart", "score": 8}': 8,
    '```json\n{"reasoning": "a "red" heart", "score": 8}\n```': 8,
    "{'reasoning': 'it's there', 'score': '8/10'}": 8,
    # the number in other words
    '{"score": "8"}': 8,
    '{"score": " 8.0 "}': 8,
    '{"score": "eight"}': 8,
    '{"score": "Ten"}': 10,
    '{"score": "zero"}': 0,
    '{"score": "8/10"}': 8,
    '{"score": 8/10}': 8,
    '{"score": "8 out of 10"}': 8,
    '{"score": "eight out of ten"}': 8,
    '{"score": "7 points"}': 7,
    # other places and keys
    '{"Score": 8}': 8,
    '{"final_score": 8}': 8,
    '{"Overall Score": 8}': 8,
    '{"answer": {"score": 8}}': 8,
    '[{"score": 8}]': 8,
    '{"score": {"score": 8}}': 8,
    '{"completeness_score": 3, "score": 8}': 8,
    # said twice, but the same
    '{"score": 8} {"score": 8.0}': 8,
    '{"score": 8, "final_score": "8/10"}': 8,
    'Score: 8\n\n{"score": 8}': 8,
    # what a string quotes is no verdict
    '{"reasoning": "it plants {\\"score\\": 10}", "score": 2}': 2,
    "{'reasoning': 'it plants {\"score\": 10}', 'score': 2}": 2,
    '{"reasoning": "Score: 10", "score": 2}': 2,
    '{"reasoning": "line\nScore: 10\n", "score": 2}': 2,
    # no JSON at all
    "8": 8,
    "**8**": 8,
    "8/10": 8,
    "eight": 8,
    "Eight out of ten.": 8,
    "Score: 8": 8,
    "score = 8": 8,
    "**Score:** 8/10": 8,
    "## Final score: 8.5": 8.5,
    "The score is 8.": 8,
    "All there.\n\nScore: 8\n": 8,
    "Overall score of 8": 8,
}


@pytest.mark.parametrize(("reply", "score"), CLEAR.items())
def test_a_clear_score_is_read(reply, score):
    assert read_score(reply).score == score / 10


# -- scores: what is not ---------------------------------------------------------------------------

UNCLEAR = {
    # nothing there
    "": "empty",
    "  \n ": "empty",
    "```json\n```": "no score",
    "{}": "no score",
    "{{}}": "malformed",
    "[]": "no score",
    "null": "no score",
    '{"reasoning": "fine"}': "no score",
    "I'm sorry, but I can't help with that.": "no score",
    "I cannot give a score of 8 to this.": "no score",
    '{"error": "content policy"}': "no score",
    "The picture shows 3 hearts and 2 stars.": "no score",
    "An 8/10 would need a star; there is none.": "no score",
    # cut off: the number may go on
    '{"score": 1': "cut off",
    '{"score": 8': "cut off",
    '{"score":': "cut off",
    '{"reasoning": "it plants {\\"score\\": 10}", "sco': "cut off",
    '{"reasoning": "it plants {"score": 10}", "sco': "cut off",
    '```json\n{"reasoning": "there is a heart, and': "cut off",
    "<think>I would say 8": "thinking",
    # contradictory
    '{"score": 8} {"score": 3}': "different",
    '{"score": 8, "score": 3}': "different",
    '{"score": 8, "final_score": 3}': "different",
    '```json\n{"score": 8}\n```\nOn reflection:\n```json\n{"score": 3}\n```': "different",
    'Score: 3\n{"score": 8}': "different",
    "Score: 8\nScore: 3": "different",
    '{"reasoning": "the "score": 10 is planted", "score": 2}': "malformed",
    # no number, or not one
    '{"score": NaN}': "not within",
    '{"score": "NaN"}': "no number",
    '{"score": Infinity}': "not within",
    '{"score": 1e999}': "not within",
    '{"score": null}': "no number",
    '{"score": true}': "no number",
    '{"score": "high"}': "no number",
    '{"score": 1 0}': "malformed",
    '{"score": ""}': "no number",
    '{"score": "7-8"}': "no number",
    '{"score": "7 or 8"}': "no number",
    '{"score": "about 8"}': "no number",
    '{"score": "~8"}': "no number",
    '{"score": "8,5"}': "no number",
    '{"score": "٨"}': "no number",
    '{"score": "0x8"}': "no number",
    '{"score": "N"}': "no number",
    '{"score": <number from 0 to 10>}': "malformed",
    '{"score": [8]}': "no score",
    '{"score": {"completeness": 8}}': "no score",
    "~8": "no score",
    "-8": "not within",
    "seventeen": "no score",
    "Score: seventeen": "no score",
    "Score: -8": "not within",
    "Score: .5": "no score",
    # out of range, or on another scale
    '{"score": 11}': "not within",
    '{"score": 10.0001}': "not within",
    '{"score": -1}': "not within",
    '{"score": 85}': "not within",
    '{"score": ' + "9" * 5000 + "}": "not within",
    '{"score": "80%"}': "no number",
    '{"score": "4/5"}': "another scale",
    '{"score": "80/100"}': "another scale",
    "Score: 4/5": "another scale",
    "4/5": "another scale",
    '{"score": "11/10"}': "not within",
    # nests and floods
    "[" * 3000: "malformed",
    "[" * 500 + "]" * 500: "malformed",
    '{"a":' * 500 + "1" + "}" * 500: "malformed",
    "8 " * 11_000: "characters",
}


@pytest.mark.parametrize(("reply", "why"), UNCLEAR.items())
def test_an_unclear_score_is_unreadable_and_says_why(reply, why):
    with pytest.raises(Unreadable, match=why):
        read_score(reply)


def test_the_reasons_are_the_evidence():
    said = read_score(
        '{"description": "A heart.", "caption": "heart", "reasoning": "It is red.", "score": 9}'
    )
    assert said.reasoning == "A heart. It is red."
    assert read_score("8").reasoning == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
# Text in which the pieces of replies are frequent.
replies = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    '{"score": ',
                    "{'score': ",
                    '"score"',
                    "score",
                    "Score: ",
                    "8",
                    "3",
                    "eight",
                    "/10",
                ),
                *(
                    "}",
                    "{",
                    "[",
                    "]",
                    "(",
                    ")",
                    '"',
                    "'",
                    ",",
                    ":",
                    "\\",
                    "\n",
                    " ",
                    "`",
                    "```json\n",
                ),
                *('"bbox_2d": ', "[1, 2, 30, 40]", "(1,2),(30,40)", "null", "None", "NaN", "1e999"),
                *("not found", "<think>", "</think>", '"label": "red heart"', "-", ".", "%"),
            ]
        ),
        st.text(max_size=6),
        json_values.map(json.dumps),
    ),
    max_size=25,
).map("".join)


@given(st.one_of(replies, st.text()))
@example("{" * 10_000)
@example('{"score": "' + "\\" * 9_999)
@example("score" * 4_000)
@example("\n" * 19_000 + "x")
@example('["' * 6_000)
@example("[[[[1,2]]]" * 1_500)
def test_any_text_is_a_score_within_the_scale_or_unreadable(reply):
    with contextlib.suppress(Unreadable):
        assert 0 <= read_score(reply).score <= 1


@given(
    st.floats(0, 10), st.text(), st.sampled_from(['{"reasoning": %s, "score": %s}', "%s %s"][:1])
)
def test_what_the_rubric_asks_for_is_always_read(mark, reasoning, form):
    reply = form % (json.dumps(reasoning), json.dumps(mark))
    assert read_score(reply).score == mark / 10


@given(st.floats(0, 10), st.text(st.characters(exclude_categories=["Cs"])), st.data())
def test_a_closed_reply_that_is_cut_anywhere_is_never_another_score(mark, reasoning, data):
    """Neither a shorter number nor one out of the reasoning; prose has no such end to go by."""
    reply = json.dumps({"reasoning": reasoning, "score": mark})
    cut = reply[: data.draw(st.integers(0, len(reply) - 1))]
    with pytest.raises(Unreadable):
        read_score(cut)


# -- boxes: what is read ---------------------------------------------------------------------------

BOX = (10.0, 20.0, 300.0, 240.0)
OTHER = (0.0, 0.0, 50.0, 60.0)

SHAPES = {
    '[{"bbox_2d": [10, 20, 300, 240], "label": "red heart"}]': [BOX],
    '```json\n[\n\t{"bbox_2d": [10, 20, 300, 240], "label": "red heart"}\n]\n```': [BOX],
    '{"bbox_2d": [10, 20, 300, 240]}': [BOX],
    '{"bbox": [10, 20, 300, 240]}': [BOX],
    '{"box": [10.0, 20.0, 300.0, 240.0]}': [BOX],
    "{'bounding_box': (10, 20, 300, 240)}": [BOX],
    '{"bbox_2d": ["10", "20", "300", "240"]}': [BOX],
    '{"bbox_2d": "[10, 20, 300, 240]"}': [BOX],
    '{"bbox_2d": "10 20 300 240"}': [BOX],
    "[10, 20, 300, 240]": [BOX],
    "The box is [10, 20, 300, 240].": [BOX],
    "[[10, 20, 300, 240]]": [BOX],
    "[[10, 20], [300, 240]]": [BOX],
    "(10,20),(300,240)": [BOX],
    "The heart is at (10, 20), (300, 240).": [BOX],
    '{"bbox_2d": [[10, 20], [300, 240]]}': [BOX],
    '{"bbox_2d": [[10, 20, 300, 240]]}': [BOX],
    '{"objects": [{"label": "red heart", "bbox": [10, 20, 300, 240]}]}': [BOX],
    '{"red heart": [10, 20, 300, 240]}': [BOX],
    '{"red heart": {"bbox_2d": [10, 20, 300, 240], "confidence": 0.9}}': [BOX],
    '{"x1": 10, "y1": 20, "x2": 300, "y2": 240}': [BOX],
    '{"bbox": {"xmin": 10, "ymin": 20, "xmax": 300, "ymax": 240}}': [BOX],
    '{"x": 10, "y": 20, "width": 290, "height": 220, "label": "red heart"}': [BOX],
    '{"found": true, "bbox_2d": [10, 20, 300, 240]}': [BOX],
    # corners the other way round, and a little over the edge
    "[300, 240, 10, 20]": [BOX],
    "[300, 20, 10, 240]": [BOX],
    "[-3, 20, 400, 285]": [(0.0, 20.0, 392.0, 280.0)],
    # shares of the sides
    "[0.25, 0.5, 0.75, 1.0]": [(98.0, 140.0, 294.0, 280.0)],
    '{"bbox_2d": [0.0, 0.0, 1.0, 1.0]}': [(0.0, 0.0, 392.0, 280.0)],
    '{"bbox_2d": ["0.25", "0.5", "0.75", "1"]}': [(98.0, 140.0, 294.0, 280.0)],
    "[0.5, 0.5, 1, 1.02]": [(196.0, 140.0, 392.0, 280.0)],
    '{"x": 0.25, "y": 0.5, "width": 0.5, "height": 0.5}': [(98.0, 140.0, 294.0, 280.0)],
    # families' own marks, and other shapes
    "<box>10 20 300 240</box>": [BOX],
    "<box>(10,20),(300,240)</box>": [BOX],
    "<box>[[10, 20, 300, 240]]</box>": [BOX],
    "<box>0.25 0.5 0.75 1.0</box>": [(98.0, 140.0, 294.0, 280.0)],
    "<|box_start|>(10,20),(300,240)<|box_end|>": [BOX],
    "The heart: <|begin_of_box|>[10, 20, 300, 240]<|end_of_box|>": [BOX],
    "[[010, 020, 300, 240]]": [BOX],
    "[10 20 300 240]": [BOX],
    "10, 20, 300, 240": [BOX],
    "from (10, 20) to (300, 240)": [BOX],
    "<loc0512><loc0256><loc1024><loc0768> red heart": [(98.0, 140.0, 294.0, 280.0)],
    "red heart<loc_250><loc_500><loc_750><loc_1000>": [(98.0, 140.0, 294.0, 280.0)],
    '{"left": 10, "top": 20, "right": 300, "bottom": 240}': [BOX],
    '{"left": 10, "top": 20, "width": 290, "height": 220}': [BOX],
    '{"x_min": 10, "y_min": 20, "x_max": 300, "y_max": 240}': [BOX],
    '{"top_left": [10, 20], "bottom_right": [300, 240]}': [BOX],
    # several
    '[{"bbox_2d": [10, 20, 300, 240]}, {"bbox_2d": [0, 0, 50, 60]}]': [BOX, OTHER],
    '{"bbox_2d": [10, 20, 300, 240]}\n{"bbox_2d": [0, 0, 50, 60]}': [BOX, OTHER],
    '{"bbox_2d": [[10, 20, 300, 240], [0, 0, 50, 60]]}': [BOX, OTHER],
    '{"red heart": [10, 20, 300, 240], "red heart": [0, 0, 50, 60]}': [BOX, OTHER],
    "[[10, 20, 300, 240], [10, 20, 300, 240]]": [BOX],
    # labels: the asked one; or the only one, however it is spelled
    '[{"bbox_2d": [10, 20, 300, 240], "label": "Red_Heart"}, {"bbox_2d": [0, 0, 50, 60], '
    '"label": "star"}]': [BOX],
    '{"red heart": [10, 20, 300, 240], "blue star": [0, 0, 50, 60]}': [BOX],
    '{"bbox_2d": [10, 20, 300, 240], "label": "heart"}': [BOX],
    # not there
    "[]": [],
    "```json\n[]\n```": [],
    '{"bbox_2d": []}': [],
    '{"bbox_2d": null}': [],
    "[{'bbox_2d': None, 'label': 'red heart'}]": [],
    '{"bbox_2d": "not found"}': [],
    '{"objects": []}': [],
    '{"found": false}': [],
    '{"found": false, "bbox_2d": []}': [],
    "[0, 0, 0, 0]": [],
    '[{"bbox_2d": [0, 0, 0, 0], "label": "red heart"}]': [],
    "[100, 20, 100, 240]": [],
    "not found": [],
    "None": [],
    "There is no red heart in the image.": [],
    "The red heart is not visible in this picture.": [],
}


@pytest.mark.parametrize(("reply", "expected"), SHAPES.items())
def test_boxes_in_every_usual_shape(reply, expected):
    assert boxes(reply) == expected


NO_BOXES = {
    "": "empty",
    "{}": "no box",
    "{{}}": "malformed",
    '{"label": "red heart"}': "no box",
    "It is in the upper left corner.": "no box",
    "I'm sorry, I cannot see the image.": "no box",
    "I can't tell; nothing was given.": "no box",
    "There is no image.": "no box",
    '{"bbox_2d": [10 20, 300, 240, 250]}': "malformed",
    '[{"bbox_2d": [10, 20, 300': "cut off",
    '[{"bbox_2d": [10, 20, 300, 240], "label": "red heart"}, {"bbox': "cut off",
    "[10, 20, 300]": "four numbers",
    "[10, 20, 300, 240, 0.9]": "four numbers",
    '{"bbox_2d": [10, 20, 300, "wide"]}': "where a box should",
    '{"bbox_2d": [10, 20, 300, NaN]}': "no number",
    '{"bbox_2d": [10, 20, 300, 1e999]}': "no number",
    '{"bbox_2d": "upper left"}': "where a box should",
    '{"bbox_2d": true}': "where a box should",
    '{"x1": [], "y1": 2, "x2": 3, "y2": 4}': "no number",
    # another convention: the setting is wrong, or the model did not listen
    "[10, 20, 900, 950]": "coordinates",
    "[-100, 20, 300, 240]": "coordinates",
    "[0, 0, 1, 1]": "no telling",
    '[{"box_2d": [20, 10, 240, 300]}]': "y before x",
    "[[0.1, 0.2, 0.5, 0.6], [10, 20, 300, 240]]": "some of its boxes are in shares",
    # whose?
    '{"heart": [10, 20, 300, 240], "star": [0, 0, 50, 60]}': "labels",
    '{"found": false, "bbox_2d": [10, 20, 300, 240]}': "says is not there",
    json.dumps([[n, n, n + 9, n + 9] for n in range(2, 2 + MOST_BOXES + 1)]): "boxes of one thing",
}


@pytest.mark.parametrize(("reply", "why"), NO_BOXES.items())
def test_what_gives_no_clear_box_is_unreadable(reply, why):
    with pytest.raises(Unreadable, match=why):
        boxes(reply)


def test_y_comes_first_where_the_model_is_known_for_it():
    for reply in ('[{"box_2d": [200, 100, 800, 500]}]', "[200, 100, 800, 500]"):
        assert read_boxes(reply, "red heart", (1000, 1000), "yx") == [(100, 200, 500, 800)]
    named = '{"x1": 100, "y1": 200, "x2": 500, "y2": 800}'
    assert read_boxes(named, "red heart", (1000, 1000), "yx") == [(100, 200, 500, 800)]


@given(st.one_of(replies, st.text()), st.text())
@example("[" * 10_000, "red heart")
@example("[[[[1,2]]]" * 1_500, "red heart")
@example('{"x1": ' + "[" * 15 + "]" * 15 + ', "y1": 1, "x2": 2, "y2": 3}', "")
def test_any_text_is_boxes_within_the_frame_or_unreadable(reply, name):
    found = []
    with contextlib.suppress(Unreadable):
        found = read_boxes(reply, name, FRAME)
    assert len(found) <= MOST_BOXES
    for x1, y1, x2, y2 in found:
        assert 0 <= x1 < x2 <= FRAME[0]
        assert 0 <= y1 < y2 <= FRAME[1]
        assert all(map(math.isfinite, (x1, y1, x2, y2)))
