"""A large image in all its sizes, read in parts; missing sizes are made while they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError
from napari_patchioner.progress import Progress, no_progress

from ._rgb import as_rgb, brightness_range

AnyArray: TypeAlias = npt.NDArray[Any]

# Side of the squares in which a large image is averaged; chunks of usual sizes fit into it.
_BLOCK = 2048
# Neighbouring levels farther apart than this have others made up between them.
_FARTHEST = 4.0


class Shrunk:
    """An array in which each pixel is the mean of a square of a large one, ``factor`` pixels long.

    At the far edges a square may be cut off.
    """

    def __init__(self, data: Any, factor: int) -> None:
        self._data = data
        self.factor = factor
        height, width = (-(-int(side) // factor) for side in data.shape[:2])
        self.shape: tuple[int, ...] = (height, width, *data.shape[2:])
        self.dtype = np.dtype(data.dtype)

    def __getitem__(self, window: tuple[slice, slice]) -> AnyArray:
        return self.read(*window)

    def read(self, rows: slice, columns: slice, progress: Progress = no_progress) -> AnyArray:
        """Read a window, a square of the large image at a time."""
        rows, columns = (
            slice(*window.indices(side)[:2])
            for window, side in zip((rows, columns), self.shape[:2], strict=True)
        )
        shape = (rows.stop - rows.start, columns.stop - columns.start, *self.shape[2:])
        pixels = np.empty(shape, self.dtype)
        parts = [(down, across) for down in self._parts(rows) for across in self._parts(columns)]
        for done, (down, across) in enumerate(parts):
            progress(done / len(parts), "")
            large = tuple(
                slice(part.start * self.factor, part.stop * self.factor) for part in (down, across)
            )
            small = tuple(
                slice(part.start - window.start, part.stop - window.start)
                for part, window in ((down, rows), (across, columns))
            )
            pixels[small] = _mean(np.asarray(self._data[large]), self.factor)
        return pixels

    def _parts(self, window: slice) -> Iterator[slice]:
        """Cut a window at places that do not depend on where it begins, so as to meet chunks."""
        step = max(1, _BLOCK // self.factor)
        start = window.start
        while start < window.stop:
            stop = min((start // step + 1) * step, window.stop)
            yield slice(start, stop)
            start = stop


# Squares of such a side, of 16 bits each, have sums of 32 bits.
_NARROW = 256


def _mean(pixels: AnyArray, factor: int) -> AnyArray:
    """Average squares; those at the far edges may be smaller, values that are NaN do not count."""
    kind = pixels.dtype.kind
    edges = [np.arange(0, side, factor) for side in pixels.shape[:2]]
    wide: Any = np.float64 if kind == "f" else np.int64
    if kind in "bu" and pixels.dtype.itemsize <= 2 and factor <= _NARROW:
        wide = np.uint32

    def sums(values: AnyArray, dtype: Any) -> AnyArray:
        # Every so many rows at once, then columns: numpy takes ten times as long for reduceat.
        for axis in (0, 1):
            shape = list(values.shape)
            shape[axis] = len(edges[axis])
            total = np.zeros(shape, dtype)
            for first in range(min(factor, values.shape[axis])):
                every = values[first::factor] if axis == 0 else values[:, first::factor]
                part = total[: len(every)] if axis == 0 else total[:, : every.shape[1]]
                part += every
            values = total
        return values

    if kind == "f" and np.isnan(pixels).any():
        known = ~np.isnan(pixels)
        total, counts = sums(np.where(known, pixels, 0), wide), sums(known, np.int64)
    else:
        sides = [np.diff(e, append=side) for e, side in zip(edges, pixels.shape, strict=False)]
        total = sums(pixels, wide)
        counts = np.outer(*sides).reshape(*total.shape[:2], *(1,) * (pixels.ndim - 2))
    with np.errstate(invalid="ignore"):
        means = total / counts
    if kind == "f":
        return means.astype(pixels.dtype)
    return np.asarray(means >= 0.5 if kind == "b" else np.rint(means).astype(pixels.dtype))


@dataclass(frozen=True, eq=False, slots=True)
class Level:
    """An image in one size.

    ``data`` is anything with a shape ``(height, width)`` or ``(height, width, channels)`` that
    gives a part when it is indexed: an array, in memory or on disk, or a lazy one. ``scale`` is
    ``(down, across)``: pixels of the full resolution that go to one of this level.
    """

    data: Any
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels of this level."""
        return int(self.data.shape[0]), int(self.data.shape[1])

    @property
    def long_side(self) -> int:
        """The longer of both, in pixels."""
        return max(self.shape)

    def read(
        self, top: int, left: int, height: int, width: int, progress: Progress = no_progress
    ) -> AnyArray:
        """Read a window; what of it lies outside is filled with the image mirrored at its edge."""
        rows = slice(max(0, top), min(self.shape[0], top + height))
        columns = slice(max(0, left), min(self.shape[1], left + width))
        if isinstance(self.data, Shrunk):
            pixels = self.data.read(rows, columns, progress)
        else:
            pixels = np.asarray(self.data[rows, columns])
        around = [
            (rows.start - top, top + height - rows.stop),
            (columns.start - left, left + width - columns.stop),
        ]
        if not any(map(any, around)):
            return pixels
        return np.pad(pixels, around + [(0, 0)] * (pixels.ndim - 2), mode="symmetric")


class Levels:
    """A large image in all its sizes, from the full one to one that a model takes in at once.

    Parameters
    ----------
    levels : array_like or sequence of them
        ``(height, width)`` or ``(height, width, channels)`` each, the full resolution first. Only
        parts of them are ever read, through their index.
    contrast_limits : (low, high) or one pair for each channel, optional
        Values to show as black and as white. By default those of `as_rgb`, found out once for the
        whole image from its smallest level, or from samples all over it where that is large.

    Raises
    ------
    ImageError
        There is no level, one has not the shape of a picture, or they do not get smaller.
    """

    def __init__(self, levels: Any, *, contrast_limits: tuple[float, float] | None = None) -> None:
        arrays = list(levels) if isinstance(levels, Sequence) else [levels]
        if not arrays:
            raise ImageError("there is no image: give at least one level")
        for array in arrays:
            shape = tuple(getattr(array, "shape", ()))
            if len(shape) not in (2, 3) or min(shape) < 1 or shape[2:] != arrays[0].shape[2:]:
                raise ImageError(
                    f"a level must have the shape (height, width) or (height, width, channels), "
                    f"and as many channels as the others, but this one has {shape}"
                )
        sides = [max(array.shape[:2]) for array in arrays]
        if any(after >= before for before, after in pairwise(sides)):
            raise ImageError(
                "levels must get smaller, the full resolution first, but their long sides are "
                f"{sides}"
            )
        full = arrays[0].shape
        self.given = tuple(
            Level(array, (full[0] / array.shape[0], full[1] / array.shape[1])) for array in arrays
        )
        self.shape: tuple[int, int] = self.given[0].shape
        self._limits = contrast_limits
        self._has_limits = contrast_limits is not None
        self._keys: dict[object, dict[tuple[int, int, int], str]] = {}

    def down_to(self, side: int) -> tuple[Level, ...]:
        """All levels, others made up where there is a gap, down to one less than two sides long.

        The side are the pixels that a model takes in at once.
        """
        levels: list[Level] = []
        for level, after in zip(self.given, (*self.given[1:], None), strict=True):
            levels.append(level)
            # Between neighbours that are far apart, and below the last one.
            least = side if after is None else 2 * after.long_side
            if after is not None and level.long_side <= _FARTHEST * after.long_side:
                continue
            factor = 2
            while level.long_side >= least * factor:
                scale = (level.scale[0] * factor, level.scale[1] * factor)
                levels.append(Level(Shrunk(level.data, factor), scale))
                factor *= 2
        return tuple(levels)

    def keys(self, how: object) -> dict[tuple[int, int, int], str]:
        """Return the keys of the grids of this image, by place; ``how`` it was encoded."""
        return self._keys.setdefault(how, {})

    def as_is(self, pixels: AnyArray) -> AnyArray:
        """Return all pixels of the image as they are, unless contrast limits were given."""
        return pixels if self._limits is None else as_rgb(pixels, self._limits)

    def rgb(self, pixels: AnyArray) -> npt.NDArray[np.uint8]:
        """Return pixels that were read as 8-bit colours, the same way all over the image."""
        if not self._has_limits:
            self._limits, self._has_limits = brightness_range(self.given[-1].data), True
        return as_rgb(pixels, self._limits)
