"""Outlines for formats that have no ellipses or no masks, and masks from outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.limits import charge_pixels, check_time
from napari_patchioner.regions import Ellipse, Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray: TypeAlias = npt.NDArray[np.float64]
_FARTHEST = 2**31


def to_xy(points: npt.ArrayLike) -> FloatArray:
    """Return ``(row, column)`` points as ``x y``, pixel corners at integers, shape (n, 2).

    >>> to_xy([[0, 2]]).tolist()
    [[2.5, 0.5]]
    """
    return np.asarray(points, float).reshape(-1, 2)[:, ::-1] + 0.5


def from_xy(points: npt.ArrayLike) -> FloatArray:
    """Return ``x y`` points, pixel corners at integers, as ``(row, column)``; undoes `to_xy`."""
    return np.ascontiguousarray(np.asarray(points, float).reshape(-1, 2)[:, ::-1]) - 0.5


def ellipse_axes(ellipse: Ellipse) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return centre and the two half axes of an ellipse as ``x y``, pixel corners at integers."""
    corners = to_xy(ellipse.corners)
    return corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2


def ellipse_from_axes(
    centre: npt.ArrayLike, along: npt.ArrayLike, across: npt.ArrayLike
) -> Ellipse:
    """Return the ellipse with this centre and these half axes; undoes `ellipse_axes`."""
    middle, first, second = (np.asarray(one, float) for one in (centre, along, across))
    corners = [-first - second, first - second, first + second, second - first]
    return Ellipse(from_xy(middle + np.array(corners)))


def is_sheared(along: FloatArray, across: FloatArray) -> bool:
    """Return whether two half axes are not at right angles, so that they are no true axes."""
    scale = float(np.hypot(*along) * np.hypot(*across))
    return bool(abs(along @ across) > 1e-9 * scale)


def ellipse_ring(ellipse: Ellipse, count: int = 64) -> FloatArray:
    """Return vertices on an ellipse, evenly around it, shape (count, 2), ``(row, column)``."""
    corners = np.asarray(ellipse.corners, float)
    turns = np.arange(count)[:, None] * (2 * np.pi / count)
    along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    ring = corners.mean(axis=0) + np.cos(turns) * along + np.sin(turns) * across
    return np.asarray(ring, float)


def mask_polygons(mask: Mask) -> list[shapely.Polygon]:
    """Return the outlines of the parts of a mask along the edges of its pixels, with their holes.

    Returns
    -------
    list of shapely.Polygon
        ``x y``, pixel corners at integers.
    """
    parts = shapely.get_parts(mask_area(mask))
    return [part for part in parts if part.geom_type == "Polygon"]


def mask_area(mask: Mask) -> Any:
    """Return the pixels of a mask as a shapely geometry in ``x y``, holes included."""
    pixels = np.pad(np.asarray(mask.pixels, bool), ((0, 0), (1, 1)))
    steps = np.diff(pixels.astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    top, left = mask.offset
    boxes = shapely.box(starts + left, rows + top, ends + left, rows + top + 1)
    # Without this, every pixel along a straight edge is a vertex of its own.
    return shapely.simplify(shapely.union_all(boxes), 0)


def mask_from_rings(rings: Sequence[npt.ArrayLike]) -> Mask | None:
    """Return the pixels whose centres lie within an odd number of rings.

    None if there are none, or the rings go far too far.

    Parameters
    ----------
    rings : sequence of array_like, each of shape (n, 2)
        ``x y``, pixel corners at integers.
    """
    corners = [np.asarray(ring, float) for ring in rings]
    ends = np.concatenate([[ring.min(axis=0), ring.max(axis=0)] for ring in corners])
    if (abs(ends) > _FARTHEST).any():
        return None
    charge_pixels(int(np.prod(np.ptp(ends, axis=0) + 2)))
    low, high = np.floor(ends.min(axis=0)).astype(int), np.ceil(ends.max(axis=0)).astype(int)
    width, height = (int(size) for size in np.maximum(high - low, 0))
    crossed = np.zeros((height, width + 1), bool)
    for ring in corners:
        check_time()
        _cross(crossed, ring - low)
    pixels = np.logical_xor.accumulate(crossed, axis=1, out=crossed)[:, :width]
    return Mask(pixels, (int(low[1]), int(low[0]))) if pixels.any() else None


def _cross(crossed: npt.NDArray[np.bool_], ring: FloatArray) -> None:
    """Turn, at the first pixel centre beyond it, each crossing of a ring with a row of centres."""
    height, last = crossed.shape[0], crossed.shape[1] - 1
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        first, stop = (int(np.ceil(y - 0.5)) for y in sorted((y1, y2)))
        rows = np.arange(max(first, 0), min(stop, height))
        if len(rows):
            x = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
            # Each row once, so that no place is turned twice here.
            crossed[rows, np.clip(np.ceil(x - 0.5), 0, last).astype(int)] ^= True
