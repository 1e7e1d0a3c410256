"""The exact share of every patch that a set of pixels fills."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ._box_areas import overlaps

FloatArray: TypeAlias = npt.NDArray[np.float64]


def mask_areas(
    pixels: npt.NDArray[np.bool_], corners: FloatArray, grid_shape: tuple[int, int]
) -> FloatArray:
    """Measure the part of each patch that lies under the pixels of a mask.

    A pixel is a square, not a dot: one that lies over a patch border gives each side its part.

    Parameters
    ----------
    pixels : ndarray of bool, shape (height, width)
        The mask.
    corners : ndarray of float, shape (2, 2)
        ``(row, column)`` of the outer corners of the first and of the last pixel, in patch units.
    grid_shape : tuple of int
        ``(rows, columns)``; what lies outside is cut off.

    Returns
    -------
    ndarray of float, shape (rows, columns)
        Covered fraction of each patch, 0..1.
    """
    edges = [
        np.linspace(corners[0, axis], corners[1, axis], pixels.shape[axis] + 1) for axis in (0, 1)
    ]
    areas = np.zeros(grid_shape)
    columns = _bins(edges[1], grid_shape[1])
    for row, first, shares in _bins(edges[0], grid_shape[0]):
        # One patch row at a time, so that a mask of a large plane is never copied as floats.
        profile = shares @ pixels[first : first + len(shares)]
        for column, start, widths in columns:
            areas[row, column] = profile[start : start + len(widths)] @ widths
    return areas.clip(0.0, 1.0)


def _bins(edges: FloatArray, n_patches: int) -> list[tuple[int, int, FloatArray]]:
    """Return for each patch its number, the first pixel it meets and its length over each pixel."""
    found = []
    for patch in range(max(0, int(edges[0])), min(n_patches, int(np.ceil(edges[-1])))):
        first = max(int(np.searchsorted(edges, patch, side="right")) - 1, 0)
        stop = int(np.searchsorted(edges, patch + 1, side="left"))
        found.append((patch, first, overlaps(patch, patch + 1, edges[first : stop + 1])))
    return found
