"""The rectangle around a region."""

from __future__ import annotations

import numpy as np

from napari_patchioner.errors import RegionError

from ._areas import box_corners, ellipse_vertices, finite
from ._shapes import Box, Ellipse, Mask, Point, Polygon, Region, RegionSet, Trace


def bounds(region: Region) -> Box:
    """Return the smallest box around a region.

    Parameters
    ----------
    region : Region
        Anything but a whole image, whose size only the image knows.

    Returns
    -------
    Box
        In image pixels; of no height or width around a point or a straight line.

    Raises
    ------
    RegionError
        The region has no points, they are not finite, or it is a whole image.

    Examples
    --------
    >>> from napari_patchioner.regions import Trace
    >>> bounds(Trace(np.array([[3.0, 9.0], [5.0, 2.0]])))
    Box(top=3.0, left=2.0, bottom=5.0, right=9.0)
    """
    if isinstance(region, RegionSet):
        if not region.members:
            raise RegionError("A set of regions needs at least one region, and none that is a set.")
        around = [bounds(member) for member in region.members]
        tops, lefts = [box.top for box in around], [box.left for box in around]
        bottoms, rights = [box.bottom for box in around], [box.right for box in around]
        return Box(min(tops), min(lefts), max(bottoms), max(rights))
    points = _points(region)
    (top, left), (bottom, right) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Box(top, left, bottom, right)


def _points(region: Region) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Points around a region, shape (n, 2)."""
    if isinstance(region, Point):
        return finite(np.array([[region.row, region.column]], float))
    if isinstance(region, Box):
        return finite(box_corners(region))
    if isinstance(region, Ellipse):
        return ellipse_vertices(region)
    if isinstance(region, Polygon):
        return finite(np.asarray(region.vertices, float))
    if isinstance(region, Trace):
        return finite(np.asarray(region.points, float))
    if isinstance(region, Mask):
        pixels = np.argwhere(region.pixels)
        if not len(pixels):
            raise RegionError("The mask is empty: paint at least one pixel.")
        low, high = pixels.min(axis=0) - 0.5, pixels.max(axis=0) + 0.5
        return np.array([low, high]) + region.offset
    raise RegionError("The whole image has no box of its own: ask the image for its size.")
