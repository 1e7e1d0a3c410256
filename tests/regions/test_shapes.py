from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

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
