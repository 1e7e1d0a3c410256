"""The exact share of every patch that an outline encloses."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ._pieces import pieces

FloatArray: TypeAlias = npt.NDArray[np.float64]


def ring_areas(ring: FloatArray, grid_shape: tuple[int, int]) -> FloatArray:
    """Measure the part of each patch that lies inside a closed outline.

    Every piece of the outline adds the signed area between itself and the right border of the
    grid; summed over a closed ring what is left is the enclosed area, without rasterising.

    Parameters
    ----------
    ring : ndarray of float, shape (n, 2)
        ``(row, column)`` of the vertices in patch units; the last joins the first. It must not
        cross itself.
    grid_shape : tuple of int
        ``(rows, columns)``; what lies outside is cut off.

    Returns
    -------
    ndarray of float, shape (rows, columns)
        Covered fraction of each patch, 0..1.

    Examples
    --------
    >>> ring_areas(np.array([[0, 0], [0, 1.5], [1, 1.5], [1, 0]]), (1, 3))
    array([[1. , 0.5, 0. ]])
    """
    n_rows, n_columns = grid_shape
    starts, ends = pieces(ring, np.roll(ring, -1, axis=0), grid_shape)
    middle = (starts + ends) / 2
    inside = (middle[:, 0] > 0) & (middle[:, 0] < n_rows) & (starts[:, 0] != ends[:, 0])
    row, position = middle[inside, 0].astype(np.int64), middle[inside, 1].clip(0, n_columns)
    rise = ends[inside, 0] - starts[inside, 0]
    column = np.minimum(position.astype(np.int64), n_columns)
    beyond = position - column
    width = n_columns + 2
    flat = row * width + column
    change = np.bincount(flat, rise * (1 - beyond), n_rows * width)
    change += np.bincount(flat + 1, rise * beyond, n_rows * width)
    signed = change.reshape(n_rows, width).cumsum(axis=1)[:, :n_columns]
    return np.asarray(np.clip(np.abs(signed), 0.0, 1.0))
