"""Images of any number of axes that stay where they are stored, and planes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError, RegionError, pip_install
from napari_patchioner.images import MOST_BYTES

from ._levels import Levels
from ._lights import Lights, lights_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from ._lights import Light

AnyArray: TypeAlias = npt.NDArray[Any]

ROW, COLUMN, SAMPLE, CHANNEL = "y", "x", "s", "c"
# Pieces larger than this, in bytes, are held whole instead of unpacked anew for every part.
LARGE_PIECE = 2**28
# What no scanner makes: what claims more is damaged.
_MOST_PIXELS, _MOST_SIDE = 2**37, 2**24

# So many pieces take long to go through, unless they are of some size, of which a plane is a part.
_MANY_PIECES, _TINY_PIECE, _TINY_PART = 2**16, 2**12, 2**10


@dataclass(frozen=True, eq=False, slots=True)
class Flat:
    """One plane of an array of more axes, rows first, read where it is indexed.

    Attributes
    ----------
    data : array_like
        The array, lazy or not.
    axes : str
        A letter for each of its axes: ``y``, ``x``, ``s`` for the colours of a pixel, ``c`` for
        channels, any other for a stack.
    index : mapping of str to int
        Position along each axis but those of the plane.
    where : str
        What to name if it cannot be read.
    """

    data: Any
    axes: str
    index: dict[str, int]
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        """``(height, width)`` or ``(height, width, channels)``."""
        lengths = dict(zip(self.axes, self.data.shape, strict=True))
        return tuple(int(lengths[axis]) for axis in self._kept)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its values."""
        kind: np.dtype[Any] = np.dtype(self.data.dtype)
        return kind

    @property
    def _kept(self) -> str:
        deep = [axis for axis in self.axes if axis not in (ROW, COLUMN, *self.index)]
        return ROW + COLUMN + "".join(deep)

    def __getitem__(self, window: tuple[slice, slice]) -> AnyArray:
        taken = {**self.index, ROW: window[0], COLUMN: window[1]}
        try:
            pixels = np.asarray(self.data[tuple(taken.get(a, slice(None)) for a in self.axes)])
        except ImageError:
            raise
        except Exception as error:  # decoders and file systems raise anything
            raise ImageError(f"{self.where}: a part of it cannot be read ({brief(error)})") from (
                error
            )
        left = [axis for axis in self.axes if axis not in self.index]
        return pixels.transpose([left.index(axis) for axis in self._kept])


@dataclass(eq=False, slots=True)
class StoredImage:
    """An image in a file or a folder, of which only what is looked at is read.

    A context manager, which lets go of the file.

    Attributes
    ----------
    path : Path
        Where it is stored.
    arrays : sequence of array_like
        The image in one size or several, the full resolution first; ``axes`` of each.
    axes : str
        A letter for each axis: ``y``, ``x``, ``s`` for the colours of a pixel, ``c`` for channels
        that are shown on top of one another, any other for an axis of a stack.
    lights : sequence of Light, optional
        How the file says its channels are shown.
    closing : callable
        Lets go of the file.
    """

    path: Path
    arrays: Sequence[Any]
    axes: str
    lights: tuple[Light, ...] | None = None
    closing: Callable[[], object] = field(default=lambda: None)

    def __post_init__(self) -> None:
        if self.axes.count(ROW) != 1 or self.axes.count(COLUMN) != 1:
            raise ImageError(f"{self.path}: holds no picture with rows and columns")
        sizes = [self._size(array) for array in self.arrays]
        if math.prod(sizes[0]) > _MOST_PIXELS or max(sizes[0]) > _MOST_SIDE:
            sides = " x ".join(map(str, sizes[0]))
            raise ImageError(f"{self.path}: claims {sides} pixels, more than an image has")
        for array in self.arrays:
            if getattr(array, "chunks", None) and piece_bytes(array) > MOST_BYTES:
                raise ImageError(
                    f"{self.path}: lies in pieces of more than {MOST_BYTES:,} bytes; save it in "
                    "smaller ones"
                )
        self._check_pieces()
        # A level that is no smaller than the one before says nothing new.
        self.arrays = [
            array
            for number, array in enumerate(self.arrays)
            if number == 0 or max(sizes[number]) < min(map(max, sizes[:number]))
        ]

    def __enter__(self) -> StoredImage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

        Parameters
        ----------
        plane : str
            One whole number for each axis of the stack, in their order; axes of channels, and
            those one plane long, may be left out or not. Empty for the first plane. Zeros along
            axes that the image does not have count for nothing, as formats with fixed axes write
            them; fewer numbers are about the last axes, and mean the first plane along the others.

        Raises
        ------
        RegionError
            There is no such plane.
        """
        lengths = self.lengths
        stack = [axis for axis in self.axes if axis not in (ROW, COLUMN, SAMPLE, CHANNEL)]
        first = dict.fromkeys(stack, 0)
        if self.is_flat or not plane.split():
            return first
        numbers = _numbers(plane)
        named = self._axes_named(numbers, stack, lengths)
        if named is None:
            numbers = self._fitted(numbers, stack)
            named = self._axes_named(numbers, stack, lengths)
        there = zip(named or (), numbers, strict=False)
        if named is None or not all(0 <= number < lengths[axis] for axis, number in there):
            parts = ", ".join(f"{lengths[a]} along {a}" for a in self.axes if a not in "yxs")
            raise RegionError(f"there is no plane {plane!r} in the image, which has {parts}")
        return first | dict(zip(named, numbers, strict=True))

    def levels(self, index: dict[str, int] | None = None) -> Levels:
        """Return a plane in all its sizes, the first one by default; see :meth:`find`.

        Raises
        ------
        ImageError
            It has too many channels to show them together.
        """
        index = self._whole_index(self.find("") if index is None else index)
        flats = [self._flat(array, index) for array in self.arrays]
        if CHANNEL not in self.axes:
            return Levels(flats)
        if CHANNEL in index:
            told = self.lights[index[CHANNEL]].limits if self.lights else None
            return Levels(flats, contrast_limits=told)
        lights = lights_for(flats[-1], self.lights, flats[0].shape[2])
        return Levels(flats if lights is None else [Lights(flat, lights) for flat in flats])

    def _whole_index(self, index: dict[str, int]) -> dict[str, int]:
        """Leave out what is no choice: the only channel, and how transparent a gray pixel is."""
        lengths = self.lengths
        only = {axis: 0 for axis in CHANNEL if lengths.get(axis) == 1}
        only |= {axis: 0 for axis in SAMPLE if lengths.get(axis) == 2}
        return only | index

    def _flat(self, array: Any, index: dict[str, int]) -> Flat:
        """Return a plane of a level, whose stack may be smaller as well."""
        here, full = {}, self.arrays[0].shape
        for axis, position in index.items():
            number = self.axes.index(axis)
            length = int(array.shape[number])
            here[axis] = min(int(position * length / full[number]), length - 1)
        return Flat(array, self.axes, here, str(self.path))

    def _size(self, array: Any) -> tuple[int, int]:
        return int(array.shape[self.axes.index(ROW)]), int(array.shape[self.axes.index(COLUMN)])

    def _check_pieces(self) -> None:
        """Raise an ImageError if a plane lies in too many pieces that are too small."""
        for array in self.arrays:
            chunks = getattr(array, "chunks", None)
            if not chunks:
                continue
            sides = [
                (int(side), min(int(side), int(chunk)))
                for axis, side, chunk in zip(self.axes, array.shape, chunks, strict=True)
                if axis in (ROW, COLUMN, SAMPLE, CHANNEL)
            ]
            count = math.prod(-(-side // chunk) for side, chunk in sides)
            seen = math.prod(chunk for _, chunk in sides)
            if count > _MANY_PIECES and (math.prod(chunks) < _TINY_PIECE or seen < _TINY_PART):
                raise ImageError(
                    f"{self.path}: lies in {count:,} pieces of {seen:,} values each; save it in "
                    "larger ones"
                )

    def _axes_named(
        self, numbers: Sequence[int], stack: list[str], lengths: dict[str, int]
    ) -> list[str] | None:
        """Return the axes that so many numbers are about."""
        all_axes = [axis for axis in self.axes if axis not in (ROW, COLUMN, SAMPLE)]
        ways = [stack, all_axes]
        ways += [[axis for axis in way if lengths[axis] > 1] for way in ways]
        return next((way for way in ways if len(way) == len(numbers)), None)

    def _fitted(self, numbers: list[int], stack: list[str]) -> list[int]:
        """Return the numbers of a plane without zeros that are too many, or with those missing."""
        if len(numbers) < len(stack):
            return [0] * (len(stack) - len(numbers)) + numbers
        found = list(numbers)
        while len(found) > len(stack) and 0 in found:
            found.remove(0)
        return found


def _numbers(plane: str) -> list[int]:
    try:
        values = [float(part) for part in plane.split()]
        if all(map(float.is_integer, values)):
            return [int(value) for value in values]
    except (ValueError, OverflowError):
        pass
    raise RegionError(f"the plane {plane!r} is no list of whole numbers, such as '0 12'")


def piece_bytes(array: Any) -> int:
    """Bytes of the pieces in which an array is stored."""
    count: int = math.prod(array.chunks)
    return count * int(np.dtype(array.dtype).itemsize)


def brief(error: Exception) -> str:
    """Return the first line of what went wrong, and what to install if that is all."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if "imagecodecs" in text:
        return f"{text}; run: {pip_install('imagecodecs')}"
    return text
