from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_patchioner.annotations import region_from_text, region_to_text
from napari_patchioner.annotations.wkt import members_cell
from napari_patchioner.errors import FormatError
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

COORDINATE = st.floats(-1e6, 1e6)
RINGS = st.integers(3, 30).flatmap(lambda n: arrays(float, (n, 2), elements=COORDINATE))


def test_pixel_corners_are_at_integers_in_x_and_y() -> None:
    assert region_to_text(Point(1, 2)) == "POINT (2.5 1.5)"
    assert region_to_text(Box(-0.5, -0.5, 9.5, 19.5)).startswith("POLYGON ((0 0, 20 0, 20 10, ")


def test_every_kind_reads_back(regions: list[Any], same_region: Any) -> None:
    kinds = {Box: "box", Polygon: "polygon", Ellipse: "ellipse", Trace: "trace", Point: "point"}
    for region in regions:
        kind = kinds.get(type(region), "set" if isinstance(region, RegionSet) else "image")
        again = region_from_text(region_to_text(region), kind, members_cell(region))
        assert same_region(region, again), region


@given(RINGS)
def test_outlines_and_traces_round_trip(ring: np.ndarray) -> None:
    polygon = region_from_text(region_to_text(Polygon(ring)), "polygon")
    np.testing.assert_allclose(polygon.vertices, ring, rtol=0, atol=1e-6)
    trace = region_from_text(region_to_text(Trace(ring)), "trace")
    np.testing.assert_allclose(trace.points, ring, rtol=0, atol=1e-6)
    assert trace.connected


@given(COORDINATE, COORDINATE, st.floats(0, 1e5), st.floats(0, 1e5))
def test_boxes_round_trip(top: float, left: float, height: float, width: float) -> None:
    box = Box(top, left, top + height, left + width)
    again = region_from_text(region_to_text(box), "box")
    np.testing.assert_allclose(
        [again.top, again.left, again.bottom, again.right],
        [box.top, box.left, box.bottom, box.right],
        rtol=0,
        atol=1e-6,
    )


def test_what_is_written_is_what_other_tools_read(regions: list[Any]) -> None:
    for region in regions:
        assert shapely.from_wkt(region_to_text(region)) is not None
    assert shapely.from_wkt(region_to_text(Box(-0.5, -0.5, 1.5, 3.5))).area == 8.0


@pytest.mark.parametrize("wkt", ["", "  ", "POLYGON EMPTY", "POLYGON ((0 0, 9 0, 9 5, 0 5, 0 0))"])
def test_the_whole_image_may_be_written_in_several_ways(wkt: str) -> None:
    assert isinstance(region_from_text(wkt, "image"), WholeImage)


def test_corners_of_a_box_may_come_in_any_order() -> None:
    box = region_from_text("POLYGON ((4 2, 4 0, 0 0, 0 2, 4 2))", "box")
    assert (box.top, box.left, box.bottom, box.right) == (-0.5, -0.5, 1.5, 3.5)


def test_a_set_from_elsewhere_needs_no_members() -> None:
    wkt = "MULTIPOLYGON (((0 0, 4 0, 4 2, 0 2, 0 0)), ((9 9, 12 9, 9 12, 9 9)))"
    parts = region_from_text(wkt, "set")
    assert [type(member) for member in parts.members] == [Box, Polygon]
    assert not parts.union
    one = region_from_text("POLYGON ((9 9, 12 9, 9 12, 9 9))", "set")
    assert [type(member) for member in one.members] == [Polygon]


@pytest.mark.parametrize(
    ("wkt", "kind", "told"),
    [
        ("POLYGON ((0 0, 4 0", "polygon", "well-known text"),
        ("cat", "box", "well-known text"),
        ("", "box", "well-known text"),
        ("POINT (nan 1)", "point", "finite"),
        ("POINT (inf 1)", "point", "finite"),
        ("POINT (1 1)", "box", "must be a POLYGON, not a POINT"),
        ("POINT (1 1)", "cat", "kind 'cat' is unknown"),
        ("POINT (1 1)", "mask", "is no mask"),
        ("POLYGON EMPTY", "polygon", "may not be empty"),
        ("GEOMETRYCOLLECTION EMPTY", "set", "may not be empty"),
        ("POLYGON ((0 0, 9 0, 9 9, 0 0), (6 1, 7 1, 7 2, 6 1))", "polygon", "hole"),
        ("POLYGON ((0 0, 9 1, 9 9, 0 9, 0 0))", "box", "upright"),
        ("POLYGON ((0 0, 9 0, 9 9, 0 0))", "ellipse", "4 corners"),
        ("GEOMETRYCOLLECTION (GEOMETRYCOLLECTION (POINT (1 1)))", "set", "may not hold"),
        ("POINT Z (1 1 nan)", "trace", None),
    ],
)
def test_bad_geometry_is_told_in_a_sentence(wkt: str, kind: str, told: str | None) -> None:
    if told is None:
        assert isinstance(region_from_text(wkt, kind), Trace)
        return
    with pytest.raises(FormatError, match=told):
        region_from_text(wkt, kind)


@pytest.mark.parametrize("members", ["sum: box", "product: point", "point", "sum: set"])
def test_members_that_do_not_fit_are_refused(members: str) -> None:
    with pytest.raises(FormatError):
        region_from_text("GEOMETRYCOLLECTION (POINT (1 1))", "set", members)


@pytest.mark.parametrize(
    "region",
    [
        Mask(np.zeros((2, 2), bool)),
        Polygon(np.zeros((2, 2))),
        Trace(np.zeros((0, 2))),
        Point(float("nan"), 1),
        RegionSet(()),
        RegionSet((Mask(np.zeros((2, 2), bool)),)),
    ],
)
def test_what_cannot_be_written_is_refused(region: Any) -> None:
    with pytest.raises(FormatError):
        region_to_text(region)
