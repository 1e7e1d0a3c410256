from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.grids import GridTransform

sides = st.integers(1, 5000)
shapes = st.tuples(sides, sides)
makers = st.sampled_from(
    [GridTransform.squashed, GridTransform.keeping_aspect, GridTransform.centre_cropped]
)


@given(shape=shapes, make=makers, size=st.integers(28, 600), patch=st.sampled_from([8, 14, 16]))
@settings(max_examples=150, deadline=None)
def test_there_and_back(shape, make, size, patch):
    transform = make(shape, size, patch)
    points = np.random.default_rng(0).uniform(-0.5, np.array(shape) - 0.5, (20, 2))
    back = transform.to_image(transform.to_grid(points))
    np.testing.assert_allclose(back, points, atol=1e-9 * max(shape))


@given(shape=shapes)
@settings(deadline=None)
def test_the_corners_of_the_image_are_the_corners_of_the_grid(shape):
    transform = GridTransform.squashed(shape, 518, 14)
    corners = transform.to_grid([[-0.5, -0.5], np.array(shape) - 0.5])
    np.testing.assert_allclose(corners, [[0, 0], [37, 37]], atol=1e-9)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (1000, 300), (333, 500), (518, 518)])
def test_a_centre_crop_looks_at_the_middle(shape):
    transform = GridTransform.centre_cropped(shape, 518, 14)
    middle = (np.array(shape) - 1) / 2
    off = np.abs(transform.to_grid(middle) - 18.5) * 14
    assert (off <= 0.51).all()
    low, high = transform.to_image([[0, 0], [37, 37]])
    assert (low >= -0.5 - 1e-9).all()
    assert (high <= np.array(shape) - 0.5 + 1e-9).all()


@given(shape=st.tuples(st.integers(50, 3000), st.integers(50, 3000)))
@settings(deadline=None)
def test_keeping_the_aspect_makes_patches_nearly_square(shape):
    transform = GridTransform.keeping_aspect(shape, 512, 16)
    assert max(transform.grid_shape) == 32
    height, width = transform.patch_size
    if min(transform.grid_shape) >= 8:
        assert 0.9 < height / width < 1.1
