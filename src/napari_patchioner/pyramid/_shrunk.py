"""A smaller copy of an image that exists only where it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AnyArray: TypeAlias = npt.NDArray[Any]

# Side of the squares in which the large image is read; chunks of usual sizes fit into it.
_BLOCK = 2048


class Shrunk:
    """An array in which each pixel is the mean of a square of another array.

    Parameters
    ----------
    data : array_like
        The large image, ``(height, width)`` or ``(height, width, channels)``.
    factor : int
        Pixels along the square. At the far edges a square may be cut off.
    """

    def __init__(self, data: Any, factor: int) -> None:
        self._data = data
        self.factor = factor
        height, width = (-(-int(side) // factor) for side in data.shape[:2])
        self.shape: tuple[int, ...] = (height, width, *data.shape[2:])
        self.dtype = np.dtype(data.dtype)

    def __getitem__(self, window: tuple[slice, slice]) -> AnyArray:
        return self.read(*window)

    def read(
        self, rows: slice, columns: slice, tell: Callable[[float], None] | None = None
    ) -> AnyArray:
        """Read a window, a square of the large image at a time; ``tell`` hears the share done."""
        rows, columns = (
            slice(*window.indices(side)[:2])
            for window, side in zip((rows, columns), self.shape[:2], strict=True)
        )
        shape = (rows.stop - rows.start, columns.stop - columns.start, *self.shape[2:])
        made = np.empty(shape, self.dtype)
        parts = [(down, across) for down in self._parts(rows) for across in self._parts(columns)]
        for done, (down, across) in enumerate(parts):
            if tell is not None:
                tell(done / len(parts))
            large = np.asarray(self._data[self._large(down), self._large(across)])
            made[_within(down, rows), _within(across, columns)] = _mean(large, self.factor)
        return made

    def _parts(self, window: slice) -> Iterator[slice]:
        """Cut a window at places that do not depend on where it begins, so as to meet chunks."""
        step = max(1, _BLOCK // self.factor)
        start = window.start
        while start < window.stop:
            stop = min((start // step + 1) * step, window.stop)
            yield slice(start, stop)
            start = stop

    def _large(self, part: slice) -> slice:
        return slice(part.start * self.factor, part.stop * self.factor)


def _within(part: slice, window: slice) -> slice:
    return slice(part.start - window.start, part.stop - window.start)


def _mean(pixels: AnyArray, factor: int) -> AnyArray:
    """Average squares; those at the far edges may be smaller, values that are none do not count."""
    sums, counts = pixels, np.ones((1,) * pixels.ndim)
    kind = pixels.dtype.kind
    if kind == "f" and np.isnan(pixels).any():
        there = ~np.isnan(pixels)
        sums, counts = np.where(there, pixels, 0), there
    wide = np.float64 if kind == "f" else np.int64
    for axis in (0, 1):
        starts = np.arange(0, pixels.shape[axis], factor)
        sums = np.add.reduceat(sums, starts, axis=axis, dtype=wide)
        if counts.shape[axis] == 1:
            ends = np.append(starts[1:], pixels.shape[axis])
            shape = [1] * pixels.ndim
            shape[axis] = len(starts)
            counts = counts * (ends - starts).reshape(shape)
        else:
            counts = np.add.reduceat(counts, starts, axis=axis, dtype=np.int64)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    if kind == "f":
        return means.astype(pixels.dtype)
    return np.asarray(means >= 0.5 if kind == "b" else np.rint(means).astype(pixels.dtype))
