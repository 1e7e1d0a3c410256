"""Regions as areas, for formats that know rings of ``x y`` pixels with corners at integers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_pixels
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Polygon,
    Region,
    RegionSet,
    WholeImage,
    enclosed,
    is_tangled,
)

from ._annotation import KINDS
from ._napari_shape import box_corners, upright_box
from ._outlines import ellipse_ring, from_xy, mask_area, to_xy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

_BOX_TOLERANCE = 1e-6
_FARTHEST = 2**31


def outline(region: Region) -> npt.NDArray[np.float64] | None:
    """Return the vertices ``(row, column)`` around a box, polygon or ellipse; None for others."""
    if isinstance(region, Box):
        return box_corners(region)
    if isinstance(region, Polygon):
        return np.asarray(region.vertices, float)
    return ellipse_ring(region) if isinstance(region, Ellipse) else None


def whole_box(height: int, width: int) -> Box:
    """Return the box around all pixels of an image."""
    return Box(-0.5, -0.5, height - 0.5, width - 0.5)


def area_of(region: Region) -> Any:
    """Return the area of a region as a shapely geometry in ``x y``.

    Raises
    ------
    FormatError
        If the region, or a member of a set, is no area (a point, a trace, the whole image).
    """
    if isinstance(region, RegionSet):
        parts = [_valid(member) for member in region.members]
        return shapely.union_all([_polygons(part) for part in parts])
    if isinstance(region, Mask):
        return mask_area(region)
    ring = outline(region)
    if ring is None:
        raise FormatError(f"a {KINDS[type(region)]} is no area")
    return shapely.Polygon(to_xy(ring))


def _valid(region: Region) -> Any:
    """Return the area of a member of a set, of which outlines may cross themselves."""
    if isinstance(region, Polygon) and is_tangled(region.vertices):
        raise FormatError("an outline of a set crosses itself too often; draw it again")
    return enclosed(to_xy(region.vertices)) if isinstance(region, Polygon) else area_of(region)


def is_area(region: Region) -> bool:
    """Whether a region is an area, or a set of areas."""
    members = region.members if isinstance(region, RegionSet) else (region,)
    return all(isinstance(one, Box | Polygon | Ellipse | Mask | WholeImage) for one in members)


def _polygons(geometry: Any) -> Any:
    """Return the polygons of a geometry, without the lines and points of it."""
    parts = shapely.get_parts(geometry)
    polygons = [part for part in parts if part.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(polygons)


def region_of_area(geometry: Any) -> Region:
    """Return the region that a Polygon or MultiPolygon in ``x y`` outlines.

    Holes along the edges of pixels make a mask; any others are joined to the outline by a cut
    without width. Several polygons without holes are a set whose shared parts count once.

    Raises
    ------
    FormatError
        If there is no polygon, or a coordinate is not finite.
    """
    parts = [part for part in shapely.get_parts(geometry) if not part.is_empty]
    if not parts:
        raise FormatError("outlines nothing")
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise FormatError("a coordinate is not a finite number")
    if any(len(part.interiors) for part in parts):
        mask = _pixel_mask(parts)
        if mask is not None:
            return mask
    regions = tuple(_polygon(_ring_with_cuts(part)) for part in parts)
    return regions[0] if len(regions) == 1 else RegionSet(regions, union=True)


def polygon_of(ring: npt.ArrayLike) -> Region:
    """Return the box or polygon that a ring in ``x y``, not closed, outlines."""
    return _polygon(np.asarray(ring, float))


def _polygon(ring: npt.NDArray[np.float64]) -> Region:
    points = from_xy(ring)
    return upright_box(points, tolerance=_BOX_TOLERANCE) or Polygon(points)


def _ring_with_cuts(polygon: Any) -> npt.NDArray[np.float64]:
    """Return one ring, not closed, around a polygon with its holes."""
    if not len(polygon.interiors):
        return np.asarray(shapely.get_coordinates(polygon.exterior), float)[:-1]
    # Holes run the other way, so that the same place is never within both.
    turned = shapely.orient_polygons(polygon)
    shell = shapely.get_coordinates(turned.exterior)
    cuts = [np.concatenate([shapely.get_coordinates(hole), shell[:1]]) for hole in turned.interiors]
    return np.concatenate([shell, *cuts])[:-1]


def _pixel_mask(polygons: Iterable[Any]) -> Mask | None:
    """Return the pixels within rings along the edges of pixels; None if they run elsewhere."""
    rings = [ring for one in polygons for ring in (one.exterior, *one.interiors)]
    edges = [shapely.get_coordinates(ring) for ring in rings]
    points = np.concatenate(edges)
    if (abs(points) > _FARTHEST).any():
        return None
    low, high = points.min(axis=0).astype(int), points.max(axis=0).astype(int)
    straight = all((np.diff(ring, axis=0) == 0).any(axis=1).all() for ring in edges)
    if (points != np.rint(points)).any() or not straight:
        return None
    charge_pixels(int(np.prod(high - low)))
    crossed = np.zeros((high[1] - low[1], high[0] - low[0] + 1), bool)
    for ring in edges:
        corners = (ring - low).astype(int)
        for (x, y), (other, end) in itertools.pairwise(corners):
            if x == other:
                crossed[min(y, end) : max(y, end), x] ^= True
    pixels = np.logical_xor.accumulate(crossed, axis=1, out=crossed)[:, :-1]
    return Mask(pixels, (int(low[1]), int(low[0])))
