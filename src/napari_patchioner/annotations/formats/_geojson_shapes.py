"""Regions as GeoJSON geometries in ``x y`` pixels with corners at integers, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping, shape

from napari_patchioner.annotations.xy import area_of, from_xy, region_of_area, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import (
    Ellipse,
    Point,
    Region,
    RegionSet,
    Trace,
    WholeImage,
    upright_box,
)

_ELLIPSE = "isEllipse"


def has_whole_image(region: Region) -> bool:
    """Whether a region is the whole image, or a set with it."""
    return any(part.kind == "image" for part in region.parts())


def shape_of_region(region: Region, size: tuple[int, int] | None) -> dict[str, Any]:
    """Return a region as a GeoJSON geometry.

    Parameters
    ----------
    region : Region
        Any region. An ellipse is a polygon around it, marked as one where it stands upright; a
        mask is the edges of its pixels; a set of areas is all they cover.
    size : tuple of int, optional
        ``(height, width)`` of the image; needed where `has_whole_image`.

    Raises
    ------
    FormatError
        If the region makes no sense.
    """
    if isinstance(region, Ellipse) and upright_box(region.corners) is not None:
        return {**mapping(area_of(region)), _ELLIPSE: True}
    return dict(mapping(_geometry(region, size)))


def _geometry(region: Region, size: tuple[int, int] | None) -> Any:
    if isinstance(region, WholeImage):
        return area_of(region.for_image(*(size or (0, 0))))
    if isinstance(region, Point):
        return shapely.Point(region.column + 0.5, region.row + 0.5)
    if isinstance(region, Trace):
        return _trace(region)
    if isinstance(region, RegionSet):
        return _together(region, size)
    return area_of(region)


def _together(region: RegionSet, size: tuple[int, int] | None) -> Any:
    """Return traces as lines, areas as all they cover, and anything else as a collection."""
    if all(
        isinstance(one, Trace) and one.connected and len(one.points) > 1 for one in region.members
    ):
        return shapely.MultiLineString([_geometry(one, size) for one in region.members])
    if not any(isinstance(one, Trace | Point | WholeImage) for one in region.members):
        area = area_of(region)
        if not area.is_empty:
            return area
    return shapely.GeometryCollection([_geometry(one, size) for one in region.members])


def _trace(trace: Trace) -> Any:
    points = to_xy(trace.points)
    if not trace.connected:
        return shapely.MultiPoint(points)
    return shapely.Point(points[0]) if len(points) == 1 else shapely.LineString(points)


def region_of_geometry(geometry: dict[str, Any]) -> Region:
    """Return the region that a GeoJSON geometry shows.

    Raises
    ------
    FormatError
        If it is no geometry, is empty, or a coordinate is not finite.
    """
    try:
        found = shape(geometry)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        shapely.errors.ShapelyError,
    ) as error:
        raise FormatError("its geometry is no GeoJSON geometry") from error
    points = shapely.get_coordinates(found)
    if not len(points):
        raise FormatError("its geometry is empty")
    if not np.isfinite(points).all():
        raise FormatError("a coordinate of its geometry is not a finite number")
    if geometry.get(_ELLIPSE) is True:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        ring = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return Ellipse(from_xy(ring))
    return _region(found)


def _region(geometry: Any) -> Region:
    kind = geometry.geom_type
    points = from_xy(shapely.get_coordinates(geometry))
    if kind == "Point":
        return Point(float(points[0, 0]), float(points[0, 1]))
    if kind in ("LineString", "LinearRing"):
        return Trace(points)
    if kind == "MultiPoint":
        return Trace(points, connected=False)
    if kind in ("Polygon", "MultiPolygon"):
        return region_of_area(geometry)
    members = [_region(part) for part in shapely.get_parts(geometry) if not part.is_empty]
    flat = [one.members if isinstance(one, RegionSet) else (one,) for one in members]
    return RegionSet(tuple(region for part in flat for region in part))
