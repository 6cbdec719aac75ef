"""CLIP against transformers' own forward pass; long texts; and folders that are not CLIP."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from got_r1.errors import BadInput
from got_r1.vision import TextImageSimilarity, load_similarity
from got_r1.vision.settings import SimilaritySettings

TEXTS = ["a red heart", "a blue star on the left of a red heart", ""]
LONG = "a red heart and a blue star " * 8  # about 180 tokens of a byte each


@pytest.fixture(scope="module")
def clip(folder):
    return load_similarity(SimilaritySettings(model=folder("clip"), batch=3))


def test_it_keeps_the_protocol(clip):
    assert isinstance(clip, TextImageSimilarity)
    assert clip.name == "CLIP clip"


def test_cosines_are_those_of_the_model_itself(clip, folder, images):
    model = CLIPModel.from_pretrained(folder("clip"))
    processor = CLIPImageProcessorPil.from_pretrained(folder("clip"))
    text = CLIPTokenizer.from_pretrained(folder("clip"))(TEXTS, padding=True, return_tensors="pt")
    pixels = processor([Image.fromarray(one) for one in images], return_tensors="pt")
    with torch.no_grad():
        output = model(**text, **pixels)
        expected = (output.logits_per_image / model.logit_scale.exp()).numpy()
    cosines = clip.embed_images(images) @ clip.embed_texts(TEXTS).T
    np.testing.assert_allclose(cosines, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3  # images that would all be alike prove nothing


def test_batching_changes_nothing(clip, images):
    alone = np.concatenate([clip.embed_images([one]) for one in images])
    np.testing.assert_allclose(clip.embed_images(images), alone, atol=1e-6)
    texts = [*TEXTS, LONG]
    alone = np.concatenate([clip.embed_texts([one], whole=True) for one in texts])
    np.testing.assert_allclose(clip.embed_texts(texts, whole=True), alone, atol=1e-6)


def test_rows_have_length_one(clip, images):
    for rows in (clip.embed_images(images), clip.embed_texts([*TEXTS, LONG], whole=True)):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert clip.embed_images([]).shape == clip.embed_texts([]).shape == (0, 8)


def test_a_long_text_is_cut_unless_it_is_wanted_whole(clip):
    letters = LONG.replace(" ", "")
    assert len(letters) > 150
    cut, ends = clip.embed_texts([LONG]), LONG + "and an umbrella"
    np.testing.assert_array_equal(cut, clip.embed_texts([ends]))  # the difference is cut away
    assert np.abs(clip.embed_texts([LONG], whole=True) - cut).max() > 1e-3
    assert (
        np.abs(clip.embed_texts([LONG], whole=True) - clip.embed_texts([ends], whole=True)).max()
        > 1e-3
    )


def test_a_whole_text_is_the_mean_of_its_pieces_by_length(clip):
    """In this tokenizer a letter is a token: 80 letters are read as two pieces of 40."""
    first, second = "ab" * 20, "cd" * 20
    pieces = clip.embed_texts([first, second])
    # A word's last letter is another token, so the pieces are one word each to begin with.
    whole = clip.embed_texts([f"{first} {second}"], whole=True)[0]
    mean = pieces.sum(axis=0)
    np.testing.assert_allclose(whole, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_short_text_is_the_same_either_way(clip):
    np.testing.assert_array_equal(clip.embed_texts(TEXTS), clip.embed_texts(TEXTS, whole=True))


def test_half_precision_gives_float32_rows(folder, images, clip):
    half = load_similarity(SimilaritySettings(model=folder("clip"), dtype="bfloat16"))
    rows = half.embed_images(images)
    assert rows.dtype == np.float32
    assert (rows * clip.embed_images(images)).sum(axis=1).min() > 0.99


# -- folders that will not do --------------------------------------------------------------------


def test_a_missing_folder_and_a_hub_that_cannot_be_reached():
    with pytest.raises(BadInput, match=r"there is no CLIP model at \./nowhere; give its folder"):
        load_similarity(SimilaritySettings(model="./nowhere"))
    with pytest.raises(BadInput, match="hf download openai/clip-vit --local-dir models/clip-vit"):
        load_similarity(SimilaritySettings(model="openai/clip-vit"))


def test_another_kind_of_model_is_refused(folder):
    with pytest.raises(BadInput, match=r"of another kind \(dpt, not clip\)"):
        load_similarity(SimilaritySettings(model=folder("dpt")))


def test_a_folder_without_its_weights_is_refused(folder, tmp_path):
    """transformers would begin with random weights and only warn."""
    from safetensors.torch import load_file, save_file

    model = CLIPModel.from_pretrained(folder("clip"))
    model.save_pretrained(tmp_path)
    [weights] = tmp_path.glob("*.safetensors")
    kept = {name: value for name, value in load_file(weights).items() if "vision" not in name}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"files lack vision_model\..* and \d+ more"):
        load_similarity(SimilaritySettings(model=str(tmp_path)))


def test_broken_weights_are_refused_in_a_sentence(folder, tmp_path):
    CLIPModel.from_pretrained(folder("clip")).save_pretrained(tmp_path)
    [weights] = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadInput, match=f"the CLIP model cannot be used: {tmp_path}.*damaged"):
        load_similarity(SimilaritySettings(model=str(tmp_path)))


def test_a_device_that_is_not_there_is_refused(folder):
    with pytest.raises(BadInput, match="there is no device 'gpu' here"):
        load_similarity(SimilaritySettings(model=folder("clip"), device="gpu"))
