"""Shapes layers as CSV with their features: what napari's own writer leaves out."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import write_bytes

from .placing import image_below, open_images, pixels_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


def write_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Shapes layer for ``File > Save``, in the pixels of its image.

    Parameters
    ----------
    path : str
        Where to.
    data : list of ndarray of float, shape (n, ndim)
        The vertices of each shape.
    meta : dict
        napari's description of the layer.

    Returns
    -------
    list of str
        The path written.
    """
    image = image_below(data, meta, "shapes", open_images())
    data = [
        places @ matrix + origin
        for places in (np.asarray(one, float) for one in data)
        for matrix, origin in [pixels_of(meta, places.shape[1], image)]
    ]
    features = meta.get("features")
    columns = {} if features is None else {str(c): list(features[c]) for c in features}
    kinds = meta.get("shape_type") or []
    kinds = [kinds] * len(data) if isinstance(kinds, str) else list(kinds)
    write_shapes(path, list(zip(kinds, data, strict=True)), columns)
    return [path]


def write_shapes(
    path: Any,
    shapes: Sequence[tuple[str, npt.NDArray[np.float64]]],
    columns: Mapping[str, Sequence[Any]],
) -> None:
    """Write napari's table of shapes, one row per vertex, with other columns behind it.

    Parameters
    ----------
    path : path-like
        The file; it is written whole or not at all.
    shapes : sequence of (str, ndarray)
        Type and vertices, shape (n, ndim), of each.
    columns : mapping of str to sequence
        One value per shape, repeated for each of its vertices.
    """
    axes = shapes[0][1].shape[1] if shapes else 2
    names = [name for name in columns if name not in ("index", "shape-type", "vertex-index")]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    header = ["index", "shape-type", "vertex-index", *(f"axis-{axis}" for axis in range(axes))]
    writer.writerow([*header, *names])
    for index, (kind, vertices) in enumerate(shapes):
        ours = [_cell(columns[name][index]) if index < len(columns[name]) else "" for name in names]
        for place, vertex in enumerate(vertices):
            writer.writerow([index, kind, place, *(repr(float(v)) for v in vertex), *ours])
    write_bytes(path, text.getvalue().encode("utf-8"))


def _cell(value: Any) -> Any:
    """Return a cell, empty for missing values."""
    return "" if value is None or value != value else value
