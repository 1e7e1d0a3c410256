from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.errors import RegionError
from napari_patchioner.grids import GridTransform
from napari_patchioner.regions import (
    Polygon,
    cover,
    crosses_itself,
    enclosed,
    is_tangled,
    untangle,
)

CIRCLE = np.linspace(0, 2 * np.pi, 60, endpoint=False)
ROUND = 50 + 40 * np.stack([np.sin(CIRCLE), np.cos(CIRCLE)], axis=1)


def test_a_simple_outline_stays_as_it_is():
    np.testing.assert_array_equal(untangle(ROUND), ROUND)


@given(at=st.integers(1, 58), turn=st.sampled_from([-1, 1]), size=st.floats(0.5, 5))
@settings(max_examples=60, deadline=None)
def test_a_small_curl_is_taken_out(at, turn, size):
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    step = ROUND[at] - ROUND[at - 1]
    start = np.arctan2(step[0], step[1])
    curl = ROUND[at] + size * np.stack(
        [np.sin(start + turn * angles), np.cos(start + turn * angles)], axis=1
    )
    lasso = np.concatenate([ROUND[:at], curl, ROUND[at:]])
    clean = untangle(lasso)
    np.testing.assert_array_equal(untangle(clean), clean)
    expected = shapely.Polygon(ROUND).area
    assert shapely.make_valid(shapely.Polygon(clean)).area == pytest.approx(expected, rel=0.06)


def test_overlapping_ends_of_a_lasso_are_cut():
    angles = np.linspace(0, 2 * np.pi + 0.15, 80)
    radii = np.linspace(40, 41, 80)[:, None]
    spiral = 50 + radii * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    spiral[-1] = [50, 88]
    assert shapely.Polygon(untangle(spiral)).is_valid


def test_a_bow_tie_is_no_accident():
    bow_tie = np.array([[0.0, 0], [20, 20], [20, 0], [0, 20]])
    np.testing.assert_array_equal(untangle(bow_tie), bow_tie)


def test_the_tolerance_decides():
    lasso = np.array([[0.0, 0], [0, 90], [90, 90], [90, 20], [70, -10], [90, -10]])
    np.testing.assert_array_equal(untangle(lasso, tolerance=0.001), lasso)
    assert shapely.Polygon(untangle(lasso, tolerance=0.2)).is_valid


def test_a_tangle_of_many_thousand_crossings_is_refused_at_little_cost():
    tangle = np.random.default_rng(0).uniform(0, 1000, (6000, 2))
    assert is_tangled(tangle)
    assert crosses_itself(tangle)
    np.testing.assert_array_equal(untangle(tangle), tangle)
    with pytest.raises(RegionError, match="crosses itself more than 20,000 times"):
        cover(Polygon(tangle), GridTransform((1000, 1000), (10, 10)))
    angles = np.linspace(0, 4 * np.pi, 6000)
    twice = np.stack([np.sin(angles), np.cos(angles)], axis=1) * np.linspace(9, 5, 6000)[:, None]
    assert not is_tangled(twice)


@pytest.mark.parametrize("rounded", [False, True])
def test_what_many_crossings_enclose_is_what_shapely_says(rounded):
    points = np.random.default_rng(1).random((60, 2)) * 100
    points = points.round() if rounded else points
    expected = shapely.make_valid(shapely.Polygon(points))
    found = enclosed(points)
    assert shapely.is_valid(found)
    assert shapely.symmetric_difference(found, expected).area < 1e-6


def test_what_a_tangle_encloses_is_not_sorted_out():
    with pytest.raises(RegionError, match="draw it again"):
        enclosed(np.random.default_rng(0).random((2000, 2)))
