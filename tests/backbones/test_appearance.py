from __future__ import annotations

import time

import numpy as np
import pytest
from skimage.data import chelsea
from skimage.draw import disk

from napari_patchioner.backbones.appearance import appearance_axes
from napari_patchioner.backbones.marks import measure_marks
from napari_patchioner.bridges.appearance import AXES, COLOURS


def discs(colour: int, ground: int, *, radius: int = 10, step: int = 64) -> np.ndarray:
    image = np.full((480, 640, 3), ground, np.uint8)
    for row in range(step // 2, 480, step):
        for column in range(step // 2, 640, step):
            image[disk((row, column), radius, shape=image.shape[:2])] = colour
    return image


def axis(axes: np.ndarray, name: str) -> np.ndarray:
    return axes[..., AXES.index(name)]


@pytest.mark.parametrize("grid_shape", [(30, 40), (15, 20), (1, 1), (1, 40), (7, 3)])
def test_any_grid_gets_finite_axes(grid_shape: tuple[int, int]) -> None:
    axes = appearance_axes(chelsea(), grid_shape)
    assert axes.shape == (*grid_shape, len(AXES))
    assert axes.dtype == np.float32
    assert np.isfinite(axes).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 2)])
def test_tiny_images_are_measured_too(shape: tuple[int, int]) -> None:
    axes = appearance_axes(np.full((*shape, 3), 90, np.uint8), (4, 4))
    assert np.isfinite(axes).all()


def test_colour_shares_sum_to_one() -> None:
    axes = appearance_axes(chelsea(), (15, 20))
    total = sum(axis(axes, f"share_{colour}") for colour in COLOURS)
    np.testing.assert_allclose(total, 1.0, atol=1e-4)


def test_means_do_not_depend_on_the_grid() -> None:
    coarse = appearance_axes(chelsea(), (10, 16)).mean((0, 1))
    fine = appearance_axes(chelsea(), (20, 32)).mean((0, 1))
    np.testing.assert_allclose(coarse, fine, rtol=1e-3, atol=1e-3)


def test_every_disc_is_counted_where_it_lies() -> None:
    axes = appearance_axes(discs(40, 220), (15, 20))
    count = axis(axes, "marks_count")
    assert count.sum() == pytest.approx(70)
    assert axis(axes, "marks_round").sum() == pytest.approx(70)
    # Larger marks tell more of the colour.
    assert axis(axes, "marks_black").sum() == pytest.approx(axis(axes, "marks_diameter").sum())


def test_painted_half_is_the_half_that_is_measured() -> None:
    image = np.full((480, 640, 3), (200, 30, 30), np.uint8)
    image[:, 320:] = (30, 60, 200)
    axes = appearance_axes(image, (15, 20))
    assert axis(axes, "share_red")[:, :10].min() > 0.9
    assert axis(axes, "share_blue")[:, 10:].min() > 0.9
    assert axis(axes, "share_red")[:, 10:].max() < 0.05


@pytest.mark.parametrize("radius", [3, 10, 24])
def test_disc_size_is_measured(radius: int) -> None:
    axes = appearance_axes(discs(40, 220, radius=radius), (15, 20))
    diameter = axis(axes, "marks_diameter").sum() / axis(axes, "marks_count").sum()
    assert diameter == pytest.approx(2 * radius, abs=1.5)


def test_measuring_takes_less_than_a_second() -> None:
    appearance_axes(chelsea(), (27, 40))
    start = time.process_time()
    appearance_axes(chelsea(), (27, 40))
    assert time.process_time() - start < 1.5


def test_a_mark_of_no_pixel_is_none() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:8, 2:8], labels[10:16, 15:25] = 1, 3
    lab = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)

    marks = measure_marks(labels, lab, lab[0])

    np.testing.assert_array_equal(marks.area, [36, 60])
    assert np.isfinite(np.stack([marks.row, marks.column, marks.contrast])).all()
    assert marks.labels.max() == 2
    assert np.isfinite(marks.spacing(np.ones(2, bool))).all()
