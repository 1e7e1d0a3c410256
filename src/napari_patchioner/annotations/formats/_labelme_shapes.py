"""LabelMe's shapes for regions, in ``x y`` pixels with pixel corners at integers, and back.

===========  =====================================================================================
kind         shape
===========  =====================================================================================
box          ``rectangle``
polygon      ``polygon``
ellipse      ``circle`` where it is one, else ``polygon`` of 64 vertices
trace        ``linestrip``; ``point`` for a single position
point        ``point``
mask         ``mask``: a PNG of the pixels and the first and last of them
set          one shape per member, all of one ``group_id``
image        ``rectangle`` around the image, whose size must be known
===========  =====================================================================================
"""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from napari_patchioner.annotations.xy import (
    ellipse_axes,
    ellipse_from_axes,
    from_xy,
    is_sheared,
    to_xy,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.images import picture_size, read_picture
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    Trace,
    WholeImage,
    upright_box,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Size: TypeAlias = "tuple[int, int] | None"

_FEWEST = {"rectangle": 2, "circle": 2, "line": 2, "point": 1, "points": 1, "mask": 2}
_FEWEST |= {"polygon": 3, "linestrip": 2, "oriented_rectangle": 4, "rotation": 4}
_FEWEST |= {"quadrilateral": 4}
TURNED = ("rotation", "oriented_rectangle")
"""What programs call a turned rectangle."""
_MOST_PIXELS = 2**28


def region_of(shape: Mapping[str, Any]) -> Region:
    """Return what a shape shows."""
    kind = shape.get("shape_type") or "polygon"
    try:
        points = np.asarray(shape["points"], float).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError("its 'points' must be pairs of numbers") from error
    if kind not in _FEWEST:
        raise FormatError(f"the shape type {kind!r} is unknown; LabelMe has {', '.join(_FEWEST)}")
    if len(points) < _FEWEST[kind]:
        raise FormatError(f"a {kind} needs {_FEWEST[kind]} points, but this one has {len(points)}")
    if not np.isfinite(points).all():
        raise FormatError("a coordinate is not a finite number")
    if kind == "mask":
        return _mask(shape.get("mask"), points)
    return _outlined(kind, points)


def _outlined(kind: str, points: Any) -> Region:
    """Return the region that points outline, ``x y``."""
    if kind == "circle":
        radius = math.dist(*points.tolist()[:2])
        if not math.isfinite(radius):
            raise FormatError("a circle is larger than any number")
        return ellipse_from_axes(points[0], [radius, 0], [0, radius])
    vertices = from_xy(points)
    if kind == "rectangle":
        # Two opposite corners, or all four of them.
        if len(vertices) == 4 and upright_box(vertices, tolerance=1e-6) is None:
            return Polygon(vertices)
        low, high = vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()
        return Box(*low, *high)
    if kind in ("polygon", "quadrilateral", *TURNED):
        return Polygon(vertices)
    if kind == "point":
        return Point(*vertices[0].tolist())
    return Trace(vertices, connected=kind != "points")


def _mask(png: Any, points: Any) -> Mask:
    """Return the mask in a PNG, its first pixel at the first of the points."""
    try:
        data = base64.b64decode(png, validate=True)
        height, width = picture_size(data)
        if height * width > _MOST_PIXELS:
            raise FormatError("the mask is too large to be read")
        pixels = np.asarray(read_picture(data).convert("L")).astype(bool)
    except FormatError:
        raise
    except (TypeError, ValueError) as error:
        raise FormatError("its mask is no picture in base64") from error
    if not pixels.any():
        raise FormatError("its mask is empty; paint at least one pixel")
    return Mask(pixels, (int(points[0][1]), int(points[0][0])))


def shape_of(region: Region, size: Size) -> dict[str, Any] | None:
    """Return ``shape_type``, ``points`` and, for masks, ``mask``; None where there is no shape."""
    if isinstance(region, WholeImage):
        corner = [size[1], size[0]] if size else None
        return {"shape_type": "rectangle", "points": [[0, 0], corner]} if corner else None
    if isinstance(region, Mask):
        return _mask_shape(region)
    if isinstance(region, Ellipse):
        return _ellipse_shape(region)
    if isinstance(region, Box):
        corners = [[region.top, region.left], [region.bottom, region.right]]
        return {"shape_type": "rectangle", "points": to_xy(corners).tolist()}
    if isinstance(region, Point):
        return {"shape_type": "point", "points": to_xy([[region.row, region.column]]).tolist()}
    if isinstance(region, Trace):
        kind = "linestrip" if len(region.points) > 1 else "point"
        return {"shape_type": kind, "points": to_xy(region.points).tolist()}
    if isinstance(region, Polygon):
        return {"shape_type": "polygon", "points": to_xy(region.vertices).tolist()}
    return None


def _ellipse_shape(ellipse: Ellipse) -> dict[str, Any]:
    """Return a circle, or the polygon that stands for an ellipse."""
    centre, along, across = ellipse_axes(ellipse)
    lengths = np.hypot(*along), np.hypot(*across)
    if not is_sheared(along, across) and abs(lengths[0] - lengths[1]) <= 1e-9 * lengths[0]:
        return {"shape_type": "circle", "points": [centre.tolist(), (centre + along).tolist()]}
    return {"shape_type": "polygon", "points": to_xy(ellipse.outline()).tolist()}


def _mask_shape(mask: Mask) -> dict[str, Any]:
    """Return the PNG of a mask with the first and the last pixel it spans."""
    pixels = np.asarray(mask.pixels, bool)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    (row, column), (height, width) = mask.offset, pixels.shape
    corners = [[column, row], [column + width - 1, row + height - 1]]
    png = base64.b64encode(buffer.getvalue()).decode("ascii")
    points = [[float(x), float(y)] for x, y in corners]
    return {"shape_type": "mask", "points": points, "mask": png}


def shown(region: Region, size: Size) -> Region | None:
    """Return what a file shows for a region that is no set."""
    shape = shape_of(region, size)
    return None if shape is None else region_of(shape)
