"""Detectors: whose pixels a box is in, what a score means, and that batches change nothing.

To test coordinates through the whole path, a hook makes a random model *see*: it finds the bright
rectangle in the pixels that the model was given, and answers that box in the model's own
coordinates. What the detector then reports must be the rectangle that was drawn into the image.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from got_r1.errors import BadInput, RunFailed
from got_r1.vision import Detector, load_detector
from got_r1.vision.mask2former import read_instances
from got_r1.vision.settings import DetectorSettings

KINDS = ["grounding_dino", "owlv2", "mask2former"]
WORDS = {"mask2former": ["car"]}  # its folder's class; the others take any words


def load(folder, kind, **settings):
    return load_detector(DetectorSettings(kind=kind, model=folder(kind), **settings))


def with_rectangle(height, width, box):
    image = np.zeros((height, width, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


SCENES = [  # wide, high, square, and one whose rectangle touches two edges
    (60, 120, (72, 12, 108, 48)),
    (128, 64, (8, 64, 32, 112)),
    (96, 96, (48, 24, 84, 60)),
    (60, 120, (0, 30, 40, 60)),
]


def sees(detector, kind):
    """Makes the model answer the bright rectangle, under the first word, with certainty."""

    def hook(module, args, kwargs, output):
        bright = kwargs["pixel_values"].mean(1)
        middle = (bright.amax((1, 2), keepdim=True) + bright.amin((1, 2), keepdim=True)) / 2
        bright = bright > middle
        if kind == "mask2former":
            size = output.masks_queries_logits.shape[-2:]
            share = F.interpolate(bright[:, None].float(), size=size, mode="area")
            output.masks_queries_logits = (20 * share - 10).expand_as(output.masks_queries_logits)
            classes = torch.full_like(output.class_queries_logits, -20.0)
            classes[:, 1:, -1] = 20  # all but the first query see nothing
            classes[:, 0, 1] = 20
            output.class_queries_logits = classes
            return output
        height, width = bright.shape[1:]
        boxes = torch.zeros_like(output.pred_boxes)
        for place, one in enumerate(bright):
            ys, xs = one.nonzero().T
            x1, x2 = xs.min() / width, (xs.max() + 1) / width
            y1, y2 = ys.min() / height, (ys.max() + 1) / height
            boxes[place, 0] = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
        output.pred_boxes = boxes
        logits = torch.full_like(output.logits, -20.0)
        logits[:, 0, :2] = 20  # the first name, wherever its tokens begin
        output.logits = logits
        return output

    return detector.model.register_forward_hook(hook, with_kwargs=True)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_pixels_of_the_image_that_was_given(folder, kind):
    detector = load(folder, kind)
    assert isinstance(detector, Detector)
    word = WORDS.get(kind, ["heart"])
    with sees(detector, kind):
        found = detector.detect([with_rectangle(*scene) for scene in SCENES], [word] * 4)
    for (height, width, box), detections in zip(SCENES, found, strict=True):
        [one] = detections
        assert one.label == word[0]
        # a mask's score is a mean over its pixels, of which those at its edge are unsure
        assert one.score > (0.8 if kind == "mask2former" else 0.99)
        # as sharp as the pixels that the model sees: 32 a side for OWLv2, masks of a quarter
        slack = {"grounding_dino": 1.6, "owlv2": 0.06 * max(height, width), "mask2former": 5}[kind]
        assert one.box == pytest.approx(box, abs=slack)
        assert (one.mask is not None) == (kind == "mask2former")
        if one.mask is not None:
            assert one.mask.shape == (height, width)
            truth = with_rectangle(height, width, box)[..., 0] > 0
            assert (one.mask & truth).sum() / (one.mask | truth).sum() > 0.75


@pytest.mark.parametrize("kind", KINDS)
def test_batching_changes_nothing(folder, images, kind):
    """Images of three sizes and different vocabularies, all at once and one by one."""
    detector = load(folder, kind, threshold=0.0, batch=3)
    if kind == "mask2former":
        names = [["car"], ["person", "car"], ["car", "person"], []]
    else:
        names = [["red heart"], ["blue star", "car"], ["a green star"], ["x", "y", "red car"]]
    together = detector.detect(images, names)
    alone = [detector.detect([i], [n])[0] for i, n in zip(images, names, strict=True)]
    assert all(together)
    for a, b in zip(together, alone, strict=True):
        assert [one.label for one in a] == [one.label for one in b]
        np.testing.assert_allclose([o.score for o in a], [o.score for o in b], atol=1e-5)
        np.testing.assert_allclose([o.box for o in a], [o.box for o in b], atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_reports_are_within_the_image_in_order_and_above_the_threshold(folder, images, kind):
    detector = load(folder, kind, threshold=0.2)
    names = WORDS.get(kind, ["heart", "star"])
    for image, found in zip(images, detector.detect(images, [names] * 4), strict=True):
        height, width = image.shape[:2]
        assert [one.score for one in found] == sorted((o.score for o in found), reverse=True)
        for one in found:
            assert one.label in names
            assert 0.2 < one.score <= 1
            x1, y1, x2, y2 = one.box
            assert 0 <= x1 <= x2 <= width
            assert 0 <= y1 <= y2 <= height
    assert detector.detect([], []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_none_stop_the_run(folder, images, kind):
    """NaN is below every threshold: an overflow would pass for an empty image."""
    detector = load(folder, kind)

    def spoil(module, args, output):
        name = "class_queries_logits" if kind == "mask2former" else "logits"
        setattr(output, name, torch.full_like(getattr(output, name), torch.nan))
        return output

    words = WORDS.get(kind, ["heart"])
    with (
        detector.model.register_forward_hook(spoil),
        pytest.raises(RunFailed, match="not finite"),
    ):
        detector.detect(images[:1], [words])


@pytest.mark.parametrize("kind", ["grounding_dino", "owlv2"])
def test_nothing_is_found_where_nothing_is_looked_for(folder, images, kind):
    detector = load(folder, kind, threshold=0.0)
    assert detector.labels is None
    assert detector.detect(images[:2], [[], []]) == [[], []]


# -- GroundingDINO's words -----------------------------------------------------------------------


def says(detector, fits):
    """Makes query q answer with the logits of `fits[q]`, a token's word -> its probability."""

    def hook(module, args, kwargs, output):
        logits = torch.full_like(output.logits, -20.0)
        for place, ids in enumerate(kwargs["input_ids"]):
            words = detector.tokenizer.convert_ids_to_tokens(ids.tolist())
            for query, fit in enumerate(fits):
                for index, word in enumerate(words):
                    if word in fit:
                        logits[place, query, index] = torch.logit(torch.tensor(fit[word]))
        output.logits = logits
        return output

    return detector.model.register_forward_hook(hook, with_kwargs=True)


def test_a_box_goes_to_the_name_whose_words_it_fits(folder, images):
    detector = load(folder, "grounding_dino")
    fits = [
        {"blue": 0.8, "heart": 0.9},  # not "red heart", though the noun fits both
        {"red": 0.7, "heart": 0.6},
        {"star": 0.3},
        {"star": 0.2},  # below 0.25
    ]
    with says(detector, fits):
        [found] = detector.detect(images[:1], [["red heart", "blue heart", "star"]])
    assert [(one.label, round(one.score, 4)) for one in found] == [
        ("blue heart", 0.9),
        ("red heart", 0.7),
        ("star", 0.3),
    ]


def test_names_beyond_one_caption_get_another_pass(folder, images):
    """This model reads 48 tokens, one a letter: six names of 11 tokens take two passes."""
    detector = load(folder, "grounding_dino")
    names = [f"red {letter * 9}" for letter in "abcdef"] + ["star"]
    captions = list(detector._captions(names))
    assert len(captions) == 2
    assert all(len(caption.ids) <= 48 for caption in captions)
    assert [name for caption in captions for name, _, _ in caption.spans] == names
    with says(detector, [{"star": 0.9}]):
        [found] = detector.detect(images[:1], [names])
    assert [one.label for one in found] == ["star"]


def test_a_caption_is_what_the_tokenizer_makes_of_the_sentence(folder):
    detector = load(folder, "grounding_dino")
    [caption] = detector._captions(["Red heart", "blue. star?", "red HEART", "?!.", "Red heart"])
    # Stops inside a name would split it; a name is said once as it was given.
    text = "red heart. blue star. red heart. !."
    assert caption.ids == detector.tokenizer(text)["input_ids"]
    assert [name for name, _, _ in caption.spans] == [
        "Red heart",
        "blue. star?",
        "red HEART",
        "?!.",
    ]
    assert list(detector._captions(["", ".", " "])) == []


# -- Mask2Former's classes and instances ---------------------------------------------------------


def test_a_closed_vocabulary_is_stated_and_kept(folder, images):
    detector = load(folder, "mask2former", threshold=0.0)
    assert detector.labels == ("person", "car", "traffic light")
    with pytest.raises(BadInput, match=r"does not know 'heart', 'star': it finds only its own 3"):
        detector.detect(images, [["car", "star"], ["heart"], [], []])
    [everything] = detector.detect(images[:1], [[]])
    [cars] = detector.detect(images[:1], [["car"]])
    assert [(o.score, o.box) for o in cars] == [
        (o.score, o.box) for o in everything if o.label == "car"
    ]


def test_instances_by_hand():
    """Two queries on a 2 x 2 grid, read at the grid's own size."""
    logit = torch.logit(torch.tensor(0.9))
    classes = torch.log(torch.tensor([[0.6, 0.3, 0.1], [0.05, 0.15, 0.8]]))
    masks = torch.stack([torch.tensor([[1.0, 1.0], [-1, -1]]) * logit, torch.full((2, 2), -3.0)])
    labels, scores, found = read_instances(
        classes, masks, read_at=(2, 2), size=(2, 2), threshold=0.1
    )
    # Two pairs compete, both of the first query; the second's mask would be empty.
    assert labels == [0, 1]
    assert scores == pytest.approx([0.6 * 0.9, 0.3 * 0.9])
    assert all(mask.tolist() == [[True, True], [False, False]] for mask in found)
    assert read_instances(classes, masks, read_at=(2, 2), size=(2, 2), threshold=0.6) == (
        [],
        [],
        [],
    )


def test_an_empty_mask_is_no_instance():
    classes = torch.tensor([[9.0, -9.0]])
    masks = torch.full((1, 4, 4), -5.0)
    assert read_instances(classes, masks, read_at=(8, 8), size=(6, 9), threshold=0.0)[0] == []
