from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.errors import PatchionerError
from napari_patchioner.grids import FeatureGrid, GridTransform, pool
from napari_patchioner.regions import Box, Point, RegionSet, Trace, WholeImage, cover

TRANSFORM = GridTransform((60, 100), (6, 10))
RNG = np.random.default_rng(0)
EMBEDDINGS = RNG.standard_normal((6, 10, 8)).astype(np.float32)
ATTENTION = RNG.random((6, 10)).astype(np.float32)
GRID = FeatureGrid(EMBEDDINGS, TRANSFORM, key="test", attention=ATTENTION / ATTENTION.sum())
BOX = Box(4.5, 14.5, 34.5, 64.5)
REGIONS = [
    BOX,
    Point(3, 3),
    Trace(np.array([[5.0, 5.0], [5.0, 5.0], [50.0, 80.0]])),
    RegionSet((BOX, Box(9.5, 9.5, 59.5, 29.5))),
    WholeImage(),
]


@pytest.mark.parametrize("how", ["mean", "gaussian", "attention"])
def test_every_region_is_its_own_weighted_mean(how):
    weights = [cover(region, TRANSFORM) for region in REGIONS]
    together = pool(GRID, weights, how)
    assert together.shape == (5, 8)
    assert together.dtype == np.float32
    for row, region in enumerate(weights):
        np.testing.assert_allclose(pool(GRID, [region], how)[0], together[row], atol=1e-6)


def test_mean_is_the_weighted_average():
    for region in REGIONS:
        weights = cover(region, TRANSFORM, weighting="area")
        expected = np.average(
            EMBEDDINGS.reshape(60, 8)[weights.indices], axis=0, weights=weights.weights
        )
        np.testing.assert_allclose(pool(GRID, [weights])[0], expected, atol=1e-6)


@pytest.mark.parametrize("how", ["mean", "gaussian", "attention"])
def test_a_constant_grid_pools_to_the_constant(how):
    flat = FeatureGrid(np.full((6, 10, 2), 3, np.float32), TRANSFORM, "flat", GRID.attention)
    weights = [cover(region, TRANSFORM) for region in REGIONS]
    np.testing.assert_allclose(pool(flat, weights, how), 3, rtol=1e-6)


def test_a_bell_is_highest_in_the_middle_and_flat_when_wide():
    box = cover(Box(-0.5, -0.5, 29.5, 49.5), TRANSFORM)
    narrow = pool(GRID, [box], "gaussian", variance=1e-4)
    np.testing.assert_allclose(narrow[0], EMBEDDINGS[1, 2], atol=1e-6)
    np.testing.assert_array_equal(pool(GRID, [box], "gaussian", variance=0), narrow)
    wide = pool(GRID, [box], "gaussian", variance=1e9)
    np.testing.assert_allclose(wide, pool(GRID, [box]), atol=1e-6)


def test_variance_zero_takes_all_central_patches():
    even = cover(Box(-0.5, -0.5, 19.5, 39.5), TRANSFORM)
    centre = pool(GRID, [even], "gaussian", variance=0)[0]
    np.testing.assert_allclose(centre, EMBEDDINGS[0:2, 1:3].mean(axis=(0, 1)), atol=1e-6)


def test_members_of_a_set_keep_their_share():
    one, two = Box(-0.5, -0.5, 9.5, 9.5), Box(19.5, -0.5, 59.5, 99.5)
    weights = [cover(box, TRANSFORM) for box in (one, two)]
    parts = pool(GRID, weights, "gaussian")
    paper = pool(GRID, [cover(RegionSet((one, two)), TRANSFORM)], "gaussian")[0]
    np.testing.assert_allclose(paper, (1 * parts[0] + 40 * parts[1]) / 41, atol=1e-6)
    boxes = [cover(box, TRANSFORM, convention="reference") for box in (one, two)]
    reference = cover(RegionSet((one, two)), TRANSFORM, convention="reference")
    means = pool(GRID, boxes, "gaussian").mean(axis=0)
    np.testing.assert_allclose(pool(GRID, [reference], "gaussian")[0], means, atol=1e-6)


def test_attention_zero_under_a_region_attends_evenly():
    attention = np.zeros((6, 10), np.float32)
    attention[5, 9] = 1
    grid = FeatureGrid(EMBEDDINGS, TRANSFORM, "test", attention)
    box = [cover(BOX, TRANSFORM)]
    np.testing.assert_allclose(pool(grid, box, "attention"), pool(grid, box), atol=1e-6)


def test_no_region_gives_no_row():
    assert pool(GRID, []).shape == (0, 8)


def test_what_does_not_fit_is_refused():
    whole = [cover(WholeImage(), TRANSFORM)]
    with pytest.raises(PatchionerError, match="do not fit embeddings of shape"):
        pool(GRID, [cover(WholeImage(), GridTransform((60, 100), (3, 5)))])
    with pytest.raises(PatchionerError, match="no attention map"):
        pool(FeatureGrid(EMBEDDINGS, TRANSFORM, "test"), whole, "attention")
    with pytest.raises(PatchionerError, match="variance"):
        pool(GRID, whole, "gaussian", variance=-1)
    with pytest.raises(PatchionerError, match="Unknown pooling"):
        pool(GRID, whole, "median")
