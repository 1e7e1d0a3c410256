"""Cut straight edges where they pass from one patch to the next."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]


def pieces(
    starts: FloatArray, ends: FloatArray, grid_shape: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Split edges at the patch borders of a grid.

    Parameters
    ----------
    starts, ends : ndarray of float, shape (n, 2)
        ``(row, column)`` of both ends of each edge in patch units, anywhere.
    grid_shape : tuple of int
        ``(rows, columns)``; only its lines cut, so an edge outside stays whole.

    Returns
    -------
    starts, ends : ndarray of float, shape (m, 2)
        The same path in pieces, none of which crosses a patch border.
    """
    cuts = [_crossings(starts[:, axis], ends[:, axis], grid_shape[axis]) for axis in (0, 1)]
    edge = np.concatenate([np.arange(len(starts)), cuts[0][0], cuts[1][0]])
    share = np.concatenate([np.zeros(len(starts)), cuts[0][1], cuts[1][1]])
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order]
    steps = ends[edge] - starts[edge]
    cut = starts[edge] + share[:, None] * steps
    last = np.append(edge[1:] != edge[:-1], True)
    following = np.where(last[:, None], ends[edge], np.roll(cut, -1, axis=0))
    return cut, following


def _crossings(
    start: FloatArray, end: FloatArray, n_patches: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Edge number and share of the way (0..1) of every crossing with the lines 0..n_patches."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    first = np.clip(np.floor(low) + 1, 0, n_patches + 1)
    stop = np.clip(np.ceil(high), 0, n_patches + 1)
    counts = np.maximum(stop - first, 0).astype(np.int64)
    edge = np.repeat(np.arange(len(start)), counts)
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    line = first[edge] + rank
    return edge, (line - start[edge]) / (end[edge] - start[edge])
