from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Shapes

from napari_patchioner.viewer.layers.shapes import trim_vertices

SQUARE = np.array([[20, 10], [20, 50], [60, 50], [60, 10]], float)
FURTHER = np.array([0, 200])
ASIDE = SQUARE + FURTHER / 2


@pytest.fixture
def layer():
    """A polygon as napari finishes one: its last vertex, at the cursor, has been taken away."""
    made = Shapes(ndim=2)
    made.add(np.vstack([SQUARE, SQUARE[-1:]]), shape_type="path")
    made.add(ASIDE, shape_type="rectangle")
    made._data_view.edit(0, SQUARE, new_type="polygon")
    made.mode, made.selected_data = "direct", {0}
    return made


def test_napari_finds_a_vertex_that_is_not_there(layer):
    """Once this fails, the repair can go."""
    assert layer.get_value(SQUARE[0]) == (0, 4)


def test_every_vertex_is_found_where_it_is(layer):
    trim_vertices(layer)
    assert [layer.get_value(corner) for corner in SQUARE] == [(0, n) for n in range(4)]
    layer.selected_data = {1}
    assert [layer.get_value(corner) for corner in ASIDE] == [(1, n) for n in range(4)]


def test_shapes_can_be_changed_and_removed_afterwards(layer):
    trim_vertices(layer)
    layer.add(SQUARE + FURTHER, shape_type="polygon")
    layer._data_view.edit(0, SQUARE[[0, 0, 1, 2, 3]] + 1)
    layer.remove([1])
    trim_vertices(layer)
    assert [len(vertices) for vertices in layer.data] == [5, 4]
    layer.selected_data = {1}
    assert layer.get_value(SQUARE[3] + FURTHER) == (1, 3)


def test_a_layer_in_order_is_left_alone():
    layer = Shapes([SQUARE], shape_type="polygon")
    before = layer._data_view._vertices
    trim_vertices(layer)
    assert layer._data_view._vertices is before
    trim_vertices(Shapes(ndim=3))
