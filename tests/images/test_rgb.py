from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_patchioner.errors import ImageError
from napari_patchioner.images import as_rgb

RAMP = np.linspace(0, 1, 256).reshape(16, 16)


@pytest.mark.parametrize(
    "image",
    [
        np.arange(256, dtype=np.uint8).reshape(16, 16),
        np.arange(256, dtype=np.uint8).reshape(16, 16, 1),
        np.arange(256, dtype=np.uint16).reshape(16, 16) * 257,
        np.arange(256, dtype=np.int32).reshape(16, 16) * 1000 - 7,
        np.arange(256, dtype=np.uint64).reshape(16, 16),
        RAMP,
        RAMP.astype(np.float32),
        RAMP * 4000 - 1000,
    ],
)
def test_a_gray_ramp_is_the_same_ramp_in_any_type(image: np.ndarray) -> None:
    rgb = as_rgb(image)
    assert rgb.shape == (16, 16, 3)
    assert rgb.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(rgb[..., channel].ravel(), np.arange(256))


def test_eight_bit_colours_stay_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 200, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(as_rgb(image), image)


@pytest.mark.parametrize("full", [1023, 4095, 16383, 65535])
def test_deep_colours_span_the_depth_of_the_camera(full: int) -> None:
    image = np.full((4, 4, 3), full, np.uint16)
    image[0, 0] = 0
    assert as_rgb(image)[1, 1].tolist() == [255, 255, 255]
    assert as_rgb(image // 2)[1, 1, 0] in (127, 128, 255)


def test_float_colours_up_to_255_are_bytes() -> None:
    image = np.full((4, 4, 3), 200.0)
    assert as_rgb(image)[0, 0].tolist() == [200, 200, 200]


def test_booleans_are_black_and_white() -> None:
    assert as_rgb(np.eye(3, dtype=bool))[..., 0].tolist() == (np.eye(3) * 255).tolist()


def test_contrast_limits_say_what_is_black_and_white() -> None:
    image = np.array([[0, 10], [20, 30]], np.uint16)
    assert as_rgb(image, (10, 20))[..., 0].tolist() == [[0, 0], [255, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_transparent_parts_are_laid_over_white(dtype: Any) -> None:
    full = 1 if dtype is np.float32 else np.iinfo(dtype).max
    image = np.zeros((2, 2, 4), dtype)
    image[0, :, 3] = full
    assert as_rgb(image)[..., 0].tolist() == [[0, 0], [255, 255]]


def test_a_constant_image_is_a_picture() -> None:
    assert as_rgb(np.full((3, 3), 500, np.uint16)).shape == (3, 3, 3)
    assert as_rgb(np.full((3, 3), -5.0)).min() > 0


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((0, 4)), "at least 2 by 2"),
        (np.zeros((1, 1)), "at least 2 by 2"),
        (np.zeros((1, 50, 3)), "at least 2 by 2"),
        (np.zeros(5), "shape"),
        (np.zeros((3, 4, 5, 3)), "shape"),
        (np.zeros((4, 4, 13)), "shape"),
        (np.zeros((4, 4, 0)), "shape"),
        (np.full((4, 4), np.nan), "no finite value"),
        (np.full((4, 4), np.inf), "no finite value"),
        (np.full((4, 4), 1e300), "no brightness"),
        (np.zeros((4, 4), complex), "real numbers"),
        (np.array([["a", "b"], ["c", "d"]]), "real numbers"),
        (np.zeros((4, 4), object), "real numbers"),
    ],
)
def test_what_is_no_picture_is_told(image: np.ndarray, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        as_rgb(image)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u2", "i4", "f4", "f8", "u8"])
def test_the_order_of_bytes_changes_nothing(kind: str, order: str) -> None:
    image = (RAMP * 250 + 3).astype(order + kind)
    np.testing.assert_array_equal(as_rgb(image), as_rgb(image.astype(kind)))


def test_where_there_is_no_number_it_is_black() -> None:
    image = np.array([[1.0, 3.0], [np.nan, 5.0]])
    assert as_rgb(image)[..., 0].tolist() == [[0, 128], [0, 255]]
    bright = np.array([[0.5, np.nan], [1.0, 0.5]])
    assert as_rgb(bright)[..., 0].tolist() == [[128, 0], [255, 128]]


def test_the_infinite_is_as_bright_or_dark_as_anything_else() -> None:
    image = np.array([[-np.inf, 10.0], [20.0, np.inf]])
    assert as_rgb(image)[..., 0].tolist() == [[0, 0], [255, 255]]


def test_a_colour_without_number_is_missing_and_the_others_stay() -> None:
    image = np.full((2, 2, 3), 1.0)
    image[0, 0, 1] = np.nan
    assert as_rgb(image)[0].tolist() == [[255, 0, 255], [255, 255, 255]]


def test_with_limits_a_part_without_any_number_is_black() -> None:
    assert not as_rgb(np.full((3, 3), np.nan), (0, 1)).any()


def test_channels_are_light_in_the_colours_of_napari() -> None:
    from napari.utils.colormaps import CMYBGR, MAGENTA_GREEN, ensure_colormap

    for count, names in ((2, MAGENTA_GREEN), (6, CMYBGR)):
        for channel in range(count):
            image = np.zeros((2, 2, count), np.uint8)
            image[..., channel] = 200
            expected = np.rint(200 * ensure_colormap(names[channel]).map([1.0])[0, :3])
            np.testing.assert_array_equal(as_rgb(image)[0, 0], expected)


def test_light_of_channels_adds_up_to_white_at_most() -> None:
    image = np.full((2, 2, 6), 100, np.uint8)
    assert as_rgb(image)[0, 0].tolist() == [255, 255, 255]
    assert as_rgb(np.full((2, 2, 2), 100, np.uint8))[0, 0].tolist() == [100, 100, 100]


def test_each_channel_has_its_own_range_or_the_one_it_is_given() -> None:
    image = np.zeros((2, 2, 2), np.uint16)
    image[0, :, 0], image[:, 0, 1] = 9, 60_000
    assert as_rgb(image)[..., :2].tolist() == [[[255, 255], [255, 0]], [[0, 255], [0, 0]]]
    given = as_rgb(image, [(0, 18), (0, 120_000)])
    assert given[0, 0].tolist() == [128, 128, 128]
    assert as_rgb(image, (0, 90_000))[0, 0].tolist() == [0, 170, 0]


def test_a_channel_without_number_gives_no_light() -> None:
    image = np.ones((2, 2, 2))
    image[0, 0, 0] = np.nan
    assert as_rgb(image)[0].tolist() == [[0, 255, 0], [255, 255, 255]]


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, float("nan"))])
def test_limits_out_of_order_are_told(limits: tuple[float, float]) -> None:
    with pytest.raises(ImageError, match="contrast limits"):
        as_rgb(RAMP, limits)


@given(
    st.sampled_from([np.uint8, np.int16, np.uint32, np.float32, np.float64]).flatmap(
        lambda dtype: arrays(
            dtype,
            array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=5).map(lambda s: (*s, 4)),
            elements={"min_value": -(2.0**99), "max_value": 2.0**99}
            if np.dtype(dtype).kind == "f"
            else None,
        )
    )
)
def test_any_finite_array_becomes_bytes(image: np.ndarray) -> None:
    for picture in (image, image[..., :3], image[..., 0]):
        rgb = as_rgb(picture)
        assert rgb.shape == (*image.shape[:2], 3)
        assert rgb.dtype == np.uint8
