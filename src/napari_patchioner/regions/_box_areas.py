"""The exact share of every patch that a rectangle encloses."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]


def box_areas(corners: FloatArray, grid_shape: tuple[int, int]) -> FloatArray:
    """Measure the part of each patch that lies inside an axis-aligned rectangle.

    Parameters
    ----------
    corners : ndarray of float, shape (2, 2)
        ``(row, column)`` of the lowest and of the highest corner in patch units.
    grid_shape : tuple of int
        ``(rows, columns)``; what lies outside is cut off.

    Returns
    -------
    ndarray of float, shape (rows, columns)
        Covered fraction of each patch, 0..1.
    """
    shares = [
        overlaps(corners[0, axis], corners[1, axis], np.arange(grid_shape[axis] + 1.0))
        for axis in (0, 1)
    ]
    return np.outer(shares[0], shares[1])


def overlaps(low: float, high: float, edges: FloatArray) -> FloatArray:
    """Length that the interval shares with each of the bins between ascending edges."""
    shared = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.asarray(np.maximum(shared, 0.0))
