"""Windows of many sizes over a grid, what a map of them looks like, and boxes around its peaks."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray: TypeAlias = npt.NDArray[np.float32]
Scores: TypeAlias = npt.NDArray[np.float64]

SCALES = ((1.0, 1), (0.7, 3), (0.5, 5), (0.35, 7), (0.25, 9), (0.17, 13), (0.12, 17))
"""Side of the windows as a share of the grid's, and how many are laid each way."""
FEW_SCALES = ((1.0, 1), (0.5, 3), (0.3, 5))
"""Those where each takes a pass through a network."""
SOME_SCALES = ((1.0, 1), (0.6, 3), (0.35, 5), (0.2, 7))
"""Those where each is described in words."""

# Cells of a heat map for a cell of the grid, and windows no larger than this make it.
_FINER, _LARGEST = 2, 0.5
# Shares of a peak at which its hill is cut to boxes.
_CUTS = (0.35, 0.5, 0.65, 0.8)
# The ring around a box, of its sides, that should show something else.
_RING = 0.35


def places(scales: Sequence[tuple[float, int]] = SCALES) -> Scores:
    """Return ``(top, left, bottom, right)`` of every window, shape (n, 4), from 0 to 1."""
    return _places(tuple(scales)).copy()


@lru_cache(maxsize=8)
def _places(scales: tuple[tuple[float, int], ...]) -> Scores:
    boxes = []
    for side, steps in scales:
        starts = np.linspace(0, 1 - side, steps)
        boxes += [(top, left, top + side, left + side) for top in starts for left in starts]
    return np.array(boxes, float)


_last: tuple[weakref.ref[FloatArray], object, FloatArray] | None = None


def pooled(cells: FloatArray, scales: Sequence[tuple[float, int]] = SCALES) -> FloatArray:
    """Mean of a grid, shape (rows, columns, dim), in every window, shape (n, dim).

    Those of the last grid are kept, and are the same array then: one phrase follows another.
    """
    global _last
    last = _last
    if last is None or last[0]() is not cells or last[1] != scales:
        # It loads torch, as all captioners have done already.
        from napari_patchioner.bridges.things import pool_windows

        last = _last = weakref.ref(cells, _forget), scales, pool_windows(cells, scales)
    return last[2]


def _forget(gone: weakref.ref[FloatArray]) -> None:
    """Keep nothing of a grid that is gone."""
    global _last
    last = _last
    if last is not None and last[0] is gone:
        _last = None


class BoxSums:
    """Means of a grid, shape (rows, columns, dim), in boxes anywhere on it, by summed areas."""

    def __init__(self, cells: npt.NDArray[np.floating]) -> None:
        self.shape = cells.shape[:2]
        sums = np.zeros((self.shape[0] + 1, self.shape[1] + 1, cells.shape[2]))
        np.cumsum(np.cumsum(cells, 0, dtype=np.float64), 1, out=sums[1:, 1:])
        self._sums = sums

    def means(self, boxes: Scores) -> Scores:
        """Return means in boxes given from 0 to 1, shape (n, dim)."""
        edges = boxes * np.tile(self.shape, 2)
        top, left, bottom, right = edges.T
        total = (
            self._at(bottom, right)
            - self._at(top, right)
            - self._at(bottom, left)
            + self._at(top, left)
        )
        areas = np.maximum((bottom - top) * (right - left), 1e-9)
        return np.asarray(total / areas[:, None])

    def _at(self, rows: Scores, columns: Scores) -> Scores:
        """Return the sums up to somewhere within a cell, interpolated."""
        first, left = (
            np.clip(np.floor(along), 0, count - 1).astype(int)
            for along, count in zip((rows, columns), self.shape, strict=True)
        )
        down, across = (rows - first)[:, None], (columns - left)[:, None]
        upper = self._sums[first, left] * (1 - across) + self._sums[first, left + 1] * across
        lower = (
            self._sums[first + 1, left] * (1 - across) + self._sums[first + 1, left + 1] * across
        )
        return np.asarray(upper * (1 - down) + lower * down)


def heat_of(
    chances: Scores, scales: Sequence[tuple[float, int]], grid_shape: tuple[int, int]
) -> FloatArray:
    """Spread the chances of windows over what they cover, (rows, columns), the most as the best.

    Cells of half a patch. What a small window shows counts as much as what a large one does.
    """
    shape = tuple(_FINER * side for side in grid_shape)
    heat, first = np.zeros(shape), 0
    used = [scale for scale in scales if scale[0] <= _LARGEST] or list(scales)
    for side, steps in scales:
        values = chances[first : first + steps**2].reshape(steps, steps)
        first += steps**2
        if (side, steps) in used:
            down, across = (_spread(side, steps, count) for count in shape)
            heat += down.T @ values @ across / len(used)
    most = heat.max()
    return np.asarray(heat * (chances.max() / most) if most > 0 else heat, np.float32)


@lru_cache(maxsize=64)
def _spread(side: float, steps: int, cells: int) -> Scores:
    """Return how much windows along one side count in each cell; columns sum to one."""
    middles = (np.arange(cells) + 0.5) / cells
    centres = np.linspace(side / 2, 1 - side / 2, steps)[:, None]
    # A bell that ends at the window's edges.
    shares = np.clip(1 - np.abs(middles - centres) / (side / 2), 0, None) + 1e-6
    return np.asarray(shares / shares.sum(0))


def boxes_around(heat: FloatArray, least: float) -> Scores:
    """Return the boxes around the hills of a heat map at several heights, shape (n, 4), 0 to 1.

    Hills lower than ``least`` are left out.
    """
    size = max(3, min(heat.shape) // 12)
    tops = (heat == ndimage.maximum_filter(heat, size=size)) & (heat > least)
    heights = sorted({float(height) for height in np.round(heat[tops], 2)}, reverse=True)[:12]
    boxes: set[tuple[float, ...]] = set()
    for height in heights:
        for cut in _CUTS:
            hills, _ = ndimage.label(heat >= cut * height)
            for down, across in ndimage.find_objects(hills):
                rows, columns = heat.shape
                boxes.add(
                    (
                        *(down.start / rows, across.start / columns),
                        *(down.stop / rows, across.stop / columns),
                    )
                )
    return np.array(sorted(boxes), float).reshape(-1, 4)


def contrast(heat: FloatArray, boxes: Scores) -> Scores:
    """Say how much hotter boxes are than the ring around each, 0 to 1, shape (n,)."""
    sums = BoxSums(heat[..., None])
    inside = sums.means(boxes)[:, 0]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2) * np.array([-1, -1, 1, 1]) * _RING
    wide = np.clip(boxes + sides, 0, 1)
    areas, all_areas = _areas(boxes), _areas(wide)
    ring = sums.means(wide)[:, 0] * all_areas - inside * areas
    outside = ring / np.maximum(all_areas - areas, 1e-6)
    # A box that fills the picture has nothing around it, and loses nothing by it.
    outside = np.where(all_areas - areas > 1e-3, outside, 0.0)
    return np.asarray(np.clip(inside - outside, 0, 1) / max(float(heat.max()), 1e-6))


def _areas(boxes: Scores) -> Scores:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
