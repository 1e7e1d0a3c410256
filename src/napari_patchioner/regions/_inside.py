"""Where the image ends under a grid that reaches beyond it, as one in tiles may."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._placement import Placement

FloatArray: TypeAlias = npt.NDArray[np.float64]

_ROUNDING = 1e-6


def image_edges(transform: Placement) -> FloatArray | None:
    """Return the lowest and highest ``(row, column)`` of the image in patch units.

    None where no patch reaches beyond the image, so that nothing has to be cut off.
    """
    if transform.window is None:
        return None
    ends = np.asarray(transform.image_shape, float) - 0.5
    edges = transform.to_grid(np.array([[-0.5, -0.5], ends]))
    limits = np.array([[0, 0], transform.grid_shape], float)
    if (edges[0] <= limits[0] + _ROUNDING).all() and (edges[1] >= limits[1] - _ROUNDING).all():
        return None
    return edges


def cut(ring: FloatArray, edges: FloatArray) -> FloatArray:
    """Cut an outline at the edges of the image, by Sutherland and Hodgman.

    Parameters
    ----------
    ring : ndarray of float, shape (n, 2)
        ``(row, column)`` of the vertices in patch units; the last joins the first.
    edges : ndarray of float, shape (2, 2)
        From `image_edges`.

    Returns
    -------
    ndarray of float, shape (m, 2)
        What is enclosed inside the edges; parts of it may be joined along an edge. Empty if there
        is nothing.
    """
    for axis in (0, 1):
        for edge, sign in ((edges[0, axis], 1.0), (edges[1, axis], -1.0)):
            ring = _beside(ring, axis, edge, sign)
    return ring


def _beside(ring: FloatArray, axis: int, edge: float, sign: float) -> FloatArray:
    """Keep what lies on one side of a line."""
    depth = sign * (ring[:, axis] - edge)
    if not len(ring) or (depth >= 0).all():
        return ring
    kept: list[FloatArray] = []
    for here, there, this, other in zip(
        ring, np.roll(ring, -1, axis=0), depth, np.roll(depth, -1), strict=True
    ):
        if this >= 0:
            kept.append(here)
        if (this >= 0) != (other >= 0):
            crossing = here + (there - here) * (this / (this - other))
            crossing[axis] = edge
            kept.append(crossing)
    return np.array(kept).reshape(-1, 2)
