"""A hand on a Shapes layer without a display: what napari does on clicks, drags and keys."""

from __future__ import annotations

import numpy as np

SQUARE = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])
OUTLINES = {
    "rectangle": SQUARE,
    "ellipse": SQUARE,
    "polygon": SQUARE[:3],
    "path": np.array([[0.0, 0.0], [3.0, 8.0], [9.0, 9.0]]),
    "line": SQUARE[[0, 2]],
}


def start_polygon(layer, corner):
    """What napari does on the first click of a polygon."""
    from napari.layers.shapes._shapes_mouse_bindings import initiate_polygon_draw

    layer.mode = "add_polygon"
    initiate_polygon_draw(layer, corner)
    layer._moving_value = (layer.nshapes - 1, 1)


def add_corner(layer, corner):
    """What napari does on the next click: the last corner has followed the cursor there."""
    index = layer._moving_value[0]
    vertices = np.array(layer._data_view.shapes[index].data)
    vertices[-1] = corner
    vertices = np.concatenate([vertices, [corner]])
    layer._data_view.edit(index, vertices)


def finish(layer):
    """A double click, Escape, another mode: with too few corners nothing is left."""
    layer._finish_drawing()


def changed(layer, indices, action="changed"):
    layer.events.data(
        value=layer.data,
        action=action,
        data_indices=tuple(indices),
        vertex_indices=((),) * len(indices),
    )


def move(layer, indices, shift):
    """Drag the selected shapes."""
    layer.selected_data = set(indices)
    changed(layer, indices, "changing")
    layer._moving_coordinates = (0, 0)
    layer._is_moving = True
    for index in indices:
        layer._data_view.shift(index, np.asarray(shift, float) / 2)
        layer._data_view.shift(index, np.asarray(shift, float) / 2)
    changed(layer, indices)
    layer._is_moving = False


def drag_vertex(layer, index, vertex, place):
    """Drag one corner; a rectangle becomes a polygon, and nothing is told beforehand."""
    vertices = np.array(layer.data[index])
    vertices[vertex] = place
    kind = "polygon" if layer.shape_type[index] == "rectangle" else None
    layer._data_view.edit(index, vertices, new_type=kind)
    changed(layer, [index])


def insert_vertex(layer, index, place):
    vertices = np.insert(np.array(layer.data[index]), 1, place, axis=0)
    kind = "polygon" if layer.shape_type[index] == "rectangle" else None
    changed(layer, [index], "changing")
    layer._data_view.edit(index, vertices, new_type=kind)
    changed(layer, [index])


def remove_vertex_of_triangle(layer, index):
    """A triangle that loses a vertex is gone, but no row of the table is."""
    changed(layer, [index], "changing")
    layer.selected_data.discard(index)
    layer._data_view.remove(index)
    changed(layer, [index])
    layer.refresh()


def remove(layer, indices):
    layer.selected_data = set(indices)
    layer.remove_selected()


def copy(layer, indices):
    layer.selected_data = set(indices)
    layer._copy_data()


def paste(layer):
    layer._paste_data()
