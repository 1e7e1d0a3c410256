"""Learned positions of a vision transformer, on another grid than it was trained with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch.nn import functional

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

Positions: TypeAlias = Literal["bicubic", "antialias", "offset"]

WAYS: tuple[Positions, ...] = ("bicubic", "antialias", "offset")

# DINO's and ProxyCLIP's way round a rounding error of old interpolations; it shifts the samples.
_OFFSET = 0.1


def resample_positions(
    table: Tensor, grid_shape: tuple[int, int], way: Positions = "bicubic"
) -> Tensor:
    """Interpolate position embeddings to a grid.

    Three ways are in use and differ by up to about 0.1 for the same weights, so a model is only
    reproduced by its own.

    Parameters
    ----------
    table : Tensor, shape (1 + n * n, width)
        Position of the class token, then of a square grid, row-major.
    grid_shape : (int, int)
        Rows and columns of the new grid; the table's own grid leaves it as it is.
    way : {"bicubic", "antialias", "offset"}
        Bicubic to size, as in transformers and INViTE; bicubic with antialiasing, as in timm;
        or bicubic by the factor ``(rows + 0.1) / n``, as in ProxyCLIP.

    Returns
    -------
    Tensor, shape (1 + rows * columns, width)

    Raises
    ------
    ModelError
        The table holds no square grid, or the way is none of these.
    """
    if way not in WAYS:
        raise ModelError(f"Positions are interpolated by {', '.join(WAYS)}, not {way!r}.")
    side = math.isqrt(max(0, len(table) - 1))
    if side == 0 or side * side != len(table) - 1:
        raise ModelError(f"{len(table)} positions are no class token and a square grid.")
    if grid_shape == (side, side):
        return table
    square = table[1:].T.reshape(1, -1, side, side).contiguous()
    rows, columns = grid_shape
    if way == "offset":
        factors = ((rows + _OFFSET) / side, (columns + _OFFSET) / side)
        new = functional.interpolate(square, scale_factor=factors, mode="bicubic")
    elif way == "antialias":
        new = _antialiased(square, grid_shape)
    else:
        new = functional.interpolate(square, grid_shape, mode="bicubic")
    return torch.cat([table[:1], new.flatten(2)[0].T])


def _antialiased(square: Tensor, grid_shape: tuple[int, int]) -> Tensor:
    rows, columns = grid_shape
    if columns > 1:
        return functional.interpolate(square, grid_shape, mode="bicubic", antialias=True)
    # On a CPU torch repeats the first row where it antialiases to a single column.
    lying = square.transpose(2, 3).contiguous()
    new = functional.interpolate(lying, (1, rows), mode="bicubic", antialias=True)
    return new.transpose(2, 3)
