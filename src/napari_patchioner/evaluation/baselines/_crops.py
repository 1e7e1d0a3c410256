"""The part of a picture that a region lies in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.grids import GridTransform
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
    cover,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

AnyArray: TypeAlias = npt.NDArray[Any]
Bounds: TypeAlias = tuple[float, float, float, float]

# A picture of a single row or column is none.
_SMALLEST = 2


def crop(image: AnyArray, region: Region) -> AnyArray:
    """Cut out the bounding box of a region.

    Parameters
    ----------
    image : ndarray, shape (height, width) or (height, width, channels)
        The picture.
    region : Region
        In ``(row, column)`` image pixels, pixel centres at integers.

    Returns
    -------
    ndarray
        Every pixel that the box touches, within the image, at least two rows and columns where
        the image has them; a view.

    Raises
    ------
    RegionError
        If the region lies outside the image or has no sensible outline.

    Examples
    --------
    >>> crop(np.zeros((20, 30)), Box(2.5, 3.5, 6.5, 9.5)).shape
    (4, 6)
    """
    shape = image.shape[:2]
    cover(region, GridTransform((shape[0], shape[1]), (1, 1)))
    top, left, bottom, right = bounds(region, (shape[0], shape[1]))
    rows = _pixels(top, bottom, shape[0])
    columns = _pixels(left, right, shape[1])
    return image[rows, columns]


def bounds(region: Region, shape: tuple[int, int]) -> Bounds:
    """Edges of a region's box, ``(top, left, bottom, right)``, in image pixels.

    Parameters
    ----------
    region : Region
        Points are a pixel wide.
    shape : tuple of int
        ``(height, width)`` of the image.
    """
    match region:
        case WholeImage():
            return (-0.5, -0.5, shape[0] - 0.5, shape[1] - 0.5)
        case Box():
            return (region.top, region.left, region.bottom, region.right)
        case Point():
            return _around(np.array([[region.row, region.column]]), 0.5)
        case Polygon():
            return _around(region.vertices, 0.0)
        case Trace():
            return _around(region.points, 0.5)
        case Mask():
            return _around(np.argwhere(region.pixels) + region.offset, 0.5)
        case Ellipse():
            return _of_ellipse(np.asarray(region.corners, float))
        case RegionSet():
            return _union(bounds(member, shape) for member in region.members)


def _around(points: npt.NDArray[Any], margin: float) -> Bounds:
    (top, left), (bottom, right) = points.min(axis=0) - margin, points.max(axis=0) + margin
    return (float(top), float(left), float(bottom), float(right))


def _of_ellipse(corners: npt.NDArray[np.float64]) -> Bounds:
    """Box of an ellipse in a rectangle that may be rotated: half axes add up in squares."""
    axes = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    reach = np.hypot(*axes)
    middle = corners.mean(axis=0)
    return _around(np.stack([middle - reach, middle + reach]), 0.0)


def _union(boxes: Iterable[Bounds]) -> Bounds:
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return (min(tops), min(lefts), max(bottoms), max(rights))


def _pixels(low: float, high: float, length: int) -> slice:
    """Pixels that an interval touches, within the image."""
    first = min(max(math.floor(low + 0.5), 0), max(length - _SMALLEST, 0))
    last = min(math.ceil(high + 0.5), length)
    return slice(first, max(last, first + _SMALLEST))
