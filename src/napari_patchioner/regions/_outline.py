"""Outlines that cross themselves: whether they do, and what they enclose."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

FloatArray: TypeAlias = npt.NDArray[np.float64]


def crosses_itself(vertices: npt.ArrayLike) -> bool:
    """Return whether an outline crosses itself; one that only touches itself does not.

    Parameters
    ----------
    vertices : array_like of float, shape (n, 2)
        ``(row, column)`` of the corners in image pixels; the last joins the first.

    >>> crosses_itself([[0, 0], [20, 20], [20, 0], [0, 20]])
    True
    """
    points = np.asarray(vertices, float)
    if len(points) < 4 or is_flat(points):
        return False
    outline = shapely.Polygon(points[:, ::-1])
    if shapely.is_valid(outline):
        return False
    # Where an outline crosses itself, signed areas cancel or pile up; where it only touches
    # itself they do not.
    area = shapely.area(shapely.make_valid(outline))
    return not np.isclose(area, signed_area(points), rtol=1e-6)


def outline_rings(vertices: FloatArray) -> list[tuple[float, FloatArray]]:
    """Return the rings, none of which crosses itself, whose areas make what an outline encloses.

    Returns
    -------
    list of (float, ndarray of float, shape (n, 2))
        1 or, for holes, -1, and the vertices; the outline itself where it does not cross itself.
        Else what is within an odd number of turns, as pycocotools fills it.
    """
    if not crosses_itself(vertices):
        return [(1.0, vertices)]
    parts = shapely.get_parts(shapely.make_valid(shapely.Polygon(vertices[:, ::-1])))
    return [
        (sign, shapely.get_coordinates(ring)[:-1, ::-1])
        for part in shapely.get_parts(parts)
        if isinstance(part, shapely.Polygon)
        for sign, rings in ((1.0, [part.exterior]), (-1.0, part.interiors))
        for ring in rings
    ]


def is_flat(vertices: FloatArray) -> bool:
    """Whether all vertices lie on one line."""
    offsets = vertices - vertices.mean(axis=0)
    spread = np.linalg.svd(offsets, compute_uv=False)
    return len(spread) < 2 or bool(spread[1] <= 1e-9 * max(1.0, spread[0]))


def signed_area(vertices: FloatArray) -> float:
    """Size of the signed area inside a closed outline, in square units of its coordinates."""
    rows, columns = (vertices - vertices.mean(axis=0)).T
    return float(abs(rows @ np.roll(columns, -1) - columns @ np.roll(rows, -1)) / 2)
