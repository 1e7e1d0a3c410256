"""Outlines that cross themselves: whether they do, and what they enclose."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.errors import RegionError

FloatArray: TypeAlias = npt.NDArray[np.float64]

MOST_CROSSINGS = 20_000
"""Crossings of an outline that are sorted out."""

# Corners of an outline that cannot cross itself often.
_FEW = 40
_EDGES_AT_ONCE = 64
_EDGES_FIRST = 4


def is_tangled(vertices: npt.ArrayLike) -> bool:
    """Return whether an outline crosses itself so often that nobody can have drawn it.

    What it encloses would take minutes and gigabytes to find out.

    Parameters
    ----------
    vertices : array_like of float, shape (n, 2)
        ``(row, column)`` of the corners in image pixels; the last joins the first.

    >>> is_tangled([[0, 0], [20, 20], [20, 0], [0, 20]])
    False
    """
    points = np.asarray(vertices, float)
    count = len(points)
    if count * (count - 3) / 2 <= MOST_CROSSINGS or shapely.is_valid(shapely.Polygon(points)):
        return False
    edges = shapely.linestrings(np.stack([points, np.roll(points, -1, axis=0)], axis=1))
    tree = shapely.STRtree(edges)
    met = start = 0
    some = edges[:_EDGES_FIRST]
    while len(some):
        # Each meets itself and its two neighbours, and each crossing is met from both sides.
        met += len(tree.query(some, predicate="intersects")[0]) - 3 * len(some)
        if met > 2 * MOST_CROSSINGS:
            return True
        start += len(some)
        some = edges[start : start + min(2 * len(some), _EDGES_AT_ONCE)]
    return False


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
    if is_tangled(points):
        return True
    # Where an outline crosses itself, signed areas cancel or pile up; where it only touches
    # itself they do not.
    area = shapely.area(_enclosed(points[:, ::-1]))
    return not np.isclose(area, signed_area(points), rtol=1e-6)


def outline_rings(vertices: FloatArray) -> list[tuple[float, FloatArray]]:
    """Return the rings, none of which crosses itself, whose areas make what an outline encloses.

    Returns
    -------
    list of (float, ndarray of float, shape (n, 2))
        1 or, for holes, -1, and the vertices; the outline itself where it does not cross itself.
        Else what is within an odd number of turns, as pycocotools fills it.

    Raises
    ------
    RegionError
        If it is tangled.
    """
    if not crosses_itself(vertices):
        return [(1.0, vertices)]
    parts = shapely.get_parts(enclosed(vertices[:, ::-1]))
    return [
        (sign, shapely.get_coordinates(ring)[:-1, ::-1])
        for part in shapely.get_parts(parts)
        if isinstance(part, shapely.Polygon)
        for sign, rings in ((1.0, [part.exterior]), (-1.0, part.interiors))
        for ring in rings
    ]


def enclosed(points: npt.ArrayLike) -> shapely.Geometry:
    """Return what an outline encloses: where it goes around an odd number of times.

    Parameters
    ----------
    points : array_like of float, shape (n, 2)
        The corners; the last joins the first.

    Returns
    -------
    shapely.Geometry
        Polygons, in the coordinates of the corners.

    Raises
    ------
    RegionError
        If the outline is tangled.

    >>> enclosed([[0, 0], [20, 20], [20, 0], [0, 20]]).area
    200.0
    """
    if is_tangled(points):
        raise RegionError(
            f"The outline crosses itself more than {MOST_CROSSINGS:,} times: draw it again."
        )
    return _enclosed(np.asarray(points, float))


def _enclosed(points: FloatArray) -> shapely.Geometry:
    """Return what an outline encloses that is not tangled."""
    outline = shapely.Polygon(points)
    if len(points) < _FEW or shapely.is_valid(outline):
        return shapely.make_valid(outline)
    # `make_valid` takes minutes for thousands of crossings. So cut the outline at each, and take
    # the faces that a ray from within leaves through an odd number of edges.
    faces = shapely.get_parts(shapely.polygonize([shapely.union_all(outline.exterior)]))
    shapely.prepare(outline)
    inside = shapely.contains_properly(outline, shapely.point_on_surface(faces))
    return shapely.coverage_union_all(faces[inside])


def is_flat(vertices: FloatArray) -> bool:
    """Whether all vertices lie on one line."""
    offsets = vertices - vertices.mean(axis=0)
    spread = np.linalg.svd(offsets, compute_uv=False)
    return len(spread) < 2 or bool(spread[1] <= 1e-9 * max(1.0, spread[0]))


def signed_area(vertices: FloatArray) -> float:
    """Size of the signed area inside a closed outline, in square units of its coordinates."""
    rows, columns = (vertices - vertices.mean(axis=0)).T
    return float(abs(rows @ np.roll(columns, -1) - columns @ np.roll(rows, -1)) / 2)
