"""What belongs to a click, piece by piece."""

from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.grounding.membership import (
    MEASURED,
    belonging,
    click_network,
    hanging_together,
    measures_beside,
)
from napari_patchioner.grounding.segments import segment_tree


@pytest.fixture(scope="module")
def stripes():
    """Three plain stripes, and their tree."""
    image = np.zeros((120, 180, 3), np.uint8)
    for place, colour in enumerate(((220, 30, 30), (30, 200, 60), (30, 60, 230))):
        image[:, 60 * place : 60 * (place + 1)] = colour
    transform = GridTransform((120, 180), (120, 180))
    return segment_tree(FeatureGrid(image.astype(np.float32), transform, "stripes"), image)


def test_each_piece_is_measured_and_has_a_chance(stripes):
    measured = measures_beside(stripes, (60, 90))
    assert measured.shape == (len(stripes.order), MEASURED)
    assert np.isfinite(measured).all()
    chances = click_network().probabilities(measured)
    assert ((chances >= 0) & (chances <= 1)).all()


@pytest.mark.parametrize("column", [5, 59, 60, 90, 150])
def test_of_plain_stripes_it_is_the_one_that_is_clicked(stripes, column):
    chances, inside = belonging(stripes, (60, column))
    assert chances[stripes.labels[60, column]] == 1
    wanted = np.zeros(stripes.labels.shape, bool)
    wanted[:, column // 60 * 60 : (column // 60 + 1) * 60] = True
    assert np.array_equal(inside[stripes.labels], wanted)


def test_what_is_apart_does_not_hang_together(stripes):
    left = set(np.unique(stripes.labels[:, :60]).tolist())
    right = set(np.unique(stripes.labels[:, 120:]).tolist())
    inside = np.isin(np.arange(len(stripes.order)), list(left | right))
    piece = int(stripes.labels[60, 10])
    assert set(np.flatnonzero(hanging_together(stripes, inside, piece)).tolist()) == left
