from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
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


@pytest.mark.parametrize(
    ("region", "is_area", "points", "rings"),
    [
        (Box(2, 1, 5, 7), True, 4, 1),
        (Polygon(CORNERS[:3]), True, 3, 1),
        (Ellipse(CORNERS), True, 4, 1),
        (Mask(np.ones((2, 3), bool)), True, 0, 1),
        (Trace(CORNERS), False, 4, 0),
        (Point(1, 2), False, 1, 0),
        (WholeImage(), True, 0, 0),
        (RegionSet((Box(0, 0, 1, 1), Mask(np.ones((1, 1), bool)))), True, 0, 2),
        (RegionSet((Box(0, 0, 1, 1), Point(0, 0))), False, 0, 1),
    ],
)
def test_a_region_tells_its_geometry(
    region: Region, is_area: bool, points: int, rings: int
) -> None:
    assert region.is_area is is_area
    assert region.coords().shape == (points, 2)
    assert [ring.shape[1] for ring in region.rings()] == [2] * rings
    outline = region.outline()
    assert (outline is None) is (region.kind not in ("box", "polygon", "ellipse"))
    assert outline is None or np.array_equal(outline, region.rings()[0])


@given(arrays(bool, (6, 7)), st.integers(-3, 9), st.integers(-3, 9))
@settings(deadline=None)
def test_rings_of_a_mask_enclose_its_pixels(pixels: np.ndarray, row: int, column: int) -> None:
    mask = Mask(pixels, (row, column))
    assert mask.polygons().area == pixels.sum()
    rows, columns = np.add(np.indices(pixels.shape).reshape(2, -1), [[row], [column]])
    centres = shapely.points(rows, columns)
    inside = sum((shapely.Polygon(ring).contains(centres).astype(int) for ring in mask.rings()), 0)
    assert np.array_equal(inside % 2 * np.ones(pixels.size), pixels.ravel())


def test_rings_without_holes_are_the_outer_ones() -> None:
    pixels = np.ones((3, 3), bool)
    pixels[1, 1] = False
    assert [len(Mask(pixels).rings(holes=holes)) for holes in (True, False)] == [2, 1]


def test_the_whole_image_becomes_a_box_around_all_pixels() -> None:
    point = Point(1, 2)
    box, same = RegionSet((WholeImage(), point)).for_image(4, 6).parts()
    assert box.coords().tolist() == [[-0.5, -0.5], [-0.5, 5.5], [3.5, 5.5], [3.5, -0.5]]
    assert same is point


def test_an_outline_around_an_ellipse_lies_on_it() -> None:
    outline = Ellipse(CORNERS).outline(8)
    centre, reach = CORNERS.mean(axis=0), np.ptp(CORNERS, axis=0) / 2
    assert outline.shape == (8, 2)
    assert ((outline - centre) / reach) ** 2 @ [1, 1] == pytest.approx(np.ones(8))


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
