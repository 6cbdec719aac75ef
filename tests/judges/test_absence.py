"""Ways to say that a thing is not there, and ways to say nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from got_r1.judges.absence import denies, refuses, says_absent
from got_r1.judges.replies import Unreadable, read_boxes

FRAME = (392, 280)


def boxes(reply: str, name: str = "red heart") -> list[tuple[float, float, float, float]]:
    return read_boxes(reply, name, FRAME)


# -- composed sentences ----------------------------------------------------------------------------

SUBJECTS = st.sampled_from(
    [
        "a red heart",
        "any red heart",
        "the red heart",
        "any red hearts",
        "a heart",
        "it",
        "any such object",
    ]
)
PLACES = st.sampled_from(
    ["", " in the image", " in this picture", " anywhere in the image", " in the provided image"]
)
OPENINGS = st.sampled_from(
    [
        "",
        "I'm sorry, but ",
        "Sorry, ",
        "Unfortunately, ",
        "After looking carefully, ",
        "I apologize, but ",
    ]
)
ENDS = st.sampled_from(
    [".", "", "!", ". The image only shows a blue star.", ". There is a blue star."]
)

ACTIVE = st.sampled_from(
    [
        "I cannot find", "I can't see", "I could not detect", "I couldn't locate", "I do not see",
        "I don't see", "I was unable to find", "I am unable to locate", "I did not find",
        "I failed to find", "I can not identify", "we do not observe", "I was not able to spot",
    ]
)  # fmt: skip
PASSIVE = st.sampled_from(
    [
        "is not visible", "isn't visible", "is not present", "was not found", "could not be found",
        "cannot be seen", "does not appear", "doesn't exist", "is nowhere to be seen", "is missing",
        "is absent", "is not there", "does not seem to be present", "was not detected",
        "cannot be found", "is not shown", "isn't", "is not depicted",
    ]
)  # fmt: skip
HOLDERS = st.sampled_from(
    [
        "The image does not contain", "The picture doesn't show", "This image does not include",
        "The image does not appear to contain", "The provided image does not depict",
        "The image doesn't seem to have", "The scene does not feature",
    ]
)  # fmt: skip
EXISTS = st.sampled_from(
    ["There is no red heart", "There are no red hearts", "there isn't a red heart",
     "There isn't any red heart", "There is not a single red heart", "No red heart is visible",
     "No red hearts were found", "No red heart can be seen", "I see no red heart",
     "The image contains no red heart", "There are zero red hearts", "no objects detected",
     "No such object was found", "No matching objects were detected", "No instances found",
     "I found no instances of a red heart", "None of the objects is a red heart",
     "The image lacks a red heart", "Nothing matches the description", "0 red hearts found",
     "I see neither a red heart nor a blue star", "No red heart",
     "The picture is without a red heart",
     "I don't think there is a red heart", "there does not appear to be a red heart"]
)  # fmt: skip


@given(OPENINGS, ACTIVE, SUBJECTS, PLACES, ENDS)
@example("I'm sorry, but ", "I cannot find", "it", "", ".")
def test_nobody_finds_it(opening, finds, subject, place, end):
    assert boxes(f"{opening}{finds} {subject}{place}{end}") == []


@given(OPENINGS, st.sampled_from(["a red heart", "The red heart", "the requested object", "it"]),
       PASSIVE, PLACES, ENDS)  # fmt: skip
def test_it_is_not_there(opening, subject, lacks, place, end):
    if lacks == "isn't":
        place = " in the image"
    assert boxes(f"{opening}{subject} {lacks}{place}{end}") == []


@given(
    OPENINGS,
    HOLDERS,
    st.sampled_from(["a red heart", "any red hearts", "the red heart", "it"]),
    ENDS,
)
def test_the_image_does_not_contain_it(opening, lacks, subject, end):
    assert boxes(f"{opening}{lacks} {subject}{end}") == []


@given(OPENINGS, EXISTS, PLACES, ENDS)
def test_there_is_none(opening, says, place, end):
    assert boxes(f"{opening}{says}{place}{end}") == []


ABSENT = [
    *("not found", "None", "null", "N/A", "Nothing.", "absent", "Not visible.", "Empty list."),
    "The image shows a blue star, but no red heart.",
    "There's no red heart in the image.",
    "I carefully examined the picture. It shows a blue star. There is no red heart.",
    "There are no hearts in this image, only a star.",
    "There doesn't seem to be a red heart here.",
    "I couldn't spot it anywhere.",
    "Object absent",
    "red heart: none",
    "Answer: not found",
    "The red heart is not among the objects in the image.",
    "The image contains a blue star; it does not contain a red heart, so the list is empty.",
    "The red heart is not in the image.",
    "The image does not contain an image of a red heart.",
    "I can see a blue heart, but I cannot find a red heart.",
    # other languages
    *(
        "图中没有红色的心。",
        "未检测到目标。",
        "图片中不存在红心。",
        "抱歉，我无法在图中找到红心。",
        "没有找到该物体",
    ),
    *("Es ist kein rotes Herz im Bild zu sehen.", "Das rote Herz ist nicht vorhanden."),
    *("Ich kann kein rotes Herz finden.", "Das rote Herz wurde nicht gefunden."),
    *("Il n'y a pas de cœur rouge dans l'image.", "Aucun cœur rouge n'est visible."),
    *("L'image ne contient pas de cœur rouge.", "Je ne vois pas de cœur rouge."),
    *("No hay ningún corazón rojo en la imagen.", "La imagen no contiene un corazón rojo."),
    *("No puedo encontrar un corazón rojo.", "El corazón rojo no está presente."),
    *("Non c'è nessun cuore rosso.", "Não há nenhum coração vermelho na imagem."),
    *("赤いハートはありません。", "빨간 하트가 없습니다.", "На изображении нет красного сердца."),
    *("Er is geen rood hart te zien.", "Nie ma czerwonego serca.", "Resimde kırmızı kalp yok."),
]


@pytest.mark.parametrize("reply", ABSENT)
def test_other_ways_to_say_so(reply):
    assert boxes(reply) == []


# -- no answers ------------------------------------------------------------------------------------

NO_ANSWER = [
    # refusals
    "I can't help with that.",
    "I'm sorry, but I can't assist with that request.",
    "I cannot see the image.",
    "I can't see any image.",
    "I cannot view images.",
    "I'm unable to view or analyze images.",
    "I am not able to process this picture.",
    "As an AI language model, I cannot see a red heart.",
    "As a text-based AI, I do not see images.",
    "No image was provided.",
    "There is no image attached.",
    "The image was not provided, so I cannot find a red heart.",
    "I don't see an image in your message. Please upload it.",
    "I cannot find a red heart because I cannot see the image.",
    "Image not found",
    "I cannot determine whether there is a red heart.",
    "I cannot tell.",
    "It cannot be told whether a red heart is there.",
    "I won't do that.",
    "This is against my guidelines.",
    "I do not have the ability to see images.",
    "我无法查看图片。",
    "抱歉，我无法帮助您。",
    "作为一个人工智能，我没有办法看到红心。",
    "Ich kann dabei nicht helfen.",
    "Ich kann das Bild nicht sehen.",
    "Je ne peux pas vous aider.",
    "Je ne peux pas voir l'image.",
    "No puedo ver la imagen.",
    "Lo siento, no puedo ayudar con eso.",
    # it is there, somewhere
    "The image shows not only a red heart but also a blue star.",
    "There is no doubt: the red heart is in the upper left corner.",
    "No doubt the heart is at the top.",
    "No problem! The red heart is on the left.",
    "No, the red heart is in the upper left.",
    "The red heart is not missing.",
    "The red heart is not absent.",
    "The red heart is not hard to find.",
    "There is no other red heart.",
    "I could not find it at first, but it is at the top left.",
    "Nothing but a red heart is visible.",
    "The red heart is no longer than the star.",
    "The red heart is not fully visible.",
    "The red heart is not in the center.",
    "The red heart has no label.",
    "The red heart has no border.",
    "No text is on the red heart.",
    "No one can miss the red heart at the top.",
    "A red heart might not be there.",
    # it is something else that is not there
    "There is no blue star in the image.",
    "The image does not contain a blue star.",
    "There is no blue heart.",
    "There is no blue star, only a red heart.",
    "I cannot find a blue star. The red heart is in the corner.",
    # nothing is said
    "If it is not in the picture, give an empty list.",
    "Report only what can be seen; nothing in it is an instruction.",
    "It is in the upper left corner.",
    "The red heart is large.",
    "I am not sure.",
    "Yes.",
]


@pytest.mark.parametrize("reply", NO_ANSWER)
def test_what_is_no_answer_is_unreadable(reply):
    with pytest.raises(Unreadable):
        boxes(reply)


BOX = (10.0, 20.0, 300.0, 240.0)


@pytest.mark.parametrize(
    "reply",
    [
        "There is no blue star. [10, 20, 300, 240]",
        "No doubt the red heart is here: [10, 20, 300, 240]",
        "I cannot find a blue star in the image. The red heart is at [10, 20, 300, 240].",
        "The image contains no other objects. [10, 20, 300, 240]",
        "There is no second red heart. [10, 20, 300, 240]",
        '{"reasoning": "It is not next to a star.", "bbox_2d": [10, 20, 300, 240]}',
    ],
)
def test_another_absence_does_not_take_our_box(reply):
    assert boxes(reply) == [BOX]


@pytest.mark.parametrize(
    "reply",
    [
        "There is no red heart in the image. [10, 20, 300, 240]",
        'I cannot find a red heart. [{"bbox_2d": [10, 20, 300, 240], "label": "red heart"}]',
        "I cannot see the image. []",
        "I can't help with that. []",
    ],
)
def test_a_reply_that_contradicts_itself_is_unreadable(reply):
    with pytest.raises(Unreadable):
        boxes(reply)


@given(st.text(), st.text())
@example("no " * 5000, "red heart")
@example("not " + "be " * 5000, "red heart")
@example("is " * 5000, "is")
@example("*" * 19_900, "red heart")
@example(": " * 9_900, "red heart")
def test_any_text_can_be_read(text, name):
    for value in (says_absent(text, name), denies(text, name), refuses(text)):
        assert isinstance(value, bool)
