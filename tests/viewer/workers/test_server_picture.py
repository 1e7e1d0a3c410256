"""The crop that a server gets of a plane, whatever sizes and axes there are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from napari.layers import Image
from PIL import Image as Pillow

from napari_patchioner.annotations import Plane
from napari_patchioner.regions import Box
from napari_patchioner.viewer.workers.plane import all_sizes
from napari_patchioner.viewer.workers.server import aspect_of, picture_of

BLUE = (20, 30, 200)


def shown(image, plane, region):
    """The crop, and which of its pixels are blue, up to what the outline hides."""
    picture = picture_of(all_sizes(image, plane), region)
    pixels = np.asarray(Pillow.open(io.BytesIO(picture.data)).convert("RGB"), int)
    return pixels, np.abs(pixels - BLUE).sum(axis=2) < 60


def test_a_slice_of_a_stack_is_shown_as_it_is_displayed():
    stack = np.zeros((4, 100, 200), np.uint16)
    stack[2, 40:60, 90:120] = 4000
    image = Image(stack, contrast_limits=(0, 4000))
    pixels, _ = shown(image, Plane((1, 2), (2,)), Box(40, 90, 59, 119))
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist() == [255, 255, 255]
    pixels, _ = shown(image, Plane((1, 2), (1,)), Box(40, 90, 59, 119))
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].max() == 0
    # Turned, its rows are the columns of the region.
    pixels, _ = shown(image, Plane((2, 1), (2,)), Box(90, 40, 119, 59))
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist() == [255, 255, 255]
    assert pixels.shape[0] > pixels.shape[1]


@pytest.mark.parametrize("side", [60, 2400])
def test_of_a_pyramid_the_size_that_has_it_sharp_is_read(side):
    full = np.zeros((4000, 6000, 3), np.uint8)
    full[1000 : 1000 + side, 2000 : 2000 + side] = BLUE
    levels = [full, full[::2, ::2], full[::4, ::4], full[::8, ::8]]
    region = Box(1000, 2000, 999 + side, 1999 + side)
    pixels, blue = shown(Image(levels, multiscale=True), Plane((0, 1), ()), region)
    rows, columns = np.nonzero(blue)
    # The region and its margin of 0.3 on each side, in the middle of the crop.
    for places, length in ((rows, pixels.shape[0]), (columns, pixels.shape[1])):
        assert places.min() / length == pytest.approx(0.3 / 1.6, abs=0.03)
        assert (places.max() + 1) / length == pytest.approx(1.3 / 1.6, abs=0.03)


def test_pixels_that_are_no_squares_are_sent_as_squares():
    image = Image(np.zeros((100, 200), np.uint8))
    sides = (0.5, "µm"), (0.25, "µm")
    assert aspect_of(sides) == 2.0
    assert aspect_of(((500, "nm"), (0.25, "µm"))) == 2.0
    assert aspect_of(((1, "pixel"), (4, "pixel"))) == 0.25
    # Time and space do not compare.
    assert aspect_of(((1, "s"), (0.25, "µm"))) == 1.0
    # With its surroundings it has 44 rows and 64 columns.
    region = Box(40, 80, 60, 120)
    picture = picture_of(all_sizes(image, Plane()), region, aspect_of(sides))
    assert picture.width / picture.height == pytest.approx(64 * 0.25 / (44 * 0.5), rel=0.03)
    flat = picture_of(all_sizes(image, Plane()), region)
    assert flat.width / flat.height == pytest.approx(64 / 44, rel=0.03)
