"""8-bit sRGB to Oklab (Ottosson 2020), quickly."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.bridges.appearance import colour_shares

if TYPE_CHECKING:
    import numpy.typing as npt

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = 100 * np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_CELLS = 32


def oklab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Convert (..., 3) sRGB bytes to Oklab times 100 (lightness 0 to 100)."""
    cones = _linear_light()[rgb] @ _TO_CONES.T
    return np.asarray(np.cbrt(cones, out=cones) @ _TO_LAB.T)


def pixel_shares(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Memberships (..., 11) of sRGB bytes in the basic colour terms, from a table."""
    cell = (rgb >> 3).astype(np.int32)
    index = (cell[..., 0] * _CELLS + cell[..., 1]) * _CELLS + cell[..., 2]
    return np.asarray(_table()[index])


@cache
def _linear_light() -> npt.NDArray[np.float32]:
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(light, np.float32)


@cache
def _table() -> npt.NDArray[np.float32]:
    levels = np.linspace(0, 255, _CELLS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)
    return colour_shares(oklab(cube).reshape(-1, 3))
