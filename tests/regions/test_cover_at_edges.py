"""Regions that reach over the edge of an image, under grids that do as well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.errors import RegionError
from napari_patchioner.grids import GridTransform
from napari_patchioner.regions import Box, Ellipse, Mask, Polygon, RegionSet, cover

# Patches of 16 pixels over rows 64 to 128 and columns 64 to 128; the image ends at 100 and 110.
GRID = GridTransform((100, 110), (4, 4), (64, 64, 64, 64))


def shares(region, transform=GRID):
    return cover(region, transform, weighting="area").dense()


def sampled(inside, steps=40):
    """The covered share of each patch, counted point by point, on the image alone."""
    at = (np.arange(4 * steps) + 0.5) * 16 / steps + 64 - 0.5
    rows, columns = np.meshgrid(at, at, indexing="ij")
    there = inside(rows, columns) & (rows < 99.5) & (columns < 109.5)
    return there.reshape(4, steps, 4, steps).mean((1, 3))


def test_a_box_ends_where_the_image_does():
    np.testing.assert_allclose(shares(Box(70, 70, 300, 300)), shares(Box(70, 70, 99.5, 109.5)))
    np.testing.assert_allclose(
        shares(Box(70, 70, 300, 300)),
        sampled(lambda row, column: (row > 70) & (column > 70)),
        atol=0.03,
    )


@given(st.lists(st.integers(60, 140), min_size=6, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_triangle_ends_where_the_image_does(numbers):
    corners = np.array(numbers, float).reshape(3, 2)
    a, b, c = corners

    def side(p, q, row, column):
        return (q[0] - p[0]) * (column - p[1]) - (q[1] - p[1]) * (row - p[0])

    def inside(row, column):
        signs = [side(*ends, row, column) > 0 for ends in ((a, b), (b, c), (c, a))]
        return (signs[0] == signs[1]) & (signs[1] == signs[2])

    if abs(side(a, b, *c)) < 50:
        return
    expected = sampled(inside)
    if expected.sum() < 0.05:
        return
    np.testing.assert_allclose(shares(Polygon(corners)), expected, atol=0.05)


def test_what_members_cover_together_ends_where_the_image_does():
    box = Box(70, 70, 300, 300)
    both = RegionSet((box, Box(72, 72, 80, 80)), union=True)
    np.testing.assert_allclose(shares(both), shares(box), atol=1e-12)


def test_members_that_cover_nothing_of_the_image_take_what_they_take_by_themselves():
    beside = GridTransform((100, 110), (4, 4), (64, 120, 64, 64))
    member = Polygon([(70, 100), (70, 160), (90, 165), (90, 100)])
    both = RegionSet((member, member), union=True)
    np.testing.assert_allclose(shares(both, beside), shares(member, beside))


def test_what_is_cut_in_two_at_the_edge_counts_twice():
    comb = [(70, 70), (70, 76), (120, 76), (120, 90), (70, 90), (70, 96), (126, 96), (126, 70)]
    teeth = RegionSet((Box(70, 70, 99.5, 76), Box(70, 90, 99.5, 96)))
    np.testing.assert_allclose(shares(Polygon(comb)), shares(teeth), atol=1e-12)


def test_an_ellipse_and_a_mask_end_where_the_image_does():
    ellipse = Ellipse([(80, 80), (80, 140), (120, 140), (120, 80)])
    np.testing.assert_allclose(
        shares(ellipse),
        sampled(lambda row, column: ((row - 100) / 20) ** 2 + ((column - 110) / 30) ** 2 < 1),
        atol=0.03,
    )
    painted = np.ones((60, 60), bool)
    np.testing.assert_allclose(
        shares(Mask(painted, (70, 70))), shares(Mask(painted[:30, :40], (70, 70)))
    )


def test_what_lies_beyond_the_image_alone_is_outside():
    for region in (Mask(np.ones((5, 5), bool), (103, 70)), Box(103, 70, 110, 80)):
        with pytest.raises(RegionError, match="outside"):
            shares(region, GRID)
