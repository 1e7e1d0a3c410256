"""Which patches the points of a trace fall in."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ._areas import finite
from ._outside import OutsideError
from ._weights import PatchWeights

if TYPE_CHECKING:
    from ._placement import Placement

FloatArray: TypeAlias = npt.NDArray[np.float64]


def counts(points: FloatArray, transform: Placement, *, bridge: bool) -> PatchWeights:
    """Count the points in each patch (equation 2 of the paper); points outside are dropped.

    Parameters
    ----------
    points : ndarray of float, shape (n, 2)
        ``(row, column)`` in image pixels.
    transform : GridTransform
        Where the patches lie; a point on the far border belongs to the last patch.
    bridge : bool
        Put points into gaps wider than one patch.

    Returns
    -------
    PatchWeights
        Whole numbers.

    Raises
    ------
    RegionError
        No point, a point that is not finite, or none inside.
    """
    limits = np.array(transform.grid_shape)
    positions = transform.to_grid(finite(np.asarray(points, float)))
    if bridge:
        positions = bridged(positions, most=4 * int(limits.sum()))
    positions = positions[((positions >= 0) & (positions <= limits)).all(axis=1)]
    if not len(positions):
        raise OutsideError.beyond(transform)
    cells = np.minimum(positions.astype(np.int64), limits - 1)
    return PatchWeights.from_cells(cells[:, 0] * limits[1] + cells[:, 1], transform.grid_shape)


def bridged(positions: FloatArray, most: int) -> FloatArray:
    """Fill each gap longer than one patch with evenly spaced points at most one patch apart.

    Parameters
    ----------
    positions : ndarray of float, shape (n, 2)
        Trace in patch units.
    most : int
        Points put into one gap at the very most, for a pen that jumped far outside.

    Returns
    -------
    ndarray of float, shape (m, 2)
        The given points and the added ones, in order.
    """
    steps = np.diff(positions, axis=0)
    parts = np.clip(np.ceil(np.hypot(*steps.T) - 1e-9), 1, most).astype(np.int64)
    gap = np.repeat(np.arange(len(steps)), parts)
    rank = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    filled = positions[gap] + (rank / parts[gap])[:, None] * steps[gap]
    return np.concatenate([filled, positions[-1:]])
