"""Whether two regions are one drawing, whichever vertex a tool begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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

from ._napari_shape import box_corners

if TYPE_CHECKING:
    import numpy.typing as npt

# How far, in pixels, a vertex may have moved by writing and reading numbers.
TOLERANCE = 1e-3


def same_drawing(one: Region, other: Region, *, tolerance: float = TOLERANCE) -> bool:
    """Return whether two regions show the same thing.

    Parameters
    ----------
    one, other : Region
        A box and a polygon around it, or rings that begin elsewhere or run the other way, are the
        same; a polygon and an ellipse with the same corners are not.
    tolerance : float
        How far, in pixels, a vertex may be off.

    >>> same_drawing(Box(0, 0, 1, 2), Polygon(np.array([[1.0, 0], [1, 2], [0, 2], [0, 0]])))
    True
    """
    if isinstance(one, RegionSet) or isinstance(other, RegionSet):
        return _same_sets(one, other, tolerance)
    if isinstance(one, WholeImage) or isinstance(other, WholeImage):
        return type(one) is type(other)
    if isinstance(one, Mask) or isinstance(other, Mask):
        return isinstance(one, Mask) and isinstance(other, Mask) and _same_masks(one, other)
    if isinstance(one, Ellipse) is not isinstance(other, Ellipse):
        return False
    first, second = _points(one), _points(other)
    if isinstance(one, Box | Polygon | Ellipse) and isinstance(other, Box | Polygon | Ellipse):
        return _same_rings(first, second, tolerance)
    ring = isinstance(one, Box | Polygon | Ellipse) or isinstance(other, Box | Polygon | Ellipse)
    return not ring and _close(first, second, tolerance)


def _points(region: Region) -> npt.NDArray[np.float64]:
    """Return the vertices of a region, shape (n, 2)."""
    if isinstance(region, Box):
        return box_corners(region)
    if isinstance(region, Point):
        return np.array([[region.row, region.column]], float)
    if isinstance(region, Trace):
        return np.asarray(region.points, float)
    corners = region.corners if isinstance(region, Ellipse) else region.vertices  # type: ignore[union-attr]
    return np.asarray(corners, float)


def _close(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], tolerance: float
) -> bool:
    return first.shape == second.shape and bool((abs(first - second) <= tolerance).all())


def _same_rings(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], tolerance: float
) -> bool:
    """Whether two rings are one, begun at any vertex and run in either direction."""
    if first.shape != second.shape or not len(first):
        return False
    starts = np.flatnonzero((abs(second - first[0]) <= tolerance).all(axis=1)).tolist()
    ways = [np.roll(second, -start, axis=0) for start in starts]
    back = [np.roll(second[::-1], start + 1, axis=0) for start in starts]
    return any(_close(first, way, tolerance) for way in (*ways, *back))


def _same_masks(one: Mask, other: Mask) -> bool:
    """Whether two masks are the same pixels of the image, whatever their own frames."""
    (first, corner), (second, other_corner) = _cut(one), _cut(other)
    return corner == other_corner and np.array_equal(first, second)


def _cut(mask: Mask) -> tuple[npt.NDArray[np.bool_], tuple[int, ...]]:
    """Return the pixels of a mask without empty rows and columns around, and where they begin."""
    pixels = np.asarray(mask.pixels, bool)
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return pixels[:0, :0], (0, 0)
    cut = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut, (mask.offset[0] + int(rows[0]), mask.offset[1] + int(columns[0]))


def _same_sets(one: Region, other: Region, tolerance: float) -> bool:
    """Whether two sets have the same members in the same order, and count them alike."""
    if not (isinstance(one, RegionSet) and isinstance(other, RegionSet)):
        return False
    pairs = zip(one.members, other.members, strict=False)
    return (
        one.union is other.union
        and len(one.members) == len(other.members)
        and all(same_drawing(first, second, tolerance=tolerance) for first, second in pairs)
    )
