"""Patch embeddings of an image, where they lie on it, and the key they are found by."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    def to_grid(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
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

        The image, of ``(height, width)`` pixels, is resized to a square of ``input_size`` pixels.
        """
        cells = input_size // patch_size
        return cls(image_shape, (cells, cells))

    @classmethod
    def keeping_aspect(
        cls, image_shape: tuple[int, int], input_size: int, patch_size: int
    ) -> GridTransform:
        """Lay nearly square patches over the whole image, the long side ``input_size`` long.

        The image, of ``(height, width)`` pixels, is resized to ``grid_shape * patch_size``.
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

        Whole pixels are resized and cut as torchvision's ``Resize`` and ``CenterCrop`` do, so the
        window is what the network got, not what exact arithmetic would give.
        """
        cells, shortest = input_size // patch_size, min(image_shape)
        resized = [int(input_size * side / shortest) for side in image_shape]
        start = [round((side - input_size) / 2) for side in resized]
        scale = [full / side for full, side in zip(image_shape, resized, strict=True)]
        side = cells * patch_size
        window = (start[0] * scale[0], start[1] * scale[1], side * scale[0], side * scale[1])
        return cls(image_shape, (cells, cells), window)


@dataclass(frozen=True, eq=False, slots=True)
class FeatureGrid:
    """Patch embeddings of one image plane: encoded once, pooled for any number of regions.

    Attributes
    ----------
    embeddings : ndarray of float32, shape (rows, columns, dim)
        One vector per patch, row-major, not normalised.
    transform : GridTransform
        Image pixels to patch units and back.
    key : str
        Names what was encoded and how (image content, backbone, preprocessing).
    attention : ndarray of float32, shape (rows, columns), optional
        Class-token attention over the patches, summing to one.
    cls : ndarray of float32, shape (dim,), optional
        The class token.
    measures : mapping of str to float
        Facts about the whole image, such as how likely it is a photograph.
    backbone : str
        Name of the backbone that made it; empty where it is not known.
    picture : ndarray of float32, shape (3, height, width), optional
        The prepared picture, for backbones that encode it again for every region.
    """

    embeddings: npt.NDArray[np.float32]
    transform: GridTransform
    key: str
    attention: npt.NDArray[np.float32] | None = None
    cls: npt.NDArray[np.float32] | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    backbone: str = ""
    picture: npt.NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)`` of the grid."""
        rows, columns, _ = self.embeddings.shape
        return rows, columns

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        return int(self.embeddings.shape[2])


def grid_key(image: npt.ArrayLike, backbone: str, **options: object) -> str:
    """Hash an image and the way it is encoded.

    Parameters
    ----------
    image : array_like
        The pixels as the backbone gets them.
    backbone : str
        Its name, weights and preprocessing included.
    **options : object
        Whatever else changes the embeddings; compared by ``repr``, in any order.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> grid_key(np.zeros((2, 2)), "mini") == grid_key(np.zeros((2, 2)), "mini")
    True
    >>> grid_key(np.zeros((2, 2)), "mini") == grid_key(np.zeros((1, 4)), "mini")
    False
    """
    pixels = np.ascontiguousarray(image)
    digest = blake2b(digest_size=16)
    digest.update(
        repr((pixels.shape, pixels.dtype.str, backbone, sorted(options.items()))).encode()
    )
    digest.update(pixels.data.cast("B") if pixels.size else b"")
    return digest.hexdigest()


def derived_key(*made_of: object) -> str:
    """Name a grid that was made from others, by their keys and what was done; 32 hex digits."""
    return blake2b(repr(made_of).encode(), digest_size=16).hexdigest()
