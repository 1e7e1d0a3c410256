"""How large regions are, and how they lie to each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.regions import (
    Box,
    Ellipse,
    Layout,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)

MIRRORED = {"left": "right", "right": "left"}
CONVERSE = {
    "inside": "around",
    "left of": "right of",
    "above": "below",
    "above and left of": "below and right of",
    "above and right of": "below and left of",
}
CONVERSE |= {there: here for here, there in CONVERSE.items()}


def mirrored(relation):
    return " ".join(MIRRORED.get(word, word) for word in relation.split())


numbers = st.integers(0, 60)
boxes = st.builds(
    lambda top, left, height, width: Box(top, left, top + height, left + width),
    *(numbers, numbers, st.integers(1, 40), st.integers(1, 40)),
)
points = st.builds(Point, numbers, numbers)
traces = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=5, unique=True).map(
    lambda vertices: Trace(np.array(vertices, float))
)
polygons = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6, unique=True).map(
    lambda vertices: Polygon(np.array(vertices, float))
)
regions = st.one_of(boxes, points, traces, polygons)


def flipped(region):
    """The region in an image mirrored left to right."""
    if isinstance(region, Box):
        return Box(region.top, -region.right, region.bottom, -region.left)
    if isinstance(region, Point):
        return Point(region.row, -region.column)
    if isinstance(region, Trace):
        return Trace(region.points * (1, -1))
    return Polygon(region.vertices * (1, -1))


def moved(region, down, along):
    if isinstance(region, Box):
        return Box(
            *(region.top + down, region.left + along, region.bottom + down, region.right + along)
        )
    if isinstance(region, Point):
        return Point(region.row + down, region.column + along)
    if isinstance(region, Trace):
        return Trace(region.points + np.array([down, along]))
    return Polygon(region.vertices + np.array([down, along]))


@given(regions, regions)
def test_what_mirrors_the_image_mirrors_the_words(first, second):
    there = Layout([flipped(first), flipped(second)]).relation(0, 1)
    assert there == mirrored(Layout([first, second]).relation(0, 1))


@given(regions, regions, numbers, numbers)
def test_what_moves_the_image_changes_no_word(first, second, down, along):
    there = Layout([moved(first, down, along), moved(second, down, along)])
    assert there.relation(0, 1) == Layout([first, second]).relation(0, 1)


@given(regions, regions)
def test_the_other_way_round_says_the_converse(first, second):
    layout = Layout([first, second])
    here, there = layout.relation(0, 1), layout.relation(1, 0)
    assert there == CONVERSE.get(here, here)


@given(regions, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_sizes_scale_with_the_unit(region, factor):
    here, there = Layout([region]).size(0), Layout([region], sides=(factor, factor)).size(0)
    assert (here is None) == (there is None)
    if here is not None:
        assert there.kind == here.kind
        assert there.value == pytest.approx(here.value * factor)


@given(boxes, boxes)
def test_left_of_is_true_of_every_pixel(first, second):
    relation = Layout([first, second]).relation(0, 1)
    if "left of" in relation:
        assert first.right <= second.left + 0.5
    if "above" in relation:
        assert first.bottom <= second.top + 0.5
    if relation == "inside":
        assert first.top >= second.top - 0.05 * (first.bottom - first.top)


def test_pixels_that_are_not_square_count_as_they_are():
    box = Box(0, 0, 10, 10)
    assert Layout([box], sides=(1, 4)).size(0).kind == "long"
    assert Layout([box], sides=(1, 4)).size(0).value == pytest.approx(40)
    trace = Trace(np.array([(0.0, 0), (3, 0), (3, 4)]))
    assert Layout([trace], sides=(2, 0.5)).size(0).value == pytest.approx(6 + 2)
    # Two and a half rows are further than ten narrow columns.
    layout = Layout([Point(0, 0), Point(10, 40)], sides=(4, 0.25))
    assert layout.relation(0, 1) == "above"
    assert Layout([Point(0, 0), Point(10, 40)]).relation(0, 1) == "left of"


def test_areas_of_all_kinds():
    disc = Ellipse(np.array([(0.0, 0), (0, 20), (20, 20), (20, 0)]))
    yy, xx = np.mgrid[:21, :21]
    ring = Mask(np.hypot(yy - 10, xx - 10) <= 10, (5, 5))
    eight = Polygon(np.array([(0.0, 0), (10, 10), (0, 10), (10, 0)]))
    both = RegionSet((Box(0, 0, 4, 4), Box(2, 2, 6, 6)))
    layout = Layout([disc, ring, eight, both])
    areas = math.pi / 4 * layout.diameters**2
    assert areas.tolist() == pytest.approx([math.pi * 100, ring.pixels.sum(), 50, 28])
    assert layout.size(0).value == pytest.approx(20)


def test_what_has_no_geometry_has_no_place():
    empty = Mask(np.zeros((3, 3), bool))
    broken = Polygon(np.array([(0.0, 0), (np.nan, 1), (2, 2)]))
    layout = Layout([Box(0, 0, 2, 2), empty, WholeImage(), broken])
    for index in (1, 2, 3):
        assert not layout.is_placed(index)
        assert layout.size(index) is None
        assert layout.relation(0, index) is None
        assert layout.position(index, 10, 10) == ""


def test_lines_and_points_by_areas():
    cell = Box(0, 0, 20, 20)
    across = Trace(np.array([(10.0, -20), (10, 10)]))
    within = Trace(np.array([(5.0, 5), (10, 10)]))
    dots = Trace(np.array([(5.0, 5), (10, 10)]), connected=False)
    layout = Layout([cell, across, within, Point(3, 3), dots, Point(3, 40)])
    relations = [layout.relation(index, 0) for index in range(1, 6)]
    assert relations == ["overlapping", "inside", "inside", "inside", "right of"]
    assert layout.relation(0, 1) == "overlapping"
    assert layout.size(4) is None


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 10, 10), "in the top left quarter of the image"),
        ((60, 60, 90, 90), "in the bottom right quarter of the image"),
        ((10, 0, 90, 40), "in the left half of the image"),
        ((0, 10, 40, 90), "in the upper half of the image"),
        ((30, 30, 60, 60), "in the middle of the image"),
        ((0, 0, 99, 99), "filling most of the image"),
        ((0, 40, 99, 60), ""),
    ],
)
def test_position_in_the_image(box, words):
    assert Layout([Box(*box)]).position(0, 100, 100) == words


def test_touching_outlines():
    layout = Layout([Box(0, 0, 10, 10), Box(0, 10.5, 10, 20), Box(0, 12, 10, 20)])
    assert layout.relation(0, 1) == "touching"
    assert layout.relation(0, 2) == "left of"


def test_an_outline_around_a_corner_is_beside():
    corner = Polygon(np.array([(0.0, 0), (0, 40), (10, 40), (10, 10), (40, 10), (40, 0)]))
    assert Layout([Box(20, 20, 30, 30), corner]).relation(0, 1) == "beside"
