"""The vocabulary, the token grid and drawing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from got_r1.icons.render import render, silhouette, stamp
from got_r1.icons.world import (
    CELL,
    COLORS,
    FILLS,
    GRID,
    IMAGE_SIZE,
    NOUNS,
    SCALES,
    Icon,
    ObjectSpec,
    Scene,
    box_from_cells,
    box_from_pixels,
    natural_size,
    pixels_from_box,
)
from got_r1.records import Box

LOOKS = list(itertools.product(NOUNS, COLORS, FILLS))


# -- vocabulary ----------------------------------------------------------------------------------


def test_the_world_is_as_large_as_promised() -> None:
    assert len(set(NOUNS)) >= 12
    assert 6 <= len(COLORS) <= 8


def test_colors_are_far_from_each_other_and_from_white() -> None:
    values = [*COLORS.values(), (255, 255, 255)]
    for a, b in itertools.combinations(values, 2):
        assert np.linalg.norm(np.subtract(a, b)) >= 139


def test_names_say_what_is_known() -> None:
    box = box_from_cells(0, 0, 3, 3)
    assert ObjectSpec("heart").name == "heart"
    assert ObjectSpec("heart", "red", "striped", 2).name == "striped red heart"
    assert Icon("heart", "red", "plain", box).name == "red heart"
    assert Icon("heart", "red", "dotted", box).name == "dotted red heart"


# -- the grid ------------------------------------------------------------------------------------


def test_known_boxes() -> None:
    assert box_from_cells(0, 1, 3, 9) == Box(0, 100, 300, 999)
    assert box_from_pixels(4, 0, 12, 40) == Box(100, 0, 300, 999)


@given(st.tuples(*[st.integers(0, IMAGE_SIZE)] * 4))
def test_pixel_edges_survive_the_thousandths(edges: tuple[int, int, int, int]) -> None:
    assert pixels_from_box(box_from_pixels(*edges)) == edges


def test_natural_sizes_fit_the_grid_and_have_the_asked_height() -> None:
    for noun, scale in itertools.product(NOUNS, SCALES):
        width, height = natural_size(noun, scale)
        assert height == scale
        assert 2 <= width <= scale < GRID


# -- drawing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("noun", NOUNS)
def test_a_silhouette_reaches_all_edges_of_its_box(noun: str) -> None:
    for scale in SCALES:
        width, height = natural_size(noun, scale)
        coverage = silhouette(noun, CELL * width, CELL * height)
        assert coverage.shape == (CELL * height, CELL * width)
        assert 0 <= coverage.min() <= coverage.max() <= 1
        for border in (coverage[0], coverage[-1], coverage[:, 0], coverage[:, -1]):
            assert border.max() > 0.5, (noun, scale)


def test_looks_stay_apart_when_small() -> None:
    # 12x12 px, the smallest square: half of the least distance must exceed noise of 12 of 255 a
    # channel by far. (Along the line between two looks such noise has a deviation of 12.)
    looks = [look for look in LOOKS if look[0] != "tower"]
    pixels = np.stack([stamp(*look, 12, 12).ravel().astype(np.float64) for look in looks])
    energy = (pixels**2).sum(1)
    squared = energy[:, None] + energy - 2 * pixels @ pixels.T
    np.fill_diagonal(squared, np.inf)
    assert np.sqrt(squared.min()) / 2 > 10 * 12


def test_fills_keep_the_silhouette_and_differ_inside() -> None:
    for noun, color in itertools.product(NOUNS, COLORS):
        plain, striped, dotted = (stamp(noun, color, fill, 16, 16).astype(int) for fill in FILLS)
        outside = silhouette(noun, 16, 16) == 0
        assert (plain[outside] == 255).all()
        for other in (striped, dotted):
            assert (other[outside] == 255).all()
            assert (other <= plain).all()
            assert (other < plain).any()


def test_equal_icons_are_equal_tokens_wherever_they_stand() -> None:
    images = [
        render(Scene((Icon("horse", "blue", "dotted", box_from_cells(x, y, 4, 4)),)))
        for x, y in ((0, 0), (3, 5))
    ]
    assert (images[0][:16, :16] == images[1][20:36, 12:28]).all()


def test_a_scene_is_its_icons_on_white() -> None:
    square = Icon("square", "red", "plain", box_from_cells(1, 2, 3, 4))
    image = render(Scene((square,)))
    assert image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert image.dtype == np.uint8
    assert (image[8:24, 4:16] == COLORS["red"]).all()
    image[8:24, 4:16] = 255
    assert (image == 255).all()
    assert (render(Scene(())) == 255).all()
