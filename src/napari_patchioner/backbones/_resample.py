"""From the grid of one size to the common grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def resample(features: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Interpolate a grid of vectors linearly to another number of rows and columns.

    Parameters
    ----------
    features : ndarray of float32, shape (rows, columns, dim)
    shape : tuple of int
        Rows and columns wanted; both grids cover the same image.

    Returns
    -------
    ndarray of float32, shape (*shape, dim)
    """
    across = interpolation(features.shape[1], shape[1]) @ features
    down = interpolation(features.shape[0], shape[0]) @ across.reshape(len(features), -1)
    return down.reshape(*shape, features.shape[2])


def interpolation(cells: int, wanted: int) -> npt.NDArray[np.float32]:
    """Matrix, shape (wanted, cells), that interpolates between cell centres.

    Examples
    --------
    >>> interpolation(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = np.clip((np.arange(wanted) + 0.5) * cells / wanted - 0.5, 0, cells - 1)
    lower = np.floor(centres).astype(int)
    upper = np.minimum(lower + 1, cells - 1)
    share = (centres - lower).astype(np.float32)
    matrix = np.zeros((wanted, cells), np.float32)
    matrix[np.arange(wanted), lower] += 1 - share
    matrix[np.arange(wanted), upper] += share
    return matrix
