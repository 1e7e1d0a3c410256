"""Name an image by its pixels, so that it is known again under any file name."""

from __future__ import annotations

from hashlib import blake2b
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

# Arrays above this many bytes are hashed by a sample of their pixels.
WHOLE_BYTES = 64 * 2**20
WINDOWS, WINDOW = 48, 256
# Rows of a whole array hashed at a time, in bytes: a lazy array is never held as a whole.
_PIECE = 16 * 2**20
_COLOURS = 4


class ArrayLike(Protocol):
    """What numpy, dask, zarr and others have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the pixels."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """Return a part, lazy or not."""
        ...


def content_hash(pixels: ArrayLike) -> str:
    """Hash the shape, the type and the pixels of an image.

    Up to 64 MiB every pixel counts. Larger images are hashed by a fixed sample: 48 windows of
    up to 256 x 256 pixels over the two longest axes, with all colours, spread evenly by an
    additive recurrence; which pixels these are depends on the shape alone, so an image has one
    name whether it is opened lazily or not. Byte order does not count.

    Parameters
    ----------
    pixels : array_like, shape (...)
        The image at full resolution; read part by part where it is lazy.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> content_hash(np.zeros((2, 3))) == content_hash(np.zeros((2, 3), ">f8"))
    True
    >>> content_hash(np.zeros((2, 3))) == content_hash(np.zeros((3, 2)))
    False
    """
    kind = np.dtype(pixels.dtype).newbyteorder("<")
    shape = tuple(int(length) for length in pixels.shape)
    digest = blake2b(repr((shape, kind.str)).encode(), digest_size=16)
    size = prod(shape) * kind.itemsize
    windows = _pieces(shape, size) if size <= WHOLE_BYTES else _sample(shape)
    for window in windows:
        part = np.ascontiguousarray(np.asarray(pixels[window]), kind)
        digest.update(part.tobytes() if part.ndim == 0 else part.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _pieces(shape: tuple[int, ...], size: int) -> Iterator[tuple[slice, ...]]:
    """Yield the whole array, some rows at a time, in the order of memory."""
    if not shape or size == 0:
        yield ()
        return
    rows = max(1, shape[0] * _PIECE // size)
    for start in range(0, shape[0], rows):
        yield (slice(start, start + rows),)


def _sample(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield the windows that stand for a large array."""
    spatial = len(shape) - (len(shape) > 2 and shape[-1] <= _COLOURS)
    longest = sorted(range(spatial), key=lambda axis: (-shape[axis], axis))[:2]
    sizes = [
        min(length, WINDOW) if axis in longest else length if axis >= spatial else 1
        for axis, length in enumerate(shape)
    ]
    room = [length - size for length, size in zip(shape, sizes, strict=True)]
    corners = product(*((0, rest) if axis in longest else (0,) for axis, rest in enumerate(room)))
    steps = _recurrence(len(shape))
    spread = (
        [int(rest * ((0.5 + step * number) % 1)) for rest, step in zip(room, steps, strict=True)]
        for number in range(WINDOWS - 2 ** len(longest))
    )
    for starts in (*corners, *spread):
        yield tuple(slice(a, a + size) for a, size in zip(starts, sizes, strict=True))


def _recurrence(axes: int) -> list[float]:
    """Return the steps of the additive recurrence that spreads points evenly in a box."""
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (axes + 1))
    return [ratio ** -(axis + 1) for axis in range(axes)]
