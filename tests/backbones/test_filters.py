from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_patchioner.backbones.filters import (
    blur,
    depths,
    least_around,
    most_around,
    patch_means,
)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (130, 70), (64, 65)])
@pytest.mark.parametrize("sigma", [0.8, 5.0, 20.0])
def test_blur_is_gaussian_and_keeps_to_the_border(shape: tuple[int, int], sigma: float) -> None:
    plane = np.random.default_rng(0).normal(0, 30, shape).astype(np.float32)
    expected = ndimage.gaussian_filter(plane.astype(float), sigma, mode="nearest", truncate=3.0)
    np.testing.assert_allclose(blur(plane, sigma), expected, atol=1e-3)
    both = blur(np.stack([plane, 2 * plane]), sigma)
    np.testing.assert_allclose(both[1], 2 * both[0], atol=1e-3)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize("side", [1, 3, 31])
def test_depths_are_distances_from_the_outside(share: float, side: int) -> None:
    random = np.random.default_rng(round(1000 * share) + side)
    mask = ndimage.uniform_filter(random.uniform(size=(90, 230)), side) < share**0.5
    mask[0, 0] = False
    np.testing.assert_allclose(depths(mask), ndimage.distance_transform_edt(mask), rtol=1e-6)


def test_large_things_are_as_deep_as_they_are() -> None:
    mask = np.zeros((480, 640), bool)
    mask[20:460, 20:620] = True
    mask[::7, 30] = False
    np.testing.assert_allclose(depths(mask), ndimage.distance_transform_edt(mask), rtol=1e-6)
    assert not depths(np.zeros((5, 7), bool)).any()


def test_means_are_those_of_the_patches() -> None:
    planes = np.random.default_rng(1).normal(size=(2, 12, 20)).astype(np.float32)
    means = patch_means(planes, (3, 4))
    assert means.shape == (2, 3, 4)
    assert means[1, 2, 3] == pytest.approx(planes[1, 8:, 15:].mean(), abs=1e-6)


def test_neighbours_are_the_eight_around() -> None:
    plane = np.random.default_rng(2).integers(0, 99, (9, 14))
    np.testing.assert_array_equal(most_around(plane), ndimage.maximum_filter(plane, 3))
    np.testing.assert_array_equal(least_around(plane), ndimage.minimum_filter(plane, 3))
