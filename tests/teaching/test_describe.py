from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import taught_pictures

from napari_patchioner.errors import RegionError
from napari_patchioner.images import Levels
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
)
from napari_patchioner.teaching import ImageMeasures, background, describe
from napari_patchioner.teaching.measures import BoxMeans, colour_statistics, ring_profile

if TYPE_CHECKING:
    from taught_pictures import Drawn

    from napari_patchioner.captioner import Captioner

CORNERS = np.array([[10, 10], [10, 40], [30, 40], [30, 10]], float)
EVERY_KIND: list[Region] = [
    Box(9.5, 9.5, 30.5, 40.5),
    Polygon(CORNERS),
    Ellipse(CORNERS),
    Mask(np.ones((20, 30), bool), (10, 10)),
    Trace(CORNERS),
    Point(20, 20),
    RegionSet((Box(0, 0, 10, 10), WholeImage())),
    WholeImage(),
]


@pytest.mark.parametrize("region", EVERY_KIND, ids=lambda region: region.kind)
def test_every_kind_of_region_is_described(region: Region, mini: Captioner, first: Drawn) -> None:
    described = describe(mini, first.grid, ImageMeasures(first.pixels), [region])
    assert len(described) == 1
    np.testing.assert_array_equal(described.blocks["grid"], mini.embed(first.grid, [region]))
    assert all(np.isfinite(block).all() for block in described.blocks.values())


def test_regions_outside_are_refused(mini: Captioner, first: Drawn) -> None:
    measures = ImageMeasures(first.pixels)
    with pytest.raises(RegionError):
        describe(mini, first.grid, measures, [Box(900, 900, 950, 950)])
    reaching = describe(mini, first.grid, measures, [Box(-1e9, -1e9, 50, 50)])
    assert all(np.isfinite(block).all() for block in reaching.blocks.values())


def test_means_over_boxes_are_those_of_their_pixels() -> None:
    planes = np.random.default_rng(0).random((20, 30, 2))
    means = BoxMeans(planes)
    edges = [np.array([value], float) for value in (3, 5, 11, 29)]
    np.testing.assert_allclose(means.means(*edges)[0], planes[3:11, 5:29].mean(axis=(0, 1)))
    halves = [np.array([value], float) for value in (3.5, 5, 4, 5.5)]
    np.testing.assert_allclose(means.means(*halves)[0], planes[3, 5])
    outside = [np.array([value], float) for value in (-9, -9, -5, -5)]
    np.testing.assert_allclose(means.means(*outside)[0], planes[0, 0])


def test_turning_a_picture_changes_neither_rings_nor_colours() -> None:
    planes = np.random.default_rng(1).random((40, 40, 6))
    box = np.array([[10, 10, 30, 30]], float)
    turned = np.ascontiguousarray(np.rot90(planes))
    for measured in (ring_profile, colour_statistics):
        before, after = (measured(BoxMeans(p).cells(box)) for p in (planes, turned))
        np.testing.assert_allclose(before, after, atol=1e-4)


def test_a_large_image_is_measured_as_a_small_one_where_it_is_asked_about() -> None:
    small, boxes = taught_pictures.draw(1, ["nucleus", "leaf", "grain"])
    large = np.full((1500, 2100, 3), 225, np.uint8)
    large[700:860, 900:1140] = small
    inside = np.array([[box.top, box.left, box.bottom, box.right] for box in boxes])
    inside += np.array([700.5, 900.5, 700.5, 900.5])
    cells = ImageMeasures(large).cells(inside)
    whole = BoxMeans(taught_pictures.planes(large)).cells(inside)
    np.testing.assert_allclose(cells, whole, atol=1e-3)


def test_of_a_large_region_the_level_that_fits_is_read() -> None:
    class Watched:
        """An array that remembers how much of it was read."""

        def __init__(self, side: int) -> None:
            self.shape, self.dtype, self.read = (side, side, 3), np.dtype(np.uint8), 0

        def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
            sides = [len(range(*w.indices(self.shape[0]))) for w in window]
            self.read += sides[0] * sides[1]
            return np.full((*sides, 3), 100, np.uint8)

    finest, coarse = Watched(16384), Watched(1024)
    measures = ImageMeasures(Levels([finest, coarse]))
    measures.cells(np.array([[0, 0, 16384, 16384]], float))
    assert finest.read == 0
    assert coarse.read <= 1024**2
    measures.cells(np.array([[100, 100, 150, 150]], float))
    assert 0 < finest.read < 200**2


def test_the_background_is_the_same_every_time(mini: Captioner, first: Drawn) -> None:
    parts = [background(mini, first.grid, ImageMeasures(first.pixels)) for _ in range(2)]
    assert len(parts[0]) >= 10
    for name in parts[0].blocks:
        np.testing.assert_array_equal(parts[0].blocks[name], parts[1].blocks[name])


@pytest.mark.parametrize("shape", [(2, 2), (3, 90), (160, 4, 3), (40, 50), (40, 50, 4)])
def test_images_of_any_size_are_described(shape: tuple[int, ...], mini: Captioner) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    grid, measures = mini.encode(image), ImageMeasures(image)
    described = describe(mini, grid, measures, [WholeImage(), Point(1, 1)])
    around = background(mini, grid, measures)
    for part in (described, around):
        assert all(np.isfinite(block).all() for block in part.blocks.values())
