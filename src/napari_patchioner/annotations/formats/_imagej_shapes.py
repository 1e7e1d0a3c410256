"""ImageJ's regions of interest for regions, and back.

ImageJ counts areas in ``x y`` pixels with pixel corners at integers, but lines and points with
pixel *centres* at integers, as it draws them.

===========  =====================================================================================
kind         region of interest
===========  =====================================================================================
box          rectangle
polygon      polygon; composite where it has more than 65,535 vertices
ellipse      oval if it is upright, ellipse if it is turned, polygon of 64 vertices if sheared
trace        segmented line; multi-point where the points are not connected
point        point
mask         composite: the outlines along the edges of its pixels, holes included
set          one region of interest per member
image        rectangle around the image, whose size must be known
===========  =====================================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import shapely

from napari_patchioner.annotations.xy import (
    ellipse_axes,
    ellipse_from_axes,
    from_xy,
    is_sheared,
    mask_from_rings,
    to_xy,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
)

from . import _roi_bytes as roi_bytes
from ._roi_bytes import Roi

if TYPE_CHECKING:
    import numpy.typing as npt

Size: TypeAlias = "tuple[int, int] | None"
_NO_POINTS = np.zeros((0, 2))
_MOST_POINTS = 65535
_AREAS = (roi_bytes.POLYGON, roi_bytes.FREEHAND, roi_bytes.TRACED)
_WAYS = (roi_bytes.POLYLINE, roi_bytes.FREELINE, roi_bytes.ANGLE)


def roi_of(region: Region, size: Size) -> Roi | None:
    """Return the region of interest for a region that is no set; None where there is none."""
    if isinstance(region, WholeImage):
        return Roi(roi_bytes.RECTANGLE, np.array([[0, 0], size[::-1]], float)) if size else None
    if isinstance(region, Box):
        corners = np.sort([[region.top, region.left], [region.bottom, region.right]], axis=0)
        return Roi(roi_bytes.RECTANGLE, to_xy(corners))
    if isinstance(region, Ellipse):
        return _ellipse(region)
    if isinstance(region, Polygon):
        return _polygon(to_xy(region.vertices))
    if isinstance(region, Mask):
        return Roi(roi_bytes.RECTANGLE, _NO_POINTS, tuple(map(to_xy, region.rings())))
    if isinstance(region, Point):
        return Roi(roi_bytes.POINT, np.array([[region.column, region.row]]))
    if isinstance(region, Trace) and len(region.points):
        points = np.asarray(region.points, float)[:, ::-1]
        many = region.connected and len(points) > 1
        return Roi(roi_bytes.POLYLINE if many else roi_bytes.POINT, points)
    return None


def of_kind(roi: Roi, old: Roi) -> Roi:
    """Return a region of interest as one of the kind of another, where that may have its points."""
    for kinds in (_AREAS, _WAYS):
        if roi.kind in kinds and old.kind in kinds and not (roi.rings or old.rings or old.subtype):
            three = old.kind != roi_bytes.ANGLE or len(roi.points) == 3
            return replace(roi, kind=old.kind) if three else roi
    return roi


def _polygon(vertices: npt.NDArray[np.float64]) -> Roi:
    if len(vertices) > _MOST_POINTS:
        return Roi(roi_bytes.RECTANGLE, _NO_POINTS, (vertices,))
    return Roi(roi_bytes.POLYGON, vertices)


def _ellipse(ellipse: Ellipse) -> Roi:
    """Return an oval, an ellipse by the ends of its longer axis, or a polygon."""
    centre, along, across = ellipse_axes(ellipse)
    if is_sheared(along, across):
        return _polygon(to_xy(ellipse.outline()))
    if not (along * across).any():
        half = np.maximum(abs(along), abs(across))
        return Roi(roi_bytes.OVAL, np.array([centre - half, centre + half]))
    longer, shorter = sorted((along, across), key=lambda axis: -float(np.hypot(*axis)))
    ends = np.array([centre - longer, centre + longer])
    ratio = float(np.hypot(*shorter) / np.hypot(*longer))
    ring = (to_xy(ellipse.outline()),)
    return Roi(roi_bytes.FREEHAND, ends, ring, roi_bytes.ELLIPSE, ratio)


def region_of(roi: Roi) -> Region:
    """Return the region that a region of interest shows.

    Raises
    ------
    FormatError
        If it shows nothing.
    """
    if roi.rings:
        return _composite(roi)
    if not len(roi.points):
        raise FormatError("shows nothing")
    if not np.isfinite(roi.points).all():
        raise FormatError("a coordinate is not a finite number")
    if roi.kind in (roi_bytes.RECTANGLE, roi_bytes.OVAL) or roi.subtype:
        return _area(roi)
    if roi.kind in _AREAS:
        if len(roi.points) < 3:
            raise FormatError("is a polygon of fewer than 3 vertices")
        return Polygon(from_xy(roi.points))
    points = np.ascontiguousarray(roi.points[:, ::-1])
    if roi.kind == roi_bytes.POINT and len(points) == 1:
        return Point(*points[0].tolist())
    return Trace(points, connected=roi.kind != roi_bytes.POINT)


def _area(roi: Roi) -> Region:
    """Return the box or ellipse that two points span."""
    first, second = roi.points
    centre = (first + second) / 2
    if roi.subtype == roi_bytes.ELLIPSE:
        along = (second - first) / 2
        return ellipse_from_axes(centre, along, along[::-1] * [-roi.ratio, roi.ratio])
    if roi.subtype == roi_bytes.TURNED_RECTANGLE:
        length = float(np.hypot(*(second - first))) or 1.0
        aside = (second - first)[::-1] * [-1, 1] * (roi.ratio / 2 / length)
        return Polygon(from_xy([first - aside, second - aside, second + aside, first + aside]))
    if roi.kind == roi_bytes.OVAL:
        half = (second - first) / 2
        return ellipse_from_axes(centre, [half[0], 0], [0, half[1]])
    (top, left), (bottom, right) = from_xy(roi.points).tolist()
    return Box(top, left, bottom, right)


def _composite(roi: Roi) -> Region:
    """Return a mask where outlines run along pixels or lie in each other, else polygons."""
    if not all(np.isfinite(ring).all() for ring in roi.rings):
        raise FormatError("a coordinate is not a finite number")
    straight = all(
        (ring == np.rint(ring)).all() and ((ring == np.roll(ring, 1, axis=0)).any(axis=1)).all()
        for ring in roi.rings
    )
    shells = [shapely.Polygon(ring) for ring in roi.rings]
    tree = shapely.STRtree(shells)
    nested = len(tree.query(shells, predicate="contains_properly").T) > 0
    if straight or nested:
        mask = mask_from_rings(roi.rings)
        if mask is not None:
            return mask
    parts = tuple(Polygon(from_xy(ring)) for ring in roi.rings)
    return parts[0] if len(parts) == 1 else RegionSet(parts, union=True)


def shown(region: Region, size: Size) -> Region | None:
    """Return what a region of interest shows for a region that is no set, in single precision."""
    roi = roi_of(region, size)
    return None if roi is None else region_of(roi_bytes.decode_roi(roi_bytes.encode_roi(roi)))
