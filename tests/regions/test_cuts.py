"""One outline around areas with holes and separate parts."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy import ndimage

from napari_patchioner.regions import Mask, Polygon, crosses_itself, one_outline


def enclosed(vertices):
    """What our own code, and napari in single precision, takes it for."""
    return Polygon(np.asarray(vertices, np.float32).astype(float)).inside()


@pytest.mark.parametrize("seed", range(12))
def test_it_encloses_what_a_mask_does(seed):
    noise = np.random.default_rng(seed).random((40, 50))
    pixels = ndimage.gaussian_filter(noise, 2)
    mask = Mask(pixels > np.median(pixels), (3, 4))
    outline = one_outline(mask.polygons()) - 0.5
    assert not crosses_itself(outline)
    assert enclosed(outline).symmetric_difference(mask.inside()).area < 1e-6


def test_a_hole_and_an_island_in_it_stay():
    area = shapely.box(0, 0, 20, 20) - shapely.box(4, 4, 16, 16) | shapely.box(8, 8, 12, 12)
    outline = one_outline(area)
    # Five rings' corners would be 12; each of two cuts is gone along there and back.
    assert len(outline) == 12 + 2 * 2
    assert enclosed(outline).area == area.area == 400 - 144 + 16


def test_nothing_has_no_outline():
    assert one_outline(shapely.MultiPolygon()).shape == (0, 2)
    line = shapely.GeometryCollection(
        [shapely.LineString([(0, 0), (1, 1)]), shapely.box(0, 0, 1, 2)]
    )
    assert len(one_outline(line)) == 4
