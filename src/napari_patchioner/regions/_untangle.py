"""Take out the small loops that a shaky hand leaves in a lasso."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from ._areas import finite
from ._outline import crosses_itself, is_tangled, signed_area

FloatArray: TypeAlias = npt.NDArray[np.float64]

_EDGES_AT_ONCE = 64


def untangle(vertices: FloatArray, tolerance: float = 0.05) -> FloatArray:
    """Cut an outline where it crosses itself and keep its largest loop, if the others are small.

    Loops that are too large to be an accident are what was drawn: the outline stays as it is.

    Parameters
    ----------
    vertices : ndarray of float, shape (n, 2)
        ``(row, column)`` of the corners in image pixels; the last joins the first.
    tolerance : float
        Largest share of the area that the other loops may have together.

    Returns
    -------
    ndarray of float, shape (m, 2)
        An outline that does not cross itself; the same vertices if it did not before, or does so
        on purpose.

    Raises
    ------
    RegionError
        The points are none or not finite.

    Examples
    --------
    >>> lasso = np.array([[0, 0], [0, 9.0], [9, 9], [9, 0.2], [8.9, -0.1], [9, -0.1]])
    >>> untangle(lasso).round(1).tolist()
    [[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.2], [8.9, -0.1]]
    """
    vertices = finite(np.asarray(vertices, float))
    if not crosses_itself(vertices) or is_tangled(vertices):
        return vertices
    loops = _loops(vertices)
    sizes = [signed_area(loop) for loop in loops]
    largest = int(np.argmax(sizes))
    if sum(sizes) - sizes[largest] > tolerance * sum(sizes) or crosses_itself(loops[largest]):
        return vertices
    return loops[largest]


def _loops(vertices: FloatArray) -> list[FloatArray]:
    """Cut the path into closed parts each time it comes back to a place where it was."""
    # Rounded, so that a place met twice is the same place in spite of floating point.
    walk = _with_crossings(vertices).round(6)
    loops: list[FloatArray] = []
    path: list[tuple[float, float]] = []
    reached: dict[tuple[float, float], int] = {}
    for row, column in walk.tolist():
        place = (row, column)
        if place in reached:
            start = reached[place]
            loops.append(np.array(path[start:]))
            for left in path[start:]:
                del reached[left]
            del path[start:]
        reached[place] = len(path)
        path.append(place)
    return [loop for loop in [*loops, np.array(path)] if len(loop) > 2] or [vertices]


def _with_crossings(vertices: FloatArray) -> FloatArray:
    """Insert each crossing into both edges that cross there, shape (m, 2)."""
    starts, steps = vertices, np.roll(vertices, -1, axis=0) - vertices
    edge, share, place = [np.arange(len(vertices))], [np.zeros(len(vertices))], [vertices]
    boxes = _boxes(vertices)
    tree = shapely.STRtree(boxes)
    for first in range(0, len(vertices), _EDGES_AT_ONCE):
        i, j = tree.query(boxes[first : first + _EDGES_AT_ONCE])
        i, j = (i + first)[i + first < j], j[i + first < j]
        # Edge i against later ones near it: starts[i] + s * steps[i] = starts[j] + t * steps[j].
        gap, own, others = starts[j] - starts[i], steps[i], steps[j]
        scale = own[:, 0] * others[:, 1] - own[:, 1] * others[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            s = (gap[:, 0] * others[:, 1] - gap[:, 1] * others[:, 0]) / scale
            t = (gap[:, 0] * own[:, 1] - gap[:, 1] * own[:, 0]) / scale
        # A corner that lies on another edge counts as a crossing.
        apart = np.maximum(np.abs(s - 0.5), np.abs(t - 0.5))
        cross = np.flatnonzero(apart <= 0.5 + 1e-9)
        points = starts[i[cross]] + s[cross, None] * own[cross]
        edge += [i[cross], j[cross]]
        share += [s[cross].clip(0, 1), t[cross].clip(0, 1)]
        place += [points, points]
    order = np.lexsort((np.concatenate(share), np.concatenate(edge)))
    return np.concatenate(place)[order]


def _boxes(vertices: FloatArray) -> npt.NDArray[np.object_]:
    """Return a rectangle around each edge, a little larger than that."""
    after = np.roll(vertices, -1, axis=0)
    little = 1e-8 * float(np.ptp(vertices, axis=0).max())
    low, high = np.minimum(vertices, after) - little, np.maximum(vertices, after) + little
    return np.asarray(shapely.box(*low.T, *high.T))
