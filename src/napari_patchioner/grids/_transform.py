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

    @classmethod
    def squashed(
        cls, image_shape: tuple[int, int], input_size: int, patch_size: int
    ) -> GridTransform:
        """Lay a square grid over the whole image, whatever its aspect ratio.

        Parameters
        ----------
        image_shape : tuple of int
            ``(height, width)`` in pixels.
        input_size : int
            Side of the square that the image is resized to, in input pixels.
        patch_size : int
            Side of a patch in input pixels.
        """
        cells = input_size // patch_size
        return cls(image_shape, (cells, cells))

    @classmethod
    def keeping_aspect(
        cls, image_shape: tuple[int, int], input_size: int, patch_size: int
    ) -> GridTransform:
        """Lay nearly square patches over the whole image, the long side ``input_size`` long.

        Parameters
        ----------
        image_shape : tuple of int
            ``(height, width)`` in pixels.
        input_size : int
            Long side of the resized image in input pixels; resize to ``grid_shape * patch_size``.
        patch_size : int
            Side of a patch in input pixels.
        """
        longest = max(image_shape)
        rows, columns = (
            max(1, round(side * input_size / longest / patch_size)) for side in image_shape
        )
        return cls(image_shape, (rows, columns))

    @classmethod
    def centre_cropped(
        cls, image_shape: tuple[int, int], input_size: int, patch_size: int
    ) -> GridTransform:
        """Lay a square grid over the middle, after the short side was resized to ``input_size``.

        Whole pixels are resized and cut as torchvision's ``Resize`` and ``CenterCrop`` do, so
        the window is where the network looked, not where exact arithmetic would put it.

        Parameters
        ----------
        image_shape : tuple of int
            ``(height, width)`` in pixels.
        input_size : int
            Short side of the resized image and side of the cut square, in input pixels.
        patch_size : int
            Side of a patch in input pixels.
        """
        cells, shortest = input_size // patch_size, min(image_shape)
        resized = [int(input_size * side / shortest) for side in image_shape]
        start = [round((side - input_size) / 2) for side in resized]
        scale = [full / side for full, side in zip(image_shape, resized, strict=True)]
        seen = cells * patch_size
        window = (start[0] * scale[0], start[1] * scale[1], seen * scale[0], seen * scale[1])
        return cls(image_shape, (cells, cells), window)
