"""One outline around an area with holes and separate parts: cuts lead from ring to ring."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
import shapely

from ._outline import FloatArray, polygon_rings


def one_outline(area: shapely.Geometry) -> FloatArray:
    """Return one closed outline that encloses an area, holes left out and all parts taken in.

    The rings are joined by cuts, each of which is gone along there and back, so that it encloses
    nothing. napari draws no line along them, and fills no hole.

    Parameters
    ----------
    area : Geometry
        Polygons in ``x y``.

    Returns
    -------
    ndarray of float, shape (n, 2)
        ``(row, column)``; the last vertex joins the first. Empty for an empty area.

    >>> ring = shapely.box(0, 0, 9, 9) - shapely.box(3, 3, 6, 6)
    >>> len(one_outline(ring)), shapely.Polygon(one_outline(ring)).area
    (10, 72.0)
    """
    around = shapely.orient_polygons(shapely.MultiPolygon(_polygons(area)))
    rings = [ring for _, ring in polygon_rings(around)]
    if not rings:
        return np.zeros((0, 2))
    path = rings.pop(0)
    gaps = [_gap(path, ring) for ring in rings]
    while rings:
        # The nearest first, so that cuts lead across no other ring.
        nearest = min(range(len(rings)), key=lambda index: gaps[index][0])
        ring, (_, corner, first) = rings.pop(nearest), gaps.pop(nearest)
        here = int((path == corner).all(axis=1).argmax())
        turned = np.roll(ring, -first, axis=0)
        path = np.concatenate([path[: here + 1], turned, turned[:1], path[here:]])
        gaps = [
            min(gap, _gap(ring, other), key=itemgetter(0))
            for gap, other in zip(gaps, rings, strict=True)
        ]
    return path


def _polygons(area: shapely.Geometry) -> list[shapely.Polygon]:
    parts = shapely.get_parts(shapely.get_parts(area))
    return [part for part in parts if isinstance(part, shapely.Polygon) and not part.is_empty]


def _gap(path: FloatArray, ring: FloatArray) -> tuple[float, FloatArray, int]:
    """Return the shortest way from a vertex to one of a ring, squared, and these two."""
    off = ((path[:, None] - ring[None]) ** 2).sum(axis=2)
    first, second = np.unravel_index(int(off.argmin()), off.shape)
    return float(off[first, second]), path[first], int(second)
