from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_patchioner.errors import RegionError
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
)

CORNERS = np.array([[2.0, 1.0], [2.0, 7.0], [5.0, 7.0], [5.0, 1.0]])


def edges(box: Box) -> list[float]:
    return [box.top, box.left, box.bottom, box.right]


@pytest.mark.parametrize(
    "region",
    [Box(2, 1, 5, 7), Box(5, 7, 2, 1), Polygon(CORNERS), Trace(CORNERS), Ellipse(CORNERS)],
)
def test_a_region_is_as_large_as_its_corners(region: Region) -> None:
    assert edges(region.bounds()) == pytest.approx([2, 1, 5, 7])


def test_a_turned_ellipse_is_smaller_than_its_corners() -> None:
    diamond = np.array([[0.0, 5.0], [5.0, 10.0], [10.0, 5.0], [5.0, 0.0]])
    reach = 5 / np.sqrt(2)
    around = Ellipse(diamond).bounds()
    assert edges(around) == pytest.approx([5 - reach, 5 - reach, 5 + reach, 5 + reach], abs=1e-3)


def test_a_point_has_no_size() -> None:
    assert edges(Point(3, 4).bounds()) == [3, 4, 3, 4]


@given(arrays(bool, (5, 6)).filter(np.any), st.integers(-3, 9), st.integers(-3, 9))
def test_a_mask_goes_to_the_edges_of_its_pixels(pixels: np.ndarray, row: int, column: int) -> None:
    rows, columns = np.nonzero(pixels)
    expected = [rows.min() - 0.5, columns.min() - 0.5, rows.max() + 0.5, columns.max() + 0.5]
    shift = [row, column, row, column]
    assert edges(Mask(pixels, (row, column)).bounds()) == pytest.approx(np.add(expected, shift))


def test_a_set_goes_around_its_members() -> None:
    assert edges(RegionSet((Box(2, 3, 4, 5), Point(9, 1))).bounds()) == [2, 1, 9, 5]


@pytest.mark.parametrize(
    "region",
    [
        WholeImage(),
        RegionSet(()),
        Mask(np.zeros((2, 2), bool)),
        Trace(np.zeros((0, 2))),
        Point(np.nan, 0),
    ],
)
def test_what_has_no_box_is_told(region: Region) -> None:
    with pytest.raises(RegionError):
        region.bounds()
