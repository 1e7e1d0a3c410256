"""Round spots of any size: extrema of the scale-normalised Laplacian (Lindeberg 1998)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_patchioner.bridges.appearance import UNIT

if TYPE_CHECKING:
    import numpy.typing as npt

_SIGMAS = tuple(2.0 * 1.5**step for step in range(9))
_CONTRAST = 4.0
_ROUND = 0.35
_FILLED = 0.6


def find_spots(
    lightness: npt.NDArray[np.float32],
    lab: npt.NDArray[np.float32],
    noise: float,
    grid_shape: tuple[int, int],
) -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.bool_]]:
    """Count and measure dark and bright spots per patch.

    Parameters
    ----------
    lightness : ndarray, shape (height, width)
    lab : ndarray, shape (height, width, 3)
        Colours, Oklab times 100.
    noise : float
        Typical pixel noise in units of lightness; fainter spots do not count.
    grid_shape : (int, int)
        Rows and columns of the grid, which divides the image evenly.

    Returns
    -------
    axes : dict of str to ndarray, shape (rows, columns)
        The axes ``dark_spot_*`` and ``bright_spot_*``.
    covered : ndarray of bool, shape (height, width)
        Pixels inside some spot.
    """
    covered = np.zeros(lightness.shape, bool)
    stack = [_responses(lightness, sigma) for sigma in _SIGMAS]
    axes: dict[str, npt.NDArray[np.float32]] = {}
    for polarity, sign in (("dark", 1.0), ("bright", -1.0)):
        spots = _extrema(stack, sign, noise, lightness)
        axes |= _count(f"{polarity}_spot", spots, lab, grid_shape)
        _paint(covered, spots)
    return axes, covered


def _responses(
    lightness: npt.NDArray[np.float32], sigma: float
) -> tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Step of the coarse copy, Laplacian and spread of curvature on it."""
    step = max(1, int(sigma // 3))
    height, width = (side // step * step for side in lightness.shape)
    blocks = lightness[:height, :width].reshape(height // step, step, width // step, step)
    # Averaging blocks blurs a little already.
    left = np.sqrt((sigma / step) ** 2 - (1 - 1 / step**2) / 12)
    smooth = ndimage.gaussian_filter(blocks.mean((1, 3)), left, mode="nearest", truncate=3.0)
    if min(smooth.shape) < 3:
        return step, np.zeros_like(smooth), np.zeros_like(smooth)
    down, right = np.gradient(smooth)
    vertical, mixed = np.gradient(down)
    horizontal = np.gradient(right, axis=1)
    scale = np.float32((sigma / step) ** 2)
    spread = np.hypot(horizontal - vertical, 2 * mixed)
    return step, scale * (horizontal + vertical), scale * spread


def _extrema(
    stack: list[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    sign: float,
    noise: float,
    lightness: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Rows of (row, column, radius, roundness), strongest first, none inside a stronger one."""
    found = []
    for sigma, (step, laplacian, spread) in zip(_SIGMAS, stack, strict=True):
        response = sign * laplacian
        peak = response == ndimage.maximum_filter(response, 3, mode="nearest")
        peak &= response > _CONTRAST + 3 * noise / sigma
        rows, columns = np.nonzero(peak)
        strength = response[rows, columns]
        # Ratio of the two curvatures: 1 for a disc, 0 for a line, negative on a saddle.
        ratio = (strength - spread[rows, columns]) / (strength + spread[rows, columns])
        radius = np.full(len(rows), sigma * np.sqrt(2.0))
        found.append(
            np.stack([(rows + 0.5) * step, (columns + 0.5) * step, radius, ratio, strength], 1)
        )
    spots = np.concatenate(found)
    spots = spots[np.argsort(-spots[:, 4], kind="stable")]
    inside = (spots[:, :2] < lightness.shape).all(1)
    return _thin(spots[inside], sign * lightness)


def _thin(
    spots: npt.NDArray[np.float64], depth: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Drop spots whose centre lies inside a stronger one, then those that are no filled disc."""
    taken = np.zeros(depth.shape, bool)
    kept = []
    for spot in spots:
        row, column, radius = int(spot[0]), int(spot[1]), spot[2]
        if taken[row, column]:
            continue
        _disc(taken, row, column, radius)
        if spot[3] > _ROUND and _filled(depth, row, column, radius) > _FILLED:
            kept.append(spot[:4])
    return np.asarray(kept, np.float32).reshape(-1, 4)


def _filled(depth: npt.NDArray[np.float32], row: int, column: int, radius: float) -> float:
    """Share of the disc that looks like its middle; where lines cross it is mostly ground."""
    reach = int(np.ceil(1.7 * radius))
    top, left = max(row - reach, 0), max(column - reach, 0)
    view = depth[top : row + reach + 1, left : column + reach + 1]
    rows = np.arange(top, top + view.shape[0]) - row
    columns = np.arange(left, left + view.shape[1]) - column
    away = rows[:, None] ** 2 + columns**2
    middle = view[away <= max(1.0, (0.35 * radius) ** 2)].mean()
    border = (middle + view[away > (1.3 * radius) ** 2].mean()) / 2
    return float((view[away <= (0.8 * radius) ** 2] < border).mean())


def _disc(mask: npt.NDArray[np.bool_], row: int, column: int, radius: float) -> None:
    reach = int(np.ceil(radius))
    top, left = max(row - reach, 0), max(column - reach, 0)
    view = mask[top : row + reach + 1, left : column + reach + 1]
    rows = np.arange(top, top + view.shape[0]) - row
    columns = np.arange(left, left + view.shape[1]) - column
    view |= rows[:, None] ** 2 + columns**2 <= radius**2


def _paint(covered: npt.NDArray[np.bool_], spots: npt.NDArray[np.float32]) -> None:
    for row, column, radius, _ in spots:
        _disc(covered, int(row), int(column), 1.15 * float(radius))


def _count(
    prefix: str,
    spots: npt.NDArray[np.float32],
    lab: npt.NDArray[np.float32],
    grid_shape: tuple[int, int],
) -> dict[str, npt.NDArray[np.float32]]:
    """Sum the spots of every patch; counts per square of side ``UNIT``, areas in patches."""
    rows, columns = grid_shape
    height, width = lab.shape[0] // rows, lab.shape[1] // columns
    row, column = spots[:, 0].astype(int), spots[:, 1].astype(int)
    patch = row // height * columns + column // width
    density = UNIT**2 / (height * width)
    area = np.pi * spots[:, 2] ** 2 / UNIT**2
    colour = lab[row, column]
    weights = {
        "count": np.ones(len(spots)),
        "area": area,
        "area_squared": area**2,
        "roundness": spots[:, 3],
        "lightness": colour[:, 0],
        "green_red": colour[:, 1],
        "blue_yellow": colour[:, 2],
    }
    sums = {
        name: density * np.bincount(patch, weight, rows * columns).reshape(rows, columns)
        for name, weight in weights.items()
    }
    sums["count_squared"] = sums["count"] ** 2
    return {f"{prefix}_{name}": np.asarray(plane, np.float32) for name, plane in sums.items()}
