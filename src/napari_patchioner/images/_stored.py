"""Images of any number of axes that stay where they are stored, and planes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError, RegionError

from ._levels import Levels
from ._picture import MOST_BYTES, decoding
from ._rgb import ChannelView, Composite, channel_views

AnyArray: TypeAlias = npt.NDArray[Any]

ROW, COLUMN, SAMPLE, CHANNEL = "y", "x", "s", "c"
# What no scanner makes: what claims more is damaged.
_MOST_PIXELS, _MOST_SIDE = 2**37, 2**24
# So many pieces take long to go through, unless they are of some size, of which a plane is a part.
_MANY_PIECES, _TINY_PIECE, _TINY_PART = 2**16, 2**12, 2**10
# A last axis this short, behind two longer ones, holds what belongs to one pixel.
_MOST_CHANNELS = 12
_STACK = "abdefghijklmnopqruvwtz"


def guess_axes(shape: Sequence[int], path: Path) -> str:
    """Return a letter for each axis: rows and columns last, or before colours or channels.

    >>> from pathlib import Path
    >>> [guess_axes(shape, Path()) for shape in [(40, 60), (40, 60, 3), (40, 60, 2), (5, 40, 60)]]
    ['yx', 'yxs', 'yxc', 'zyx']
    """
    if len(shape) < 2 or min(shape) < 1 or len(shape) > len(_STACK):
        raise ImageError(f"{path}: an array of the shape {tuple(shape)} is no picture")
    last = "yx"
    if len(shape) > 2 and shape[-1] <= _MOST_CHANNELS < min(shape[-3:-1]):
        last = "yxs" if shape[-1] in (1, 3, 4) else "yxc"
    count = len(shape) - len(last)
    return _STACK[len(_STACK) - count :] + last


class _Plane:
    """One plane of a lazy array of more axes, rows first, read where it is indexed.

    ``index`` has a position along each of ``axes``, a letter each, but those of the plane.
    """

    def __init__(self, data: Any, axes: str, index: dict[str, int], path: Path) -> None:
        self.data, self._index, self._path = data, index, path
        self._axes, self._left = axes, [axis for axis in axes if axis not in index]
        self._kept = [ROW, COLUMN, *(axis for axis in self._left if axis not in (ROW, COLUMN))]
        self.shape = tuple(int(data.shape[axes.index(axis)]) for axis in self._kept)
        self.dtype: np.dtype[Any] = np.dtype(data.dtype)

    def __getitem__(self, window: tuple[slice, slice]) -> AnyArray:
        taken = {**self._index, ROW: window[0], COLUMN: window[1]}
        with decoding(self._path, "a part of it cannot be read"):
            pixels = np.asarray(self.data[tuple(taken.get(a, slice(None)) for a in self._axes)])
        return pixels.transpose([self._left.index(axis) for axis in self._kept])


@dataclass(eq=False, slots=True)
class StoredImage:
    """An image in a file or a folder, of which only the parts that are asked for are read.

    A context manager, which lets go of the file by ``closing``. ``arrays`` are the image in one
    size or several, the full resolution first. ``axes`` has a letter for each axis of each: ``y``,
    ``x``, ``s`` for the colours of a pixel, ``c`` for channels that are shown on top of one
    another, any other for an axis of a stack. ``channels`` are how the file says its channels are
    shown.
    """

    path: Path
    arrays: Sequence[Any]
    axes: str
    channels: tuple[ChannelView, ...] | None = None
    closing: Callable[[], object] = field(default=lambda: None)

    def __post_init__(self) -> None:
        if self.axes.count(ROW) != 1 or self.axes.count(COLUMN) != 1:
            raise ImageError(f"{self.path}: holds no picture with rows and columns")
        sizes = [self._size(array) for array in self.arrays]
        if math.prod(sizes[0]) > _MOST_PIXELS or max(sizes[0]) > _MOST_SIDE:
            sides = " x ".join(map(str, sizes[0]))
            raise ImageError(f"{self.path}: claims {sides} pixels, more than an image has")
        for array in self.arrays:
            if getattr(array, "chunks", None):
                self._check_pieces(array)
        # A level that is no smaller than the one before says nothing new.
        self.arrays = [
            array
            for number, array in enumerate(self.arrays)
            if number == 0 or max(sizes[number]) < min(map(max, sizes[:number]))
        ]

    def __enter__(self) -> StoredImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing()

    @classmethod
    def of(cls, pixels: AnyArray, path: Path) -> StoredImage:
        """Return a picture that was read whole, gray or in colours."""
        return cls(path, [pixels], ROW + COLUMN + SAMPLE * (pixels.ndim - 2))

    @property
    def is_in_memory(self) -> bool:
        """Whether there is no file to read from any more."""
        return type(self.arrays[0]) is np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels of the full resolution."""
        return self._size(self.arrays[0])

    @property
    def lengths(self) -> dict[str, int]:
        """How long each axis is at full resolution."""
        return dict(zip(self.axes, map(int, self.arrays[0].shape), strict=True))

    @property
    def is_flat(self) -> bool:
        """Whether there is one plane only, gray or in colours."""
        return set(self.axes) <= {ROW, COLUMN, SAMPLE}

    def find(self, plane: str) -> dict[str, int]:
        """Return the position along the axes of a stack that a region is on.

        The plane is one whole number for each axis of the stack, in their order; axes of channels,
        and those one plane long, may be left out or not. Empty for the first plane. Zeros along
        axes that the image does not have count for nothing, as formats with fixed axes write them;
        fewer numbers are about the last axes, and mean the first plane along the others. A
        RegionError where there is no such plane.
        """
        lengths = self.lengths
        stack = [axis for axis in self.axes if axis not in (ROW, COLUMN, SAMPLE, CHANNEL)]
        first = dict.fromkeys(stack, 0)
        if self.is_flat or not plane.split():
            return first
        try:
            values = [float(text) for text in plane.split()]
        except ValueError:
            values = [math.nan]
        if not all(value.is_integer() for value in values):
            raise RegionError(f"the plane {plane!r} is no list of whole numbers, such as '0 12'")
        numbers = list(map(int, values))
        ways = [stack, [axis for axis in self.axes if axis not in (ROW, COLUMN, SAMPLE)]]
        ways += [[axis for axis in way if lengths[axis] > 1] for way in ways]
        named = next((way for way in ways if len(way) == len(numbers)), None)
        if named is None:
            # Zeros that are too many go, those that are missing come.
            numbers = [0] * (len(stack) - len(numbers)) + numbers
            while len(numbers) > len(stack) and 0 in numbers:
                numbers.remove(0)
            named = next((way for way in ways if len(way) == len(numbers)), None)
        pairs = zip(named or (), numbers, strict=False)
        if named is None or not all(0 <= number < lengths[axis] for axis, number in pairs):
            parts = ", ".join(f"{lengths[a]} along {a}" for a in self.axes if a not in "yxs")
            raise RegionError(f"there is no plane {plane!r} in the image, which has {parts}")
        return first | dict(zip(named, numbers, strict=True))

    def levels(self, index: dict[str, int] | None = None) -> Levels:
        """Return a plane in all its sizes, the first one by default; see :meth:`find`.

        An ImageError where it has too many channels to show them together.
        """
        lengths = self.lengths
        # The only channel is no choice, nor is how transparent a gray pixel is.
        only = {axis: 0 for axis in CHANNEL if lengths.get(axis) == 1}
        only |= {axis: 0 for axis in SAMPLE if lengths.get(axis) == 2}
        index = only | (self.find("") if index is None else index)
        planes = []
        for array in self.arrays:
            # A stack may be shallower where it is smaller.
            own = {}
            for axis, position in index.items():
                length = int(array.shape[self.axes.index(axis)])
                own[axis] = min(int(position * length / lengths[axis]), length - 1)
            planes.append(_Plane(array, self.axes, own, self.path))
        if CHANNEL not in self.axes:
            return Levels(planes)
        if CHANNEL in index:
            limits = self.channels[index[CHANNEL]].limits if self.channels else None
            return Levels(planes, contrast_limits=limits)
        views = channel_views(planes[-1], self.channels, planes[0].shape[2])
        return Levels(planes if views is None else [Composite(plane, views) for plane in planes])

    def _size(self, array: Any) -> tuple[int, int]:
        return int(array.shape[self.axes.index(ROW)]), int(array.shape[self.axes.index(COLUMN)])

    def _check_pieces(self, array: Any) -> None:
        """Raise an ImageError if pieces are too large, or a plane lies in too many small ones."""
        if piece_bytes(array) > MOST_BYTES:
            raise ImageError(
                f"{self.path}: lies in pieces of more than {MOST_BYTES:,} bytes; save it in "
                "smaller ones"
            )
        sides = [
            (int(side), min(int(side), int(chunk)))
            for axis, side, chunk in zip(self.axes, array.shape, array.chunks, strict=True)
            if axis in (ROW, COLUMN, SAMPLE, CHANNEL)
        ]
        count = math.prod(-(-side // chunk) for side, chunk in sides)
        size = math.prod(chunk for _, chunk in sides)
        if count > _MANY_PIECES and (math.prod(array.chunks) < _TINY_PIECE or size < _TINY_PART):
            raise ImageError(
                f"{self.path}: lies in {count:,} pieces of {size:,} values each; save it in "
                "larger ones"
            )


def piece_bytes(array: Any) -> int:
    """Bytes of the pieces in which an array is stored."""
    return int(math.prod(array.chunks)) * int(np.dtype(array.dtype).itemsize)
