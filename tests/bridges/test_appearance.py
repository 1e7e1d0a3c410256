from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.data import cell, immunohistochemistry, retina
from skimage.draw import disk, line

from napari_patchioner.backbones.appearance import appearance_axes
from napari_patchioner.bridges.appearance import AXES, VOCABULARY, attributes, describe

GRID = (30, 40)
PATCHES = GRID[0] * GRID[1]


def pooled(image: np.ndarray) -> np.ndarray:
    return appearance_axes(image, GRID).reshape(PATCHES, -1).mean(0, keepdims=True)


def words(image: np.ndarray) -> str:
    return describe(pooled(image), patches=PATCHES, scale=16)[0]


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((480, 640, 3), colour, np.uint8)


def spots(number: int, radius: int, ink: tuple, ground: tuple) -> np.ndarray:
    random, image = np.random.default_rng(3), plain(ground).astype(float)
    for index in random.permutation(12 * 9)[:number]:
        centre = (26 + 52 * (index // 12), 26 + 52 * (index % 12))
        image[disk(centre, radius, shape=image.shape[:2])] = ink
    return ndimage.gaussian_filter(image, (1, 1, 0)).astype(np.uint8)


@pytest.mark.parametrize(
    ("number", "how_many"), [(1, "one"), (3, "a few"), (9, "several"), (80, "many")]
)
def test_dark_purple_spots_on_pale_pink(number: int, how_many: str) -> None:
    # Few spots need to be larger to be worth a word.
    radius = 8 if number > 20 else 22
    text = words(spots(number, radius, (80, 40, 120), (245, 222, 230)))
    assert text.startswith(how_many)
    assert "dark purple round spot" in text
    assert text.endswith("on a pale pink background")
    assert ("small" in text) == (radius == 8)


def test_bright_spots_on_black() -> None:
    assert "green" in words(spots(60, 9, (40, 230, 60), (0, 0, 0)))
    assert "black background" in words(spots(60, 9, (40, 230, 60), (0, 0, 0)))


def test_stripes() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, (np.arange(640) // 6) % 2 == 0] = 255
    assert words(image).startswith("a striped texture of ")
    assert {"black", "white"} <= set(words(image).split())
    assert attributes(pooled(image))[0]["striped"] > 0.8


def test_grain() -> None:
    noise = np.random.default_rng(0).normal(128, 40, (480, 640, 1)).clip(0, 255)
    image = np.repeat(noise, 3, 2).astype(np.uint8)
    assert "grainy texture of gray" in words(image)
    assert attributes(pooled(image))[0]["grainy"] > 0.8


def test_meshwork() -> None:
    random = np.random.default_rng(1)
    seeds = np.ones((480, 640), bool)
    seeds[random.integers(0, 480, 300), random.integers(0, 640, 300)] = False
    where = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    label = where[0] * 640 + where[1]
    net = ndimage.gaussian_filter(255.0 * (ndimage.maximum_filter(label, 5) != label), 1)
    text = words(np.repeat(net[..., None], 3, 2).clip(0, 255).astype(np.uint8))
    assert "meshwork" in text or "crossing" in text


def test_scattered_lines_are_not_stripes() -> None:
    random, image = np.random.default_rng(2), np.zeros((480, 640), float)
    for _ in range(40):
        ends = random.integers(0, 480, 4)
        image[line(*ends)] = 255
    image = ndimage.gaussian_filter(ndimage.grey_dilation(image, 3), 0.7)
    text = words(np.repeat(image[..., None], 3, 2).astype(np.uint8))
    assert "lines on a black background" in text
    assert "parallel" not in text


@pytest.mark.parametrize(
    ("colour", "text"),
    [
        ((255, 255, 255), "a blank white area"),
        ((0, 0, 0), "a blank black area"),
        ((128, 128, 128), "a blank gray area"),
        ((200, 30, 30), "a blank red area"),
        ((255, 150, 0), "a blank orange area"),
        ((0, 0, 100), "a blank dark blue area"),
        ((135, 206, 235), "a blank light blue area"),
        ((120, 75, 35), "a blank brown area"),
        ((255, 192, 203), "a blank pale pink area"),
    ],
)
def test_a_blank_field_is_named_by_its_colour(colour: tuple[int, int, int], text: str) -> None:
    assert words(plain(colour)) == text


def test_shipped_micrographs() -> None:
    assert "brown" in words(immunohistochemistry())
    assert "lines on a red background" in words(retina())
    assert "gray" in words(np.repeat(cell()[..., None], 3, 2))


AXIS_VALUES = hnp.arrays(
    np.float32, (3, len(AXES)), elements=st.floats(-100, 100, width=32, allow_nan=False)
)


@settings(max_examples=200, deadline=None)
@given(AXIS_VALUES, st.floats(0.1, 5000))
def test_only_words_of_the_closed_vocabulary(axes: np.ndarray, patches: float) -> None:
    for text in describe(axes, patches=patches, scale=16):
        assert set(re.findall(r"[a-z]+", text)) <= VOCABULARY


@settings(max_examples=100, deadline=None)
@given(AXIS_VALUES)
def test_strengths_lie_between_zero_and_one(axes: np.ndarray) -> None:
    for strengths in attributes(axes):
        assert all(0 < strength <= 1 for strength in strengths.values())


def test_no_object_hides_in_the_vocabulary() -> None:
    objects = "person cell cells nucleus nuclei vessel tissue dog sky wall grass fibre worm spider"
    assert not VOCABULARY & set(objects.split())


@pytest.mark.parametrize(
    ("colour", "word"), [((200, 30, 30), "red"), ((30, 60, 200), "blue"), ((40, 150, 50), "green")]
)
def test_unmistakable_colours(colour: tuple[int, int, int], word: str) -> None:
    strengths = attributes(pooled(plain(colour)))[0]
    assert strengths[word] > 0.9
    assert strengths["smooth"] > 0.9


def test_two_equal_colours_give_no_colour_word() -> None:
    image = plain((200, 30, 30))
    image[:, 320:] = (30, 60, 200)
    assert not {"red", "blue"} & attributes(pooled(image))[0].keys()


def test_pooled_parts_of_regions_are_described_one_by_one() -> None:
    axes = np.concatenate([pooled(plain((255, 255, 255))), pooled(plain((0, 0, 0)))])
    assert describe(axes, patches=[4, 9], scale=16) == ["a blank white area", "a blank black area"]
    assert describe(axes[:0], patches=np.zeros(0)) == []
