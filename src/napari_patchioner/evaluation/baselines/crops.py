"""The part of a picture that a region lies in."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy.typing as npt

from napari_patchioner.grids import GridTransform
from napari_patchioner.regions import Region, cover

AnyArray: TypeAlias = npt.NDArray[Any]

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
    >>> import numpy as np
    >>> from napari_patchioner.regions import Box
    >>> crop(np.zeros((20, 30)), Box(2.5, 3.5, 6.5, 9.5)).shape
    (4, 6)
    """
    shape = image.shape[:2]
    cover(region, GridTransform((shape[0], shape[1]), (1, 1)))
    if any(part.kind == "image" for part in region.parts()):
        return image
    around = region.bounds()
    rows = _pixels(around.top, around.bottom, shape[0])
    columns = _pixels(around.left, around.right, shape[1])
    return image[rows, columns]


def _pixels(low: float, high: float, length: int) -> slice:
    """Pixels that an interval touches, within the image."""
    first = min(max(math.floor(low + 0.5), 0), max(length - _SMALLEST, 0))
    last = min(math.ceil(high + 0.5), length)
    return slice(first, max(last, first + _SMALLEST))
