"""Pixels the right way up, by the orientation a camera noted."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[Any]

ORIENTATION = 0x0112
"""The tag of EXIF and TIFF that holds the orientation."""

SIDEWAYS = 5
"""From this orientation on, rows of the file are columns of the picture."""


def as_orientation(value: object) -> int:
    """Return an orientation from 1 to 8; 1 for whatever is none.

    >>> [as_orientation(value) for value in (6, "6", None, 9, (3,))]
    [6, 1, 1, 1, 3]
    """
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return int(value) if isinstance(value, (int, np.integer)) and 1 <= value <= 8 else 1


def upright(array: AnyArray, orientation: int) -> AnyArray:
    """Turn and mirror stored pixels, shape (height, width, ...), as their orientation says; a view.

    The orientation is 1, upright already, to 8, as in EXIF.

    >>> upright(np.array([[1, 2, 3]]), 6).tolist()
    [[1], [2], [3]]
    """
    if orientation >= SIDEWAYS:
        array = np.swapaxes(array, 0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return array[::rows, ::columns]


def upright_points(
    points: npt.ArrayLike, orientation: int, shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Return where points of stored pixels are in the upright picture of ``(height, width)``.

    They are ``(row, column)``, shape (n, 2), in pixels of the file, pixel centres at integers.

    >>> upright_points([[0, 2]], 6, (3, 1)).tolist()
    [[2.0, 0.0]]
    """
    moved = np.array(points, float).reshape(-1, 2)
    if orientation >= SIDEWAYS:
        moved = moved[:, ::-1].copy()
    if orientation in (3, 4, 7, 8):
        moved[:, 0] = shape[0] - 1 - moved[:, 0]
    if orientation in (2, 3, 6, 7):
        moved[:, 1] = shape[1] - 1 - moved[:, 1]
    return moved


def as_stored(array: AnyArray, orientation: int) -> AnyArray:
    """Turn an upright picture the way its file has it; undoes `upright`.

    >>> as_stored(upright(np.array([[1, 2, 3]]), 8), 8).tolist()
    [[1, 2, 3]]
    """
    return upright(array, {6: 8, 8: 6}.get(orientation, orientation))
