"""Regions as other programs have them: ``x y`` in pixels, pixel corners at integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner import regions
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_pixels, check_time

FloatArray: TypeAlias = npt.NDArray[np.float64]
BOX_TOLERANCE = 1e-6
"""How far, in pixels, the corners of a box may lie from where they belong in a file."""

_FARTHEST = 2**31
# Rows met by edges that are looked at together.
_AT_ONCE = 2**20


def to_xy(points: npt.ArrayLike) -> FloatArray:
    """Return ``(row, column)`` points as ``x y``, pixel corners at integers, shape (n, 2).

    >>> to_xy([[0, 2]]).tolist()
    [[2.5, 0.5]]
    """
    return np.asarray(points, float).reshape(-1, 2)[:, ::-1] + 0.5


def from_xy(points: npt.ArrayLike) -> FloatArray:
    """Return ``x y`` points, pixel corners at integers, as ``(row, column)``; undoes `to_xy`."""
    return np.ascontiguousarray(np.asarray(points, float).reshape(-1, 2)[:, ::-1]) - 0.5


def corners_xy(box: regions.Box) -> FloatArray:
    """Return the lowest and the highest corner of a box, ``x y``, shape (2, 2)."""
    return to_xy(np.sort(box.coords()[[0, 2]], axis=0))


def ellipse_axes(ellipse: regions.Ellipse) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return centre and the two half axes of an ellipse as ``x y``, shape (2,) each."""
    corners = to_xy(ellipse.corners)
    return corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2


def ellipse_from_axes(
    centre: npt.ArrayLike, along: npt.ArrayLike, across: npt.ArrayLike
) -> regions.Ellipse:
    """Return the ellipse with this centre and these half axes; undoes `ellipse_axes`."""
    middle, first, second = (np.asarray(vector, float) for vector in (centre, along, across))
    corners = [-first - second, first - second, first + second, second - first]
    return regions.Ellipse(from_xy(middle + np.array(corners)))


def is_sheared(along: FloatArray, across: FloatArray) -> bool:
    """Return whether two half axes are not at right angles, so that they are no true axes."""
    scale = float(np.hypot(*along) * np.hypot(*across))
    return bool(abs(along @ across) > 1e-9 * scale)


def area_of(region: regions.Region) -> Any:
    """Return the area of a region as a shapely geometry in ``x y``; an error if it has none."""
    if isinstance(region, regions.RegionSet):
        return shapely.union_all([_member_area(member) for member in region.members])
    if isinstance(region, regions.Mask):
        return region.polygons()
    outline = region.outline()
    if outline is None:
        raise FormatError(f"a {region.kind} is no area")
    return shapely.Polygon(to_xy(outline))


def _member_area(region: regions.Region) -> Any:
    """Return the polygons of a member of a set, whose outline may cross itself."""
    if isinstance(region, regions.Polygon):
        if regions.is_tangled(region.vertices):
            raise FormatError("an outline of a set crosses itself too often; draw it again")
        area = regions.enclosed(to_xy(region.vertices))
    else:
        area = area_of(region)
    parts = shapely.get_parts(area)
    return shapely.union_all([part for part in parts if part.geom_type.endswith("Polygon")])


def region_of_area(geometry: Any) -> regions.Region:
    """Return the region that a Polygon or MultiPolygon in ``x y`` outlines.

    Holes along the edges of pixels make a mask; any others are joined to the outline by a cut
    without width. Several polygons without holes are a set whose shared parts count once.
    """
    parts = [part for part in shapely.get_parts(geometry) if not part.is_empty]
    if not parts:
        raise FormatError("outlines nothing")
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise FormatError("a coordinate is not a finite number")
    if any(len(part.interiors) for part in parts):
        outlines = [ring for part in parts for ring in (part.exterior, *part.interiors)]
        rings = [np.asarray(shapely.get_coordinates(ring), float) for ring in outlines]
        mask = mask_from_rings(rings) if along_pixels(rings) else None
        if mask is not None:
            return mask
    members = tuple(polygon_of(_ring_with_cuts(part)) for part in parts)
    return members[0] if len(members) == 1 else regions.RegionSet(members, union=True)


def polygon_of(ring: npt.ArrayLike) -> regions.Region:
    """Return the box or polygon that a ring in ``x y``, not closed, outlines."""
    points = from_xy(ring)
    return regions.upright_box(points, tolerance=BOX_TOLERANCE) or regions.Polygon(points)


def _ring_with_cuts(polygon: Any) -> FloatArray:
    """Return one ring, not closed, around a polygon with its holes."""
    if not len(polygon.interiors):
        return np.asarray(shapely.get_coordinates(polygon.exterior), float)[:-1]
    # Holes run the other way, so that the same place is never within both.
    turned = shapely.orient_polygons(polygon)
    shell = shapely.get_coordinates(turned.exterior)
    cuts = [np.concatenate([shapely.get_coordinates(hole), shell[:1]]) for hole in turned.interiors]
    joined = np.concatenate([shell, *cuts])[:-1]
    # Many holes: all those cuts from one corner would cross each other and the holes.
    cross = regions.is_tangled(joined) and shapely.is_valid(turned)
    return _ring_with_short_cuts(turned) if cross else joined


def _ring_with_short_cuts(polygon: Any) -> FloatArray:
    """Return one ring, not closed, around a valid polygon with its holes; no cut crosses another.

    The cuts are the shortest that join all rings: edges between triangles of all corners.
    """
    from scipy.cluster.hierarchy import DisjointSet
    from scipy.spatial import Delaunay

    rings = [shapely.get_coordinates(ring)[:-1] for ring in (polygon.exterior, *polygon.interiors)]
    points = np.concatenate(rings)
    sizes = [len(ring) for ring in rings]
    ring_of = np.repeat(np.arange(len(rings)), sizes)
    mesh = Delaunay(points)
    corners = mesh.simplices
    edges = np.concatenate([corners[:, :2], corners[:, 1:], corners[:, ::2], mesh.coplanar[:, ::2]])
    edges = edges[ring_of[edges[:, 0]] != ring_of[edges[:, 1]]]
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    joined = DisjointSet(range(len(rings)))
    cuts: dict[int, list[int]] = {}
    for start, end in edges[np.argsort(lengths, kind="stable")].tolist():
        if joined.merge(int(ring_of[start]), int(ring_of[end])):
            cuts.setdefault(start, []).append(end)
            cuts.setdefault(end, []).append(start)
    # Around each ring from where a cut comes to it; on the way, along the cuts and back again.
    order: list[int] = []
    seen = {0}
    left = list(range(sizes[0]))[::-1]
    starts = np.cumsum([0, *sizes])
    while left:
        corner = left.pop()
        order.append(corner)
        for other in cuts.pop(corner, ()):
            ring = int(ring_of[other])
            if ring not in seen:
                seen.add(ring)
                around = np.arange(starts[ring], starts[ring + 1])
                around = np.roll(around, starts[ring] - other)
                left += [corner, other, *around[::-1].tolist()]
    return np.asarray(points[order], float)


def along_pixels(rings: Sequence[FloatArray]) -> bool:
    """Return whether rings ``x y``, (n, 2) each, run along the edges of pixels alone."""
    return all(
        bool((ring == np.rint(ring)).all() and (ring == np.roll(ring, 1, axis=0)).any(axis=1).all())
        for ring in rings
    )


def mask_from_rings(rings: Sequence[npt.ArrayLike]) -> regions.Mask | None:
    """Return the pixels within an odd number of rings ``x y``, (n, 2); None if none, or far out."""
    corners = [np.asarray(ring, float) for ring in rings]
    ends = np.concatenate([[ring.min(axis=0), ring.max(axis=0)] for ring in corners])
    if (abs(ends) > _FARTHEST).any():
        return None
    charge_pixels(int(np.prod(np.ptp(ends, axis=0) + 2)))
    low, high = np.floor(ends.min(axis=0)).astype(int), np.ceil(ends.max(axis=0)).astype(int)
    width, height = (int(size) for size in np.maximum(high - low, 0))
    pixels = filled([ring - low for ring in corners], (height, width))
    return regions.Mask(pixels, (int(low[1]), int(low[0]))) if pixels.any() else None


def filled(rings: Sequence[FloatArray], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the pixels of a picture whose centres lie within an odd number of rings ``x y``.

    >>> filled([np.array([[1.0, 0], [3, 0], [3, 1], [1, 1]])], (1, 4)).tolist()
    [[False, True, True, False]]
    """
    height, width = shape
    # True where a row comes to an edge: right of it, all is the other way round.
    turns = np.zeros((height, width + 1), bool)
    for ring in rings:
        check_time()
        (x, y), (x_next, y_next) = ring.T - 0.5, np.roll(ring, -1, axis=0).T - 0.5
        first = np.ceil(np.minimum(y, y_next)).clip(0, height).astype(np.int64)
        count = np.ceil(np.maximum(y, y_next)).clip(0, height).astype(np.int64) - first
        ends = np.cumsum(count)
        for start in range(0, int(ends[-1]), _AT_ONCE):
            met = np.arange(start, min(start + _AT_ONCE, int(ends[-1])))
            edge = np.searchsorted(ends, met, side="right")
            row = first[edge] + met - (ends[edge] - count[edge])
            part = (row - y[edge]) / (y_next[edge] - y[edge])
            at = np.ceil(x[edge] + part * (x_next[edge] - x[edge])).clip(0, width)
            np.logical_xor.at(turns, (row, at.astype(np.int64)), True)
    return np.asarray(np.logical_xor.accumulate(turns, axis=1, out=turns)[:, :width])
