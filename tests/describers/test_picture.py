"""The crop that a server sees: where it lies, how large it is, and what is drawn on it."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from napari_patchioner.describers import crop_window, region_picture
from napari_patchioner.errors import RegionError
from napari_patchioner.images import read_picture
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)

RED = (200, 30, 30)
SQUARE = np.array([[20.0, 20.0], [20.0, 60.0], [60.0, 60.0], [60.0, 20.0]])
REGIONS = {
    "box": Box(20, 20, 60, 60),
    "polygon": Polygon(SQUARE),
    "ellipse": Ellipse(SQUARE),
    "mask": Mask(np.ones((40, 40), bool), (20, 20)),
    "trace": Trace(SQUARE),
    "point": Point(40, 40),
    "set": RegionSet((Box(20, 20, 30, 30), Box(50, 50, 60, 60))),
}


def pixels_of(picture):
    return np.asarray(read_picture(picture.data), int)


def yellow(pixels):
    return (np.abs(pixels - (255, 225, 0)).sum(axis=2) < 60).mean()


@pytest.mark.parametrize("kind", REGIONS)
def test_every_kind_of_region_is_outlined(kind):
    image = np.full((200, 300, 3), RED, np.uint8)
    picture = region_picture(image, REGIONS[kind])
    assert 0.0005 < yellow(pixels_of(picture)) < 0.2
    assert yellow(pixels_of(region_picture(image, REGIONS[kind], outlined=False))) == 0


def test_the_outline_lies_on_the_edge_of_the_region():
    image = np.zeros((200, 300, 3), np.uint8)
    image[50:100, 100:200] = RED
    region = Box(49.5, 99.5, 99.5, 199.5)
    picture = region_picture(image, region)
    pixels = pixels_of(picture)
    inside = np.abs(pixels - RED).sum(axis=2) < 60
    marked = np.abs(pixels - (255, 225, 0)).sum(axis=2) < 60
    rows, columns = np.nonzero(marked)
    red_rows, red_columns = np.nonzero(inside)
    # Within a few pixels of a crop that is enlarged about 2.4 times.
    assert abs(rows.min() - red_rows.min()) < 8
    assert abs(rows.max() - red_rows.max()) < 8
    assert abs(columns.min() - red_columns.min()) < 8
    assert abs(columns.max() - red_columns.max()) < 8


def test_the_whole_image_has_no_outline():
    picture = region_picture(np.full((30, 40, 3), RED, np.uint8), WholeImage())
    assert yellow(pixels_of(picture)) == 0
    assert picture.width / picture.height == pytest.approx(4 / 3, abs=0.01)


def test_crops_are_bounded_and_small_ones_enlarged():
    large = region_picture(np.zeros((3000, 4000), np.uint8), Box(0, 0, 2900, 3900))
    assert (large.width, large.height) == (768, 576)
    small = region_picture(np.zeros((300, 400), np.uint8), Point(100, 100))
    assert max(small.width, small.height) == 384


def test_noise_that_makes_a_large_png_is_sent_as_a_jpeg():
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)
    picture = region_picture(noise, WholeImage())
    assert picture.kind == "image/jpeg"
    assert len(picture.data) < 700_000
    head, _, data = picture.url.partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(data) == picture.data


def test_a_crop_of_16_bits_has_the_contrast_of_the_image():
    image = np.full((200, 200), 1000, np.uint16)
    image[0, 0], image[150, 150] = 0, 4000
    pixels = pixels_of(region_picture(image, Box(90, 90, 110, 110), outlined=False))
    assert pixels.mean() == pytest.approx(255 / 4, abs=3)


@pytest.mark.parametrize("region", [Box(-50, -50, -10, -10), Point(500, 5), Box(0, 90, 5, 99)])
def test_a_region_outside_is_refused(region):
    with pytest.raises(RegionError, match="outside"):
        region_picture(np.zeros((50, 50), np.uint8), region)


def test_the_margin_stays_inside_the_image():
    assert crop_window(Box(0, 0, 99, 99), (100, 100)) == (0, 0, 100, 100)
    assert crop_window(Box(40, 40, 59, 59), (100, 100), margin=0.0) == (26, 26, 48, 48)
