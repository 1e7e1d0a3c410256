"""What napari 0.9 leaves behind in a Shapes layer, put right before a person stumbles over it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari


def trim_vertices(layer: napari.layers.Shapes) -> None:
    """Drop the spare vertices of shapes that have lost some, as all drawn by clicks have.

    napari keeps copies of the first vertex in their place, finds them when that vertex is
    grabbed, and ends with an error, since the shape itself has no vertex of that number.
    """
    view = getattr(layer, "_data_view", None)
    starts, vertices = (getattr(view, name, None) for name in ("_vertices_index", "_vertices"))
    if starts is None or vertices is None or len(starts) != len(view.shapes) + 1:
        return
    counts = np.array([len(shape.data_displayed) for shape in view.shapes], int)
    if not (np.diff(starts) > counts).any() or (np.diff(starts) < counts).any():
        return
    within = np.arange(len(vertices)) - np.repeat(starts[:-1], np.diff(starts))
    view._vertices = vertices[within < np.repeat(counts, np.diff(starts))]
    view._vertices_index = np.concatenate([[0], np.cumsum(counts)]).astype(starts.dtype)
    with view.batched_updates():
        view._update_displayed()


@contextmanager
def flat(layer: napari.layers.Shapes) -> Iterator[None]:
    """Let shapes with two axes be added while the viewer displays three.

    napari makes the new ones for three axes, cannot put lines and paths of them beside those it
    has, and stops half way: the shape is in the table and not on the layer.
    """
    state = getattr(layer, "_slicing_state", None)
    here = getattr(state, "_slice_input", None)
    if layer.ndim > 2 or getattr(here, "ndisplay", 2) == 2:
        yield
        return
    state._slice_input = replace(here, ndisplay=2)
    try:
        yield
    finally:
        state._slice_input = here
        layer.refresh()
