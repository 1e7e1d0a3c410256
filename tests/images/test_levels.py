from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from near_sighted import Watched

from napari_patchioner.errors import ImageError
from napari_patchioner.images import Level, Levels, Shrunk


def factors(levels: Levels, side: int) -> list[float]:
    return [round(level.scale[0], 2) for level in levels.down_to(side)]


def test_an_image_of_one_size_gets_smaller_ones() -> None:
    levels = Levels(np.zeros((800, 500), np.uint8))
    assert factors(levels, 100) == [1, 2, 4, 8]
    assert [level.shape for level in levels.down_to(100)][-1] == (100, 63)


def test_levels_at_hand_are_kept_and_wide_gaps_filled() -> None:
    sizes = [np.zeros((side, side), np.uint8) for side in (1024, 512, 64, 16)]
    assert factors(Levels(sizes), 32) == [1, 2, 4, 8, 16, 64]


@given(st.integers(1, 4000), st.integers(1, 300))
def test_neighbours_are_near_and_the_last_is_seen_at_once(long: int, side: int) -> None:
    sizes = [level.long_side for level in Levels(np.empty((long, 3), bool)).down_to(side)]
    assert sizes[-1] <= 2 * side
    assert all(2 * after <= before + 1 for before, after in itertools.pairwise(sizes))


def test_scales_are_those_that_napari_shows_levels_with() -> None:
    levels = Levels([np.zeros((101, 203)), np.zeros((50, 101))])
    assert levels.given[1].scale == (101 / 50, 203 / 101)


def test_a_window_is_read_and_nothing_else() -> None:
    watched = Watched(np.arange(600).reshape(20, 30))
    read = Level(watched).read(4, 5, 3, 2)
    assert read.tolist() == [[125, 126], [155, 156], [185, 186]]
    assert watched.read == [(3, 2)]


def test_beyond_the_edge_the_image_is_mirrored() -> None:
    level = Level(np.arange(6).reshape(2, 3))
    assert level.read(-1, 1, 4, 4).tolist() == [
        [1, 2, 2, 1],
        [1, 2, 2, 1],
        [4, 5, 5, 4],
        [4, 5, 5, 4],
    ]
    assert level.read(0, 0, 7, 1)[:, 0].tolist() == [0, 3, 3, 0, 0, 3, 3]


def test_colours_are_mirrored_along_with_their_pixels() -> None:
    image = np.arange(12).reshape(2, 2, 3)
    assert Level(image).read(1, 0, 2, 2).tolist() == [image[1].tolist(), image[1].tolist()]


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([], "give at least one"),
        (np.zeros(5), "must have the shape"),
        (np.zeros((0, 5)), "must have the shape"),
        ([np.zeros((8, 8, 3)), np.zeros((4, 4))], "as many channels"),
        ([np.zeros((4, 4)), np.zeros((8, 8))], "must get smaller"),
        ([np.zeros((4, 4)), np.zeros((4, 4))], "must get smaller"),
        ([[1, 2], [3, 4]], "must have the shape"),
    ],
)
def test_what_are_no_levels_is_told(levels: object, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        Levels(levels)


def test_bytes_are_shown_as_they_are() -> None:
    image = np.arange(60, 100, dtype=np.uint8).reshape(5, 8)
    assert (Levels(image).rgb(image)[..., 0] == image).all()


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.float32, np.int32])
def test_the_smallest_level_says_how_bright_all_of_it_is(dtype: object) -> None:
    full, small = np.full((9, 9), 100, dtype), np.zeros((3, 3), dtype)
    small[0, 0] = 200
    assert Levels([full, small]).rgb(full)[0, 0, 0] == 128


def test_of_a_large_image_samples_say_it() -> None:
    image = np.full((4000, 3000), 7, np.uint16)
    image[2000:] = 107
    watched = Watched(image)
    assert Levels(watched).rgb(image[:9, :9])[0, 0, 0] == 0
    assert sum(shape[0] * shape[1] for shape in watched.read) < image.size / 10


def test_transparency_says_nothing_of_brightness() -> None:
    image = np.zeros((4, 4, 4), np.uint16)
    image[..., :3], image[..., 3] = 1000, 65535
    assert Levels(image).rgb(image)[0, 0].tolist() == [249, 249, 249]


def test_limits_come_first() -> None:
    image = np.full((4, 4), 50, np.uint8)
    assert Levels(image, contrast_limits=(0, 100)).rgb(image)[0, 0, 0] == 128
    assert Levels(image, contrast_limits=(0, 100)).as_is(image)[0, 0, 0] == 128
    assert Levels(image).as_is(image) is image


def test_parts_without_any_number_are_black_and_do_not_count() -> None:
    image = np.full((4, 4), np.nan, np.float32)
    image[0] = [100, 150, 200, np.inf]
    assert Levels(image).rgb(image)[..., 0].tolist() == [[0, 128, 255, 255], *[[0] * 4] * 3]
    assert not Levels(image).rgb(image[1:]).any()
    nothing = np.full((4, 4), np.nan)
    assert not Levels(nothing).rgb(nothing).any()


def test_each_of_several_channels_has_its_range_all_over_the_image() -> None:
    image = np.zeros((4, 4, 2), np.uint16)
    image[0, 0] = 50, 4000
    rgb = Levels(image).rgb(np.array([[[50, 2000], [25, 0]]] * 2, np.uint16))
    assert rgb[0].tolist() == [[255, 128, 255], [128, 0, 128]]


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
        patch.setattr("napari_patchioner.images._levels._BLOCK", block)
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
    small, fractions = Shrunk(watched, 4), []
    small.read(slice(3, 1250), slice(None), lambda fraction, _: fractions.append(fraction))
    assert [shape[0] for shape in watched.read] == [2048 - 12, 2048, 5000 - 4096]
    assert fractions == [0, 1 / 3, 2 / 3]
