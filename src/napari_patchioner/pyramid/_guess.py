"""Which axes are which in an array that does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# A last axis this short, behind two longer ones, holds what belongs to one pixel.
_MOST_CHANNELS = 12
_STACK = "abdefghijklmnopqruvwtz"


def guess_axes(shape: Sequence[int], path: Path) -> str:
    """Return a letter for each axis: rows and columns last, or before colours or channels.

    Raises
    ------
    ImageError
        There are too few axes for a picture.

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
