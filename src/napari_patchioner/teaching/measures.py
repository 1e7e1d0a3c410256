"""What is measured of pixels under a box: rings around its middle, colours and textures."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
Boxes: TypeAlias = npt.NDArray[np.float64]
"""Boxes as (top, left, bottom, right), shape (n, 4), pixel corners at integers."""

CELLS = 8
"""Cells of the lattice along each side of a box."""
AROUND = 2
"""Cells beyond each side, which show the surroundings."""
SIDE = CELLS + 2 * AROUND
PLANES = 6
RINGS = 6
PROFILE = RINGS * (PLANES + 3)
COLOURS = 5 * 3 + 2 * PLANES
MARGIN = 16
"""Pixels around a cut that its textures depend on."""

# Radii of the rings in half sides of the box.
_EDGES = (0.0, 0.35, 0.6, 0.85, 1.1, 1.45, 9.0)
_FINE, _MEDIUM, _TRUNCATE = 1.4, 4.0, 3.0
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
# Björn Ottosson's matrices, https://bottosson.github.io/posts/oklab.
_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def oklab(rgb: npt.NDArray[np.uint8]) -> FloatArray:
    """Convert sRGB, shape (..., 3), to lightness and two colour axes of Oklab, times 100.

    >>> oklab(np.array([[0, 0, 0], [255, 255, 255]], np.uint8)).round().tolist()
    [[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]]
    """
    cones = _linear_light()[rgb] @ np.array(_TO_CONES, np.float32).T
    lab = np.cbrt(cones) @ (100 * np.array(_TO_LAB, np.float32).T)
    return np.asarray(lab, np.float32) + np.float32(0)


@cache
def _linear_light() -> FloatArray:
    """Return how much light each byte of sRGB stands for, shape (256,)."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def measured_planes(rgb: npt.NDArray[np.uint8]) -> FloatArray:
    """Return lightness, two colours, fine and medium contrast and slope, shape (h, w, 6)."""
    from scipy import ndimage  # not before it is needed: it takes a while

    lab = oklab(rgb)
    lightness = lab[..., 0]
    fine, medium = (
        ndimage.gaussian_filter(lightness, sigma, truncate=_TRUNCATE) for sigma in (_FINE, _MEDIUM)
    )
    slopes = [
        np.gradient(fine, axis=axis) if fine.shape[axis] > 1 else np.zeros_like(fine)
        for axis in (0, 1)
    ]
    textures = np.abs(lightness - fine), np.abs(fine - medium), np.hypot(*slopes)
    return np.dstack([lab, *textures]).astype(np.float32)


class BoxMeans:
    """Means of planes over any boxes, from sums over all rows and columns before a place.

    Parameters
    ----------
    planes : ndarray, shape (height, width, n)
        What to average.
    """

    def __init__(self, planes: npt.NDArray[Any]) -> None:
        self.height, self.width, count = planes.shape
        self._sums = np.zeros((self.height + 1, self.width + 1, count))
        np.cumsum(planes, axis=0, out=self._sums[1:, 1:], dtype=np.float64)
        np.cumsum(self._sums[1:, 1:], axis=1, out=self._sums[1:, 1:])

    def means(
        self,
        top: npt.NDArray[np.float64],
        left: npt.NDArray[np.float64],
        bottom: npt.NDArray[np.float64],
        right: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Return means over boxes given as arrays of one shape, shape (..., n).

        What lies outside is cut off; of a box wholly outside half of the nearest pixel is taken.
        """
        top, bottom = _cut(top, bottom, self.height)
        left, right = _cut(left, right, self.width)
        total = self._before(bottom, right) - self._before(top, right)
        total -= self._before(bottom, left) - self._before(top, left)
        return np.asarray(total / ((bottom - top) * (right - left))[..., None])

    def lattice(
        self, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64]
    ) -> FloatArray:
        """Return means between neighbouring rows and columns, shape (rows - 1, columns - 1, n).

        They rise, lie in the image, and are half a pixel apart at least.
        """
        sums = self._before(rows[:, None], columns[None])
        total = sums[1:, 1:] - sums[:-1, 1:]
        total -= sums[1:, :-1] - sums[:-1, :-1]
        areas = np.diff(rows)[:, None] * np.diff(columns)
        return np.asarray(total / areas[..., None], np.float32)

    def cells(self, boxes: Boxes) -> FloatArray:
        """Return means over the cells in and around each box, shape (boxes, SIDE * SIDE, n)."""
        steps = np.arange(-AROUND, CELLS + AROUND + 1) / CELLS
        down = boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * steps
        across = boxes[:, 1:2] + (boxes[:, 3:4] - boxes[:, 1:2]) * steps
        planes = self._sums.shape[-1]
        cells = np.empty((len(boxes), SIDE * SIDE, planes), np.float32)
        # Where nothing is to be cut off, neighbouring cells share their corners.
        plain = np.ones(len(boxes), bool)
        for edges, end in ((down, self.height), (across, self.width)):
            plain &= (edges[:, 0] >= 0) & (edges[:, -1] <= end)
            plain &= np.diff(edges, axis=1).min(axis=1) >= 0.5
        rows, columns = down[plain], across[plain]
        sums = self._before(rows[:, :, None], columns[:, None])
        total = sums[:, 1:, 1:] - sums[:, :-1, 1:]
        total -= sums[:, 1:, :-1] - sums[:, :-1, :-1]
        total /= (np.diff(rows)[:, :, None] * np.diff(columns)[:, None])[..., None]
        cells[plain] = total.reshape(len(rows), SIDE * SIDE, planes)
        cells[~plain] = self._cut_cells(down[~plain], across[~plain])
        return cells

    def _cut_cells(self, down: Boxes, across: Boxes) -> npt.NDArray[np.float64]:
        """Return those of boxes whose cells may lie outside, from the edges of the cells."""
        shape = (len(down), SIDE, SIDE)
        top, bottom = (
            np.broadcast_to(edge[:, :, None], shape) for edge in (down[:, :-1], down[:, 1:])
        )
        left, right = (
            np.broadcast_to(edge[:, None], shape) for edge in (across[:, :-1], across[:, 1:])
        )
        means = self.means(top, left, bottom, right)
        return means.reshape(len(down), SIDE * SIDE, means.shape[-1])

    def _before(
        self, row: npt.NDArray[np.float64], column: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the sums over all that is above and left of places between pixels."""
        i = np.minimum(row.astype(int), self.height - 1)
        j = np.minimum(column.astype(int), self.width - 1)
        down, across = (row - i)[..., None], (column - j)[..., None]
        sums = self._sums
        before = sums[i, j] * (1 - down) + sums[i + 1, j] * down
        after = sums[i, j + 1] * (1 - down) + sums[i + 1, j + 1] * down
        return np.asarray(before * (1 - across) + after * across)


def _cut(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], end: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    least = min(0.5, end)
    low = np.clip(low, 0, end - least)
    return low, np.maximum(np.clip(high, 0, end), low + least)


@cache
def ring_shares() -> FloatArray:
    """Return which share of each ring a cell has, shape (SIDE * SIDE, RINGS); columns sum to 1."""
    middle = (np.arange(SIDE) + 0.5 - SIDE / 2) / (CELLS / 2)
    radius = np.hypot(middle[:, None], middle[None]).ravel()
    edges = np.array(_EDGES)
    member = (radius[:, None] >= edges[:-1]) & (radius[:, None] < edges[1:])
    return np.asarray(member / member.sum(axis=0), np.float32)


def ring_profile(cells: FloatArray) -> FloatArray:
    """Return means of all planes and spreads of the first three in each ring, shape (n, PROFILE).

    The same however the thing in the box is turned or mirrored. ``cells`` are of
    :meth:`BoxMeans.cells`.
    """
    planes = cells.transpose(0, 2, 1)
    means = planes @ ring_shares()
    variance = (planes[:, :3] ** 2) @ ring_shares() - means[:, :3] ** 2
    count = len(cells)
    parts = means.reshape(count, -1), np.sqrt(np.maximum(variance, 0)).reshape(count, -1)
    return np.concatenate(parts, axis=1)


def colour_statistics(cells: FloatArray) -> FloatArray:
    """Return quantiles, mean and spread of colours and textures inside, shape (n, COLOURS)."""
    inner = slice(AROUND, AROUND + CELLS)
    inside = cells.reshape(len(cells), SIDE, SIDE, -1)[:, inner, inner]
    inside = inside.reshape(len(cells), CELLS * CELLS, -1)
    quantiles = np.quantile(inside[..., :3], _QUANTILES, axis=1).transpose(1, 0, 2)
    parts = quantiles.reshape(len(cells), -1), inside.mean(axis=1), inside.std(axis=1)
    return np.concatenate(parts, axis=1).astype(np.float32)
