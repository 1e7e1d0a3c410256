from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_patchioner.backbones._picture import as_rgb
from napari_patchioner.errors import ImageError

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
        (np.zeros((4, 4, 2)), "shape"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.full((4, 4), np.inf), "not finite"),
        (np.full((4, 4), 1e300), "no brightness"),
        (np.zeros((4, 4), complex), "real numbers"),
        (np.array([["a", "b"], ["c", "d"]]), "real numbers"),
        (np.zeros((4, 4), object), "real numbers"),
    ],
)
def test_what_is_no_picture_is_told(image: np.ndarray, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        as_rgb(image)


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
