"""The outlines of regions that were grown."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from skimage.draw import disk

from napari_patchioner.errors import RegionError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.grounding import grow_outline, propose_outlines, region_outline
from napari_patchioner.regions import Mask, Polygon

SHAPE = (240, 320)


def ring_image():
    """A red ring on gray ground, a little noisy, and its pixels."""
    ring = np.zeros(SHAPE, bool)
    ring[disk((120, 160), 90, shape=SHAPE)] = True
    ring[disk((120, 160), 40, shape=SHAPE)] = False
    image = np.full((*SHAPE, 3), 128)
    image[ring] = (220, 30, 30)
    noise = np.random.default_rng(1).integers(-8, 9, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8), ring


def patches_of(image, rows, columns):
    down, across = (
        np.linspace(0, side, count + 1).astype(int)
        for side, count in ((image.shape[0], rows), (image.shape[1], columns))
    )
    cells = [
        [image[top:bottom, left:right].mean(axis=(0, 1)) for left, right in pairwise(across)]
        for top, bottom in pairwise(down)
    ]
    transform = GridTransform(image.shape[:2], (rows, columns))
    return FeatureGrid(np.array(cells, np.float32) + 1, transform, "colours")


def alike(region, mask):
    area = Mask(mask).inside()
    return region.intersection(area).area / region.union(area).area


@pytest.mark.parametrize("times", [1, 3])
def test_a_ring_keeps_its_hole_at_any_size(times):
    image, ring = ring_image()
    grid = patches_of(image, 15, 20)
    size = (times * SHAPE[0], times * SHAPE[1])
    grid = FeatureGrid(grid.embeddings, GridTransform(size, grid.shape), "large")
    clicks = [(times * row, times * column) for row, column in ((120, 95), (120, 225))]
    middle = (times * 120, times * 160)
    polygon = grow_outline(grid, image, clicks, [middle])
    inside = polygon.inside()
    assert not inside.contains(shapely.Point(middle[::-1]))
    assert all(inside.contains(shapely.Point(click[::-1])) for click in clicks)
    assert alike(inside, np.kron(ring, np.ones((times, times), bool))) > 0.9
    # No steps of pixels
    assert len(polygon.vertices) < 120


def test_specks_go_and_what_is_clicked_stays():
    pixels = np.zeros((60, 60), bool)
    pixels[10:40, 10:40] = True
    pixels[20:22, 20:22] = False
    pixels[50:52, 50:52] = True
    mask = Mask(pixels)
    assert Polygon(region_outline(mask, (60, 60))).inside().area == pytest.approx(900, rel=0.04)
    kept = Polygon(region_outline(mask, (60, 60), [(50, 51)], [(21, 21)])).inside()
    assert kept.intersects(shapely.Point(51, 50))
    assert not kept.contains(shapely.Point(21, 21))


def test_proposals_have_outlines():
    image, ring = ring_image()
    proposals = propose_outlines(patches_of(image, 15, 20), image, most=10)
    assert max(alike(proposal.region.inside(), ring) for proposal in proposals) > 0.75
    height, width = SHAPE
    for proposal in proposals:
        bounds = proposal.region.bounds()
        assert min(bounds.top, bounds.left) >= -0.5
        assert bounds.bottom <= height - 0.5
        assert bounds.right <= width - 0.5


def test_what_cannot_be_grown_is_said():
    image, _ = ring_image()
    grid = patches_of(image, 15, 20)
    with pytest.raises(RegionError, match="click on it"):
        grow_outline(grid, image, [])
    with pytest.raises(RegionError, match="beside the image"):
        grow_outline(grid, image, [(240, 3)])
