"""Regions as napari shapes, and back."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Ellipse, Polygon, Region, Trace, upright_box

FloatArray: TypeAlias = npt.NDArray[np.float64]
_SHAPE_TYPES = {"box": "rectangle", "polygon": "polygon", "ellipse": "ellipse", "trace": "path"}
_FEWEST_VERTICES = {
    "rectangle": 4,
    "ellipse": 4,
    "polygon": 3,
    "path": 1,
    "line": 2,
}


def region_from_shape(vertices: npt.ArrayLike, shape_type: str) -> Region:
    """Return the region that a napari shape outlines.

    Parameters
    ----------
    vertices : array_like of float, shape (n, 2)
        ``(row, column)`` of the vertices in image pixels, pixel centres at integers.
    shape_type : {"rectangle", "ellipse", "polygon", "path", "line"}
        What napari calls the shape.

    Returns
    -------
    Region
        A `Box` for an upright rectangle, a `Polygon` for a turned one and for polygons and
        lassos, an `Ellipse`, or a `Trace` for paths and lines.

    Raises
    ------
    FormatError
        If the shape type is unknown, there are too few vertices, or one is not finite.

    >>> region_from_shape([[0, 0], [0, 4], [2, 4], [2, 0]], "rectangle")
    Box(top=0.0, left=0.0, bottom=2.0, right=4.0)
    """
    points = np.array(vertices, float)
    _check_vertices(points, shape_type)
    if shape_type == "rectangle":
        # napari keeps single precision, so resizing leaves the corners a little off.
        tolerance = 1e-6 + 5e-7 * float(abs(points).max())
        return upright_box(points, tolerance=tolerance) or Polygon(points)
    if shape_type == "ellipse":
        return Ellipse(points)
    if shape_type == "polygon":
        return Polygon(points)
    return Trace(points)


def _check_vertices(points: FloatArray, shape_type: str) -> None:
    """Refuse vertices from which no region can be made."""
    if shape_type not in _FEWEST_VERTICES:
        known = ", ".join(_FEWEST_VERTICES)
        raise FormatError(f"the shape type {shape_type!r} is unknown; it may be one of {known}")
    if points.ndim != 2 or points.shape[1] != 2:
        raise FormatError(f"vertices must have the shape (n, 2), but have {points.shape}")
    fewest = _FEWEST_VERTICES[shape_type]
    exact = shape_type in ("rectangle", "ellipse")
    if len(points) < fewest or (exact and len(points) != fewest):
        amount = f"{fewest}" if exact else f"at least {fewest}"
        raise FormatError(f"a {shape_type} needs {amount} vertices, but this one has {len(points)}")
    if not np.isfinite(points).all():
        raise FormatError(f"a vertex of this {shape_type} is not a finite number")


def shape_from_region(region: Region) -> tuple[str, FloatArray] | None:
    """Return ``(shape_type, vertices)`` for napari, or None where napari has no such shape.

    Parameters
    ----------
    region : Region
        Boxes, polygons, ellipses and traces of two points or more have a shape; points, sets,
        masks and the whole image have none.

    Returns
    -------
    tuple of (str, ndarray of shape (n, 2)) or None
        The vertices are ``(row, column)``, pixel centres at integers.

    >>> from napari_patchioner.regions import WholeImage
    >>> shape_from_region(WholeImage()) is None
    True
    """
    shape_type = _SHAPE_TYPES.get(region.kind)
    if shape_type is None or (shape_type == "path" and len(region.coords()) < 2):
        return None
    return shape_type, np.array(region.coords())
