"""Label Studio's results for regions, in percent of the image, and back.

===========  =====================================================================================
kind         result
===========  =====================================================================================
box          ``rectangle``
polygon      ``polygon``
ellipse      ``ellipse``, turned about its centre; ``polygon`` of 64 vertices if it is sheared
trace        ``vector`` that is not closed; ``keypoint`` for a single position
point        ``keypoint``
mask         ``brush``: the runs of the pixels within the image
set          one result per member
image        a text about the image, of no region
===========  =====================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations.xy import (
    ellipse_axes,
    ellipse_from_axes,
    from_xy,
    is_sheared,
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
    Trace,
    WholeImage,
)

from ._brush import decode_brush, encode_brush

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

Size = tuple[int, int]
_FARTHEST = 2.0**40
_DOT = 0.5
"""Width of a point as Label Studio draws it, in percent."""


def value_of(region: Region, size: Size) -> tuple[str, dict[str, Any]] | None:
    """Return the type of the result for a region that is no set, and its value in percent.

    Parameters
    ----------
    region : Region
        Any but a set.
    size : tuple of int
        ``(height, width)`` of the image.

    Returns
    -------
    tuple of (str, dict) or None
        The type without ``labels``. None for the whole image, and for a mask beside the image.
    """
    if isinstance(region, Box):
        return "rectangle", _rectangle(region, size)
    if isinstance(region, Ellipse):
        return _ellipse(region, size)
    if isinstance(region, Polygon):
        return "polygon", {"points": _percent(region.vertices, size), "closed": True}
    if isinstance(region, Point):
        return "keypoint", _keypoint([[region.row, region.column]], size)
    if isinstance(region, Trace):
        many = len(region.points) > 1
        return ("vector", _vector(region, size)) if many else _point_of(region, size)
    runs = encode_brush(region, *size) if isinstance(region, Mask) else []
    return ("brush", {"format": "rle", "rle": runs}) if runs else None


def _percent(points: npt.ArrayLike, size: Size) -> list[list[float]]:
    """Return ``(row, column)`` points as ``x y`` in percent of the image."""
    found: list[list[float]] = (to_xy(points) * 100 / size[::-1]).tolist()
    return found


def _rectangle(box: Box, size: Size) -> dict[str, Any]:
    low, high = np.sort([[box.top, box.left], [box.bottom, box.right]], axis=0)
    [(x, y), (right, bottom)] = _percent([low, high], size)
    return {"x": x, "y": y, "width": right - x, "height": bottom - y, "rotation": 0}


def _ellipse(ellipse: Ellipse, size: Size) -> tuple[str, dict[str, Any]]:
    """Return an ellipse; Label Studio measures its turn in pixels, its radii in percent."""
    centre, along, across = ellipse_axes(ellipse)
    if is_sheared(along, across):
        return "polygon", {"points": _percent(ellipse.outline(), size), "closed": True}
    x, y = (centre * 100 / size[::-1]).tolist()
    radii = np.array([np.hypot(*along), np.hypot(*across)]) * 100 / size[::-1]
    turn = float(np.degrees(np.arctan2(along[1], along[0]))) % 360
    value = {"x": x, "y": y, "radiusX": float(radii[0]), "radiusY": float(radii[1])}
    return "ellipse", {**value, "rotation": turn}


def _keypoint(points: npt.ArrayLike, size: Size) -> dict[str, Any]:
    [(x, y)] = _percent(points, size)
    return {"x": x, "y": y, "width": _DOT}


def _point_of(trace: Trace, size: Size) -> tuple[str, dict[str, Any]] | None:
    return ("keypoint", _keypoint(trace.points, size)) if len(trace.points) else None


def _vector(trace: Trace, size: Size) -> dict[str, Any]:
    vertices = [
        {
            "id": str(place),
            "x": x,
            "y": y,
            "prevPointId": str(place - 1) if place else None,
            "isBezier": False,
        }
        for place, (x, y) in enumerate(_percent(trace.points, size))
    ]
    return {"vertices": vertices, "closed": False}


def region_of(kind: str, value: Mapping[str, Any], size: Size) -> Region:
    """Return the region a result shows; undoes `value_of`.

    Raises
    ------
    FormatError
        If the type is unknown, or the value does not fit it.
    """
    if kind not in _READERS:
        raise FormatError(f"the type {kind!r} is unknown; it may be {', '.join(_READERS)}")
    try:
        return _READERS[kind](value, size)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the value of a {kind} lacks fields, or they are no numbers") from error


def _pixels(points: npt.ArrayLike, size: Size) -> npt.NDArray[np.float64]:
    """Return ``x y`` in percent as ``x y`` in pixels, pixel corners at integers."""
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.float64] = np.asarray(points, float).reshape(-1, 2) * size[::-1] / 100
    if not len(found) or not (abs(found) < _FARTHEST).all():
        raise FormatError("a coordinate is not a finite number, or lies farther out than any image")
    return found


def _read_rectangle(value: Mapping[str, Any], size: Size) -> Region:
    """Return a box, or the polygon it is once turned about its first corner."""
    (corner, extent) = _pixels([[value["x"], value["y"]], [value["width"], value["height"]]], size)
    turn = float(value.get("rotation") or 0)
    steps = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * extent
    if turn % 360 == 0:
        (top, left), (bottom, right) = from_xy([corner, corner + extent]).tolist()
        return Box(top, left, bottom, right)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return Polygon(from_xy(corner + steps @ np.array([[cos, sin], [-sin, cos]])))


def _read_polygon(value: Mapping[str, Any], size: Size) -> Region:
    points = from_xy(_pixels(value["points"], size))
    if len(points) < 3:
        raise FormatError(f"a polygon needs at least 3 points, but this one has {len(points)}")
    return Polygon(points)


def _read_ellipse(value: Mapping[str, Any], size: Size) -> Region:
    centre, radii = _pixels([[value["x"], value["y"]], [value["radiusX"], value["radiusY"]]], size)
    turn = np.radians(float(value.get("rotation") or 0))
    along, across = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return ellipse_from_axes(centre, along * radii[0], across * radii[1])


def _read_keypoint(value: Mapping[str, Any], size: Size) -> Region:
    [(row, column)] = from_xy(_pixels([[value["x"], value["y"]]], size)).tolist()
    return Point(row, column)


def _read_vector(value: Mapping[str, Any], size: Size) -> Region:
    points = from_xy(_pixels([[one["x"], one["y"]] for one in value["vertices"]], size))
    return Polygon(points) if value.get("closed") and len(points) > 2 else Trace(points)


def _read_brush(value: Mapping[str, Any], size: Size) -> Region:
    mask = decode_brush(value["rle"], *size)
    if mask is None:
        raise FormatError("nothing is painted; paint at least one pixel")
    return mask


_READERS: dict[str, Callable[[Mapping[str, Any], Size], Region]] = {
    "rectangle": _read_rectangle,
    "polygon": _read_polygon,
    "ellipse": _read_ellipse,
    "keypoint": _read_keypoint,
    "vector": _read_vector,
    "brush": _read_brush,
}
TYPES = tuple(_READERS)
"""The types of results that show regions, without ``labels``."""


def shown(region: Region, size: Size) -> Region | None:
    """Return what a task shows for a region that is no set, other than the whole image."""
    found = None if isinstance(region, WholeImage) else value_of(region, size)
    return None if found is None else region_of(*found, size)
