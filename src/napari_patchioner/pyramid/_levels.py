"""The sizes in which a large image is at hand, each read only where it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError
from napari_patchioner.images import as_rgb

from ._range import brightness_range
from ._shrunk import Shrunk

if TYPE_CHECKING:
    from collections.abc import Callable

AnyArray: TypeAlias = npt.NDArray[Any]

# Neighbouring levels farther apart than this have others made up between them.
_FARTHEST = 4.0


@dataclass(frozen=True, eq=False, slots=True)
class Level:
    """An image in one size.

    Attributes
    ----------
    data : array_like
        Anything with a shape ``(height, width)`` or ``(height, width, channels)`` that gives a
        part when it is indexed: an array, in memory or on disk, or a lazy one.
    scale : tuple of float
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
        self,
        top: int,
        left: int,
        height: int,
        width: int,
        tell: Callable[[float], None] | None = None,
    ) -> AnyArray:
        """Read a window; what of it lies outside is filled with the image mirrored at its edge.

        ``tell`` hears the share that has been read, if reading is more than one step.
        """
        rows = slice(max(0, top), min(self.shape[0], top + height))
        columns = slice(max(0, left), min(self.shape[1], left + width))
        if isinstance(self.data, Shrunk):
            pixels = self.data.read(rows, columns, tell)
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
    """A large image in all its sizes, from the full one to one that a model sees at once.

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
        _check(arrays)
        full = arrays[0].shape
        self.given = tuple(
            Level(array, (full[0] / array.shape[0], full[1] / array.shape[1])) for array in arrays
        )
        self.shape: tuple[int, int] = self.given[0].shape
        self._limits = contrast_limits
        self._asked = contrast_limits is not None
        self._seen: dict[object, dict[tuple[int, int, int], str]] = {}

    def down_to(self, side: int) -> tuple[Level, ...]:
        """All levels, others made up where there is a gap, down to one less than two sides long.

        Parameters
        ----------
        side : int
            Pixels that a model takes in at once.
        """
        found: list[Level] = []
        for level, after in zip(self.given, (*self.given[1:], None), strict=True):
            found.append(level)
            factor = 2
            while _gap(level, factor, after, side):
                scale = (level.scale[0] * factor, level.scale[1] * factor)
                found.append(Level(Shrunk(level.data, factor), scale))
                factor *= 2
        return tuple(found)

    def seen(self, how: object) -> dict[tuple[int, int, int], str]:
        """Return the keys of what was seen of this image so far, by place; ``how`` it was seen."""
        return self._seen.setdefault(how, {})

    def as_is(self, pixels: AnyArray) -> AnyArray:
        """Return all pixels of the image as they are, unless contrast limits were given."""
        return pixels if self._limits is None else as_rgb(pixels, self._limits)

    def rgb(self, pixels: AnyArray) -> npt.NDArray[np.uint8]:
        """Return pixels that were read as 8-bit colours, the same way all over the image."""
        if not self._asked:
            self._limits, self._asked = brightness_range(self.given[-1].data), True
        return as_rgb(pixels, self._limits)


def _gap(level: Level, factor: int, after: Level | None, side: int) -> bool:
    """Whether a level is missing, ``factor`` times smaller than one and before another."""
    if after is None:
        return 2 * level.long_side >= 2 * side * factor
    return level.long_side / after.long_side > _FARTHEST and (
        level.long_side / factor >= 2 * after.long_side
    )


def _check(arrays: Sequence[Any]) -> None:
    """Refuse what is no picture in several sizes."""
    if not arrays:
        raise ImageError("there is no image: give at least one level")
    for array in arrays:
        shape = tuple(getattr(array, "shape", ()))
        if len(shape) not in (2, 3) or min(shape) < 1 or shape[2:] != arrays[0].shape[2:]:
            raise ImageError(
                f"a level must have the shape (height, width) or (height, width, channels), and "
                f"as many channels as the others, but this one has {shape}"
            )
    sides = [max(array.shape[:2]) for array in arrays]
    if any(after >= before for before, after in pairwise(sides)):
        raise ImageError(
            f"levels must get smaller, the full resolution first, but their long sides are {sides}"
        )
