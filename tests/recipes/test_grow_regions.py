"""What regions from clicks are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.regions import Mask
from recipes.mini.grow_regions import MOST, box_around, inner_centre, lattice, overlap, whole


def test_the_inner_centre_is_farthest_from_what_is_not_in_a_mask():
    mask = np.zeros((20, 30), bool)
    mask[5:14, 3:12] = True
    mask[9, 12:30] = True
    assert inner_centre(mask) == (9, 7)
    # What lies at the edge of the image ends there.
    assert inner_centre(np.ones((5, 5), bool)) == (2, 2)


def test_the_box_has_as_many_pixels_as_the_region_and_the_click_in_its_middle():
    region = np.zeros((100, 100), bool)
    region[10:30, 10:60] = True
    box = box_around((50, 50), region)
    assert box.sum() == pytest.approx(region.sum(), rel=0.05)
    assert np.argwhere(box).mean(axis=0).tolist() == [50, 50]


def test_the_lattice_has_as_many_boxes_as_are_proposed():
    boxes = lattice((60, 80, 3))
    assert len(boxes) == MOST
    assert all(box.shape == (60, 80) and box.any() for box in boxes)
    assert boxes[-1].all()


def test_overlap_is_intersection_over_union():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:, :2], second[:, 1:3] = True, True
    assert overlap(first, second) == pytest.approx(1 / 3)
    assert overlap(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 0
    assert whole(Mask(np.ones((1, 2), bool), (1, 1)), (3, 4, 3)).sum() == 2
