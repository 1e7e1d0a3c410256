"""Appearance axes: what can be measured in every patch without knowing what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..bridges.appearance import AXES

if TYPE_CHECKING:
    import numpy.typing as npt


def appearance_axes(
    rgb: npt.NDArray[np.uint8], grid_shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Measure colour, texture, spots and lines in every patch of an image.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The image.
    grid_shape : (int, int)
        Rows and columns of the grid, which covers the whole image evenly.

    Returns
    -------
    ndarray of float32, shape (rows, columns, len(AXES))
        Additive statistics: their mean over any patches describes the region they make up.
    """
    return np.zeros((*grid_shape, len(AXES)), np.float32)
