"""Image pixels to patch units and back, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class GridTransform:
    """The affine map between an image and the patch grid laid over it.

    The grid covers ``window``, a rectangle of the image measured from the outer corner of the
    first pixel (edge coordinates, so the whole image is ``(0, 0, height, width)``). Patch
    ``(i, j)`` fills the square ``[i, i + 1) x [j, j + 1)`` of patch units. A squashed square
    input and an aspect-preserving one are both this map; a centre crop has a smaller window.

    Attributes
    ----------
    image_shape : tuple of int
        ``(height, width)`` of the full-resolution image in pixels.
    grid_shape : tuple of int
        ``(rows, columns)`` of the patch grid.
    window : tuple of float
        ``(top, left, height, width)`` in edge coordinates; the whole image by default.
    """

    image_shape: tuple[int, int]
    grid_shape: tuple[int, int]
    window: tuple[float, float, float, float] | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """``(top, left, height, width)`` of the covered window in edge coordinates."""
        if self.window is not None:
            return self.window
        return (0.0, 0.0, float(self.image_shape[0]), float(self.image_shape[1]))

    @property
    def patch_size(self) -> tuple[float, float]:
        """``(height, width)`` of one patch in image pixels."""
        _, _, height, width = self.extent
        return height / self.grid_shape[0], width / self.grid_shape[1]

    def to_grid(self, points: npt.ArrayLike | Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
        """Map ``(row, column)`` pixel-centre coordinates, shape (..., 2), to patch units."""
        top, left, _, _ = self.extent
        return (np.asarray(points, float) + 0.5 - (top, left)) / self.patch_size

    def to_image(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map patch units, shape (..., 2), back to ``(row, column)`` pixel-centre coordinates."""
        top, left, _, _ = self.extent
        return np.asarray(points, float) * self.patch_size + (top, left) - 0.5
