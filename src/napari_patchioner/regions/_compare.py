"""Whether regions are one drawing, whichever vertex a tool begins with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._shapes import Box, FloatArray, Mask, Region, RegionSet

TOLERANCE = 1e-3
"""How far, in pixels, a vertex may have moved by writing and reading numbers."""

_RINGS = ("box", "polygon", "ellipse")


def upright_box(corners: npt.ArrayLike, *, tolerance: float = 1e-9) -> Box | None:
    """Return the box with these four corners, or None where they are not an upright rectangle.

    ``(row, column)`` of the corners in either direction around, starting anywhere, each at most so
    many pixels from where it belongs.

    >>> upright_box([[2, 3], [0, 3], [0, 1], [2, 1]])
    Box(top=0.0, left=1.0, bottom=2.0, right=3.0)
    >>> upright_box([[0, 1], [1, 2], [2, 1], [1, 0]]) is None
    True
    """
    points = np.asarray(corners, float)
    if points.shape != (4, 2):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    on_edge = np.minimum(abs(points - low), abs(points - high)) <= tolerance
    opposite = abs(points[0] + points[2] - points[1] - points[3]) <= 4 * tolerance
    diagonal = abs(points[2] - points[0]) >= high - low - 2 * tolerance
    if not (on_edge.all() and opposite.all() and diagonal.all()):
        return None
    return Box(*low.tolist(), *high.tolist())


def same_drawing(region: Region, other: Region, *, tolerance: float = TOLERANCE) -> bool:
    """Return whether two regions show the same thing, but for vertices off by so many pixels.

    A box and a polygon around it, or rings that begin elsewhere or run the other way, are the same;
    a polygon and an ellipse with the same corners are not.

    >>> from napari_patchioner.regions import Polygon
    >>> same_drawing(Box(0, 0, 1, 2), Polygon(np.array([[1.0, 0], [1, 2], [0, 2], [0, 0]])))
    True
    """
    if isinstance(region, RegionSet) and isinstance(other, RegionSet):
        return (
            region.union is other.union
            and len(region.members) == len(other.members)
            and all(
                same_drawing(member, second, tolerance=tolerance)
                for member, second in zip(region.members, other.members, strict=True)
            )
        )
    if isinstance(region, Mask) and isinstance(other, Mask):
        (pixels, corner), (other_pixels, other_corner) = _cropped(region), _cropped(other)
        return corner == other_corner and np.array_equal(pixels, other_pixels)
    # A polygon may be a box, and a trace of one point shows what a point does.
    alike = {"box", "polygon"}, {"trace", "point"}
    if region.kind != other.kind and {region.kind, other.kind} not in alike:
        return False
    if region.kind in _RINGS:
        return _same_rings(region.coords(), other.coords(), tolerance)
    return _close(region.coords(), other.coords(), tolerance)


def _close(points: FloatArray, others: FloatArray, tolerance: float) -> bool:
    return points.shape == others.shape and bool((abs(points - others) <= tolerance).all())


def _same_rings(ring: FloatArray, other: FloatArray, tolerance: float) -> bool:
    """Whether two rings are one, begun at any vertex and run in either direction."""
    if ring.shape != other.shape or not len(ring):
        return False
    starts = np.flatnonzero((abs(other - ring[0]) <= tolerance).all(axis=1)).tolist()
    forward = [np.roll(other, -start, axis=0) for start in starts]
    backward = [np.roll(other[::-1], start + 1, axis=0) for start in starts]
    return any(_close(ring, turned, tolerance) for turned in (*forward, *backward))


def _cropped(mask: Mask) -> tuple[npt.NDArray[np.bool_], tuple[int, ...]]:
    """Return the pixels of a mask without empty rows and columns around, and where they begin."""
    pixels = np.asarray(mask.pixels, bool)
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return pixels[:0, :0], (0, 0)
    cropped = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cropped, (mask.offset[0] + int(rows[0]), mask.offset[1] + int(columns[0]))
