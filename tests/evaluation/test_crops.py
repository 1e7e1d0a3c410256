from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.errors import RegionError
from napari_patchioner.evaluation.crops import crop
from napari_patchioner.grids import GridTransform
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
    cover,
)

SHAPE = (24, 30)
# Every pixel holds its own place.
IMAGE = np.stack(np.indices(SHAPE), axis=-1)
# So that the largest region still lies within the picture: what sticks out is cut off.
PLACES = st.tuples(st.integers(2, 18), st.integers(2, 24)).map(lambda place: np.array(place, float))


def touched(region):
    """First and last pixel, by the weights of a grid as fine as the picture."""
    places = cover(region, GridTransform(SHAPE, SHAPE)).indices
    rows, columns = np.unravel_index(places, SHAPE)
    return rows.min(), columns.min(), rows.max(), columns.max()


def cut(region):
    part = crop(IMAGE, region)
    return (*part[0, 0], *part[-1, -1])


@given(PLACES, st.floats(1, 5), st.floats(1, 5), st.sampled_from(["box", "polygon", "mask", "set"]))
def test_the_crop_is_the_pixels_that_are_touched(place, height, width, kind):
    row, column = place
    low, right = row + height, column + width
    box = Box(row, column, low, right)
    triangle = Polygon(np.array([[row, column], [low, column + width / 3], [low, right]]))
    region = {
        "box": box,
        "polygon": triangle,
        "mask": Mask(np.ones((int(height) + 1, int(width) + 1), bool), (int(row), int(column))),
        "set": RegionSet((Box(1.0, 1.0, 2.6, 2.6), triangle)),
    }[kind]
    assert cut(region) == touched(region)


@given(PLACES, st.floats(2, 4), st.floats(2, 4), st.floats(0, np.pi))
def test_a_turned_ellipse_is_cut_closely(place, height, width, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    square = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * (height, width)
    region = Ellipse(square @ turn.T + np.clip(place, 6, 17))
    # an ellipse is covered as a polygon of many corners: a hair smaller than it is
    assert np.abs(np.subtract(cut(region), touched(region))).max() <= 1


def test_points_and_traces_have_a_pixel_and_a_picture_two():
    assert cut(Point(3.2, 4.4)) == (3, 4, 4, 5)
    assert cut(Point(23.0, 29.0)) == (22, 28, 23, 29)
    assert cut(Trace(np.array([[3.0, 4.0], [9.0, 5.0]]))) == (3, 4, 9, 5)


def test_what_reaches_out_is_cut_at_the_edge():
    assert cut(Box(-9.0, 20.0, 3.4, 99.0)) == (0, 20, 3, 29)
    assert cut(WholeImage()) == (0, 0, 23, 29)


@pytest.mark.parametrize("region", [Box(-9.0, -9.0, -2.0, -2.0), Point(40.0, 3.0)])
def test_outside_is_refused(region):
    with pytest.raises(RegionError, match="outside"):
        crop(IMAGE, region)
