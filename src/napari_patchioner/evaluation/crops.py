"""The part of a picture that a region lies in."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from napari_patchioner.grids import GridTransform
from napari_patchioner.regions import Region, cover

# A picture of a single row or column is none.
_SMALLEST = 2


def crop(image: npt.NDArray[Any], region: Region) -> npt.NDArray[Any]:
    """Cut out the bounding box of a region, ``(row, column)`` pixels with centres at integers.

    Returns every pixel that the box touches, within the image, at least two rows and columns where
    the image has them; a view. A RegionError if the region lies outside the image or has no
    sensible outline.

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
    window = []
    for low, high, length in (
        (around.top, around.bottom, shape[0]),
        (around.left, around.right, shape[1]),
    ):
        first = min(max(math.floor(low + 0.5), 0), max(length - _SMALLEST, 0))
        last = min(math.ceil(high + 0.5), length)
        window.append(slice(first, max(last, first + _SMALLEST)))
    return image[tuple(window)]
