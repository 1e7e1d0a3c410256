from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from near_sighted import Watched

from napari_patchioner.pyramid import _shrunk
from napari_patchioner.pyramid._shrunk import Shrunk


def means(image: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = (range(0, side, factor) for side in image.shape[:2])
    return np.array(
        [[np.nanmean(image[r : r + factor, c : c + factor], (0, 1)) for c in columns] for r in rows]
    )


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 12), st.data())
def test_each_pixel_is_the_mean_of_its_square_wherever_a_window_begins(
    height: int, width: int, factor: int, block: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(height * width).normal(size=(height, width, 2))
    expected = means(image, factor)
    top = data.draw(st.integers(0, expected.shape[0] - 1))
    left = data.draw(st.integers(0, expected.shape[1] - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_shrunk, "_BLOCK", block)
        small = Shrunk(image, factor)
        assert small.shape == expected.shape
        np.testing.assert_allclose(small[top:, left:], expected[top:, left:], atol=1e-12)
        np.testing.assert_allclose(small[: top + 1, : left + 1], expected[: top + 1, : left + 1])


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i4", ">f4", "f8", "f2"])
def test_values_keep_their_type(dtype: str) -> None:
    image = np.array([[1, 2, 9], [3, 4, 9]], dtype)
    small = Shrunk(image, 2)[:, :]
    assert small.dtype == image.dtype
    mean = 2.5 if image.dtype.kind == "f" else 2
    assert small.tolist() == [[mean, 9]]


def test_the_majority_of_booleans_counts() -> None:
    image = np.array([[1, 1, 0, 0], [1, 0, 0, 1]], bool)
    assert Shrunk(image, 2)[:, :].tolist() == [[True, False]]


def test_values_that_are_none_do_not_count() -> None:
    nan = np.nan
    image = np.array([[1.0, nan, nan, nan], [3.0, nan, nan, nan]], np.float32)
    small = Shrunk(image, 2)[:, :]
    assert small[0, 0] == 2
    assert np.isnan(small[0, 1])


def test_large_numbers_do_not_run_over() -> None:
    assert Shrunk(np.full((4096, 8), 65535, np.uint16), 8)[:, :].tolist() == [[65535]] * 512


def test_squares_are_read_at_the_same_places_whatever_the_window() -> None:
    watched = Watched(np.zeros((5000, 100), np.uint8))
    small, told = Shrunk(watched, 4), []
    small.read(slice(3, 1250), slice(None), told.append)
    assert [shape[0] for shape in watched.read] == [2048 - 12, 2048, 5000 - 4096]
    assert told == [0, 1 / 3, 2 / 3]
