"""Filters of single planes, in single precision: blurs, slopes, distances and means of patches."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_patchioner.devices import product

Plane: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]

# Rows, or columns, that are blurred at once.
_BLOCK = 64
# Where the distances, in pixels, add up to more than this, they are found the general way.
_MUCH = 800_000
_FAR = np.int32(10_000)


def blur(planes: Plane, sigma: float) -> Plane:
    """Gaussian blur of the last two axes; beyond the border lies what is at it.

    A product with a band matrix for each axis, block by block: several times as quick as a
    correlation, and all the more so where the blur is wide.
    """
    height, width = planes.shape[-2:]
    radius = int(3.0 * sigma + 0.5)
    down, across = _gaussian(height, sigma), _gaussian(width, sigma).T
    strips = np.empty(planes.shape, np.float32)
    for start in range(0, height, _BLOCK):
        stop = min(start + _BLOCK, height)
        low, high = max(start - radius, 0), min(stop + radius, height)
        strips[..., start:stop, :] = product(down[start:stop, low:high], planes[..., low:high, :])
    blurred = np.empty_like(strips)
    for start in range(0, width, _BLOCK):
        stop = min(start + _BLOCK, width)
        low, high = max(start - radius, 0), min(stop + radius, width)
        blurred[..., start:stop] = product(strips[..., low:high], across[:, start:stop][low:high])
    return blurred


@lru_cache(maxsize=64)
def _gaussian(size: int, sigma: float) -> Plane:
    """Matrix that blurs one axis, shape (size, size)."""
    radius = int(3.0 * sigma + 0.5)
    steps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    places = np.arange(size)[:, None]
    matrix = np.zeros((size, size))
    np.add.at(matrix, (places, np.clip(places + steps, 0, size - 1)), weights)
    return matrix.astype(np.float32)


def patch_means(planes: Plane, grid_shape: tuple[int, int]) -> Plane:
    """Average the last two axes over the patches of a grid that divides them evenly."""
    rows, columns = grid_shape
    height, width = planes.shape[-2:]
    side = (height // rows, width // columns)
    strips = planes.reshape(*planes.shape[:-2], rows, side[0], width).sum(-2)
    sums = strips.reshape(*planes.shape[:-2], rows, columns, side[1]).sum(-1)
    return np.asarray(sums / np.float32(side[0] * side[1]), np.float32)


def depths(mask: Mask) -> Plane:
    """Distance, in pixels, of what is inside a mask from what is not; 0 outside of it."""
    result = np.zeros(mask.shape, np.float32)
    inside = np.flatnonzero(mask)
    if not len(inside):
        return result
    # Straight up and down first: in some column near by lies the nearest place outside, that far.
    squares = _up_and_down(mask) ** 2
    nearest = squares.ravel()[inside]
    width = mask.shape[1]
    if np.sqrt(nearest, dtype=np.float32).sum() > _MUCH:
        return np.asarray(ndimage.distance_transform_edt(mask), np.float32)
    reach = min(int(np.sqrt(nearest.max())) + 1, width)
    padded = np.pad(squares, ((0, 0), (reach, reach)), constant_values=_FAR**2).ravel()
    place = inside + (2 * (inside // width) + 1) * reach
    active = np.arange(len(inside))
    for step in range(1, reach + 1):
        active = active[nearest[active] > step**2]
        if not len(active):
            break
        here = place[active]
        beside = np.minimum(padded[here - step], padded[here + step]) + np.int32(step**2)
        nearest[active] = np.minimum(nearest[active], beside)
    result.ravel()[inside] = np.sqrt(nearest.astype(np.float64))
    return result


def _up_and_down(mask: Mask) -> npt.NDArray[np.int32]:
    """Distance of every pixel from the next one outside a mask in its column."""
    inside = mask.astype(np.int32)
    above, below = inside * _FAR, inside * _FAR
    for row in range(1, len(mask)):
        np.multiply(above[row - 1] + 1, inside[row], out=above[row])
    for row in range(len(mask) - 2, -1, -1):
        np.multiply(below[row + 1] + 1, inside[row], out=below[row])
    return np.asarray(np.minimum(above, below).clip(max=_FAR))


def most_around(plane: Any) -> Any:
    """Largest value among each pixel and its eight neighbours."""
    return _around(plane, np.maximum)


def least_around(plane: Any) -> Any:
    """Smallest value among each pixel and its eight neighbours."""
    return _around(plane, np.minimum)


def _around(plane: Any, choose: np.ufunc) -> Any:
    for axis in (0, 1):
        first, second = ((slice(None),) * axis + (part,) for part in (slice(1, None), slice(-1)))
        chosen = plane.copy()
        choose(chosen[first], plane[second], out=chosen[first])
        choose(chosen[second], plane[first], out=chosen[second])
        plane = chosen
    return plane
