"""BLIP-VQA against transformers' own `generate`, one question at a time."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertTokenizer, BlipForQuestionAnswering, BlipImageProcessorPil

from got_r1.errors import BadInput
from got_r1.vision import VQA, load_vqa
from got_r1.vision.settings import VQASettings

QUESTIONS = ["a red heart?", "the blue star?", "a green car on top?", "?"]


@pytest.fixture(scope="module")
def vqa(folder):
    return load_vqa(VQASettings(model=folder("blip"), batch=2))


@pytest.fixture(scope="module")
def by_hand(folder, images):
    """First-token logits of yes and no by `generate`, which decodes; `first` replaces [CLS]."""
    model = BlipForQuestionAnswering.from_pretrained(folder("blip")).eval()
    tokenizer = BertTokenizer.from_pretrained(folder("blip"))
    processor = BlipImageProcessorPil.from_pretrained(folder("blip"))
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])

    def ask(image, question, first=None):
        ids = tokenizer(question, return_tensors="pt")["input_ids"]
        ids[:, 0] = tokenizer.vocab_size + 1 if first is None else first
        pixels = processor([Image.fromarray(image)], return_tensors="pt")["pixel_values"]
        output = model.generate(
            input_ids=ids,
            pixel_values=pixels,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=1,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        return output.logits[0][0, [yes, no]].numpy()

    return ask


def test_logits_are_those_of_decoding_by_hand(vqa, by_hand, images):
    assert isinstance(vqa, VQA)
    expected = [by_hand(i, q) for i, q in zip(images, QUESTIONS, strict=True)]
    np.testing.assert_allclose(vqa.yes_no_logits(images, QUESTIONS), expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3


def test_a_question_begins_with_the_token_that_blip_was_trained_on(vqa, by_hand, images):
    """transformers would leave BERT's [CLS] there, and the answers would be others."""
    [ours] = vqa.yes_no_logits(images[:1], QUESTIONS[:1])
    assert np.abs(ours - by_hand(images[0], QUESTIONS[0], first=101)).max() > 1e-3


def test_questions_about_one_image_do_not_mix(vqa, by_hand, images):
    """Looked at once, answered each for itself, in the order asked."""
    asked = [images[1], images[0], images[1], images[0]]
    expected = [by_hand(i, q) for i, q in zip(asked, QUESTIONS, strict=True)]
    np.testing.assert_allclose(vqa.yes_no_logits(asked, QUESTIONS), expected, atol=1e-5)


def test_a_long_question_is_cut_after_35_tokens(vqa, images):
    long = "a b c d e f g h i j k " * 3 + "a "  # 34 letters
    cut, kept = vqa.yes_no_logits([images[0]] * 2, [long + "x y z", long[:60] + "z z z"])
    same = vqa.yes_no_logits(images[:1], [long + "q"])[0]
    np.testing.assert_allclose(cut, same, atol=1e-5)
    assert np.abs(cut - kept).max() > 1e-3


def test_larger_images_by_interpolated_positions(folder, vqa, images):
    large = load_vqa(VQASettings(model=folder("blip"), size=48))
    logits = large.yes_no_logits(images, QUESTIONS)
    assert np.isfinite(logits).all()
    assert np.abs(logits - vqa.yes_no_logits(images, QUESTIONS)).max() > 1e-3
    with pytest.raises(BadInput, match="cannot read images of 50 pixels: give a multiple of 8"):
        load_vqa(VQASettings(model=folder("blip"), size=50))


def test_one_question_an_image(vqa, images):
    with pytest.raises(ValueError, match="4 images and 1 questions"):
        vqa.yes_no_logits(images, ["a?"])
    assert vqa.yes_no_logits([], []).shape == (0, 2)
