"""Patch embeddings of an image, where they lie on it, and the key they are found by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from napari_patchioner.regions import GridTransform


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
    """Hash an image and the way it is encoded, to 32 hexadecimal digits.

    The image are the pixels as the backbone gets them; its name holds weights and preprocessing.
    Options are whatever else changes the embeddings; compared by ``repr``, in any order.

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
