"""The detector: on renderings, on images as a VQ decoder leaves them, and on what is no icon."""

import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from got_r1.icons.data import triples
from got_r1.icons.detect import detect
from got_r1.icons.measure import detector_accuracy
from got_r1.icons.render import render
from got_r1.icons.world import (
    COLORS,
    FILLS,
    NOUNS,
    SCALES,
    Icon,
    Scene,
    box_from_cells,
    natural_size,
    pixels_from_box,
)

WHITE = np.full((40, 40, 3), 255, dtype=np.uint8)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [triple.scene for triple in triples(1000, seed=21)]


@pytest.fixture(scope="module")
def images(scenes: list[Scene]) -> np.ndarray:
    return np.stack([render(scene) for scene in scenes])


# -- renderings ----------------------------------------------------------------------------------


def test_every_look_and_size_is_read_exactly() -> None:
    for noun, color, fill, scale in itertools.product(NOUNS, COLORS, FILLS, SCALES):
        icon = Icon(noun, color, fill, box_from_cells(2, 3, *natural_size(noun, scale)))
        assert detect(render(Scene((icon,)))) == (icon,)


def test_scenes_are_read_exactly(scenes: list[Scene], images: np.ndarray) -> None:
    accuracy = detector_accuracy(images, scenes)
    assert accuracy.objects > 2000
    assert accuracy.exact >= 0.999
    assert accuracy.extra == 0


def test_finds_come_in_reading_order_with_their_boxes(
    scenes: list[Scene], images: np.ndarray
) -> None:
    for scene, finds in zip(scenes[:50], map(detect, images[:50]), strict=True):
        assert list(finds) == sorted(scene.icons, key=lambda icon: (icon.box.y1, icon.box.x1))


@pytest.mark.parametrize("size", [80, 384])
def test_larger_images_are_read_alike(scenes: list[Scene], images: np.ndarray, size: int) -> None:
    resample = Image.Resampling.NEAREST if size % 40 == 0 else Image.Resampling.BICUBIC
    larger = [np.asarray(Image.fromarray(i).resize((size, size), resample)) for i in images[:200]]
    assert detector_accuracy(larger, scenes[:200]).exact >= 0.99


# -- generated images ----------------------------------------------------------------------------


def test_noise_and_blur_are_forgiven(scenes: list[Scene], images: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    blurred = ndimage.gaussian_filter(images.astype(np.float64), (0, 0.5, 0.5, 0))
    spoiled = np.clip(blurred + rng.normal(0, 12, images.shape), 0, 255).astype(np.uint8)
    accuracy = detector_accuracy(spoiled, scenes)
    assert accuracy.exact >= 0.99
    assert accuracy.extra <= 0.001


def test_specks_neither_are_icons_nor_hide_them() -> None:
    icon = Icon("heart", "red", "plain", box_from_cells(2, 2, 4, 4))
    image = render(Scene((icon,)))
    image[32:35, 32:35] = (0, 0, 200)
    assert detect(image) == (icon,)


def test_touching_icons_are_told_apart() -> None:
    left = Icon("square", "red", "plain", box_from_cells(1, 3, 4, 4))
    right = Icon("circle", "blue", "striped", box_from_cells(5, 3, 4, 4))
    assert set(detect(render(Scene((left, right))))) == {left, right}


def test_the_box_is_what_is_seen() -> None:
    image = WHITE.copy()
    image[8:28, 8:26] = COLORS["green"]  # a square of 20 px, its last two columns missing
    (find,) = detect(image)
    assert find.name == "green square"
    assert pixels_from_box(find.box) == (8, 8, 26, 28)


# -- what is no icon -----------------------------------------------------------------------------


def test_nothing_is_found_on_white() -> None:
    assert detect(WHITE) == ()
    assert detector_accuracy([WHITE], [Scene(())]).objects == 0


def test_nothing_is_found_in_noise() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        noise = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        assert detect(noise) == ()


def test_nothing_is_found_in_colors_of_no_icon() -> None:
    image = WHITE.copy()
    image[8:24, 8:24] = (130, 75, 20)  # brown
    assert detect(image) == ()


def test_a_quarter_of_an_icon_is_no_icon_of_that_size() -> None:
    image = render(Scene((Icon("horse", "red", "plain", box_from_cells(2, 2, 5, 5)),)))
    image[8:18] = 255
    image[:, 8:18] = 255
    assert not any(find.noun == "horse" for find in detect(image))


# -- the measure ---------------------------------------------------------------------------------


def test_the_measure_counts_each_kind_of_error() -> None:
    drawn = Icon("heart", "red", "plain", box_from_cells(1, 1, 4, 4))
    second = Icon("tree", "blue", "plain", box_from_cells(6, 6, 4, 4))
    recolored = Icon("heart", "green", "plain", drawn.box)
    extra = Icon("star", "red", "plain", box_from_cells(6, 1, 3, 3))
    accuracy = detector_accuracy([render(Scene((recolored, extra)))], [Scene((drawn, second))])
    assert accuracy.objects == 2
    assert accuracy.exact == 0
    assert accuracy.found == 0.5
    assert accuracy.noun == 0.5
    assert accuracy.color == 0
    assert accuracy.fill == 0.5
    assert accuracy.mean_iou == 0.5
    assert accuracy.extra == 0.5
