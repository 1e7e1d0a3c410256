"""What the session sees of one painted label."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.regions import Mask

from .record import Seen

if TYPE_CHECKING:
    import numpy.typing as npt

LABEL = "label"


@dataclass(frozen=True, eq=False, slots=True)
class SeenMask(Seen):
    """The pixels of one label on one plane of the image.

    Attributes
    ----------
    shape_type : str
        `LABEL`; napari has no shape like it.
    vertices : ndarray of float, shape (2, ndim)
        First and last pixel of its bounding box, in image pixels, all axes of the image.
    pixels : ndarray of bool, shape (height, width)
        The label within its bounding box.
    axes : tuple of int
        Image axes of the rows and the columns of `pixels`.
    value : int
        The label.
    digest : str
        Of the pixels and their place, but not of the value.
    """

    pixels: npt.NDArray[np.bool_]
    axes: tuple[int, int]
    value: int
    digest: str

    @property
    def fingerprint(self) -> str:
        """The same for the same pixels at the same place, and only then."""
        return self.digest

    def same(self, other: Seen) -> bool:
        """Whether nothing about both differs, the number painted with included."""
        return Seen.same(self, other) and self.value == getattr(other, "value", None)

    @classmethod
    def of(
        cls,
        pixels: npt.NDArray[np.bool_],
        first: npt.NDArray[np.float64],
        axes: tuple[int, int],
        value: int,
    ) -> SeenMask:
        """Return a label that begins at an image pixel, shape (ndim,)."""
        last = np.array(first, float)
        last[list(axes)] += np.array(pixels.shape) - 1
        corners = np.stack([np.asarray(first, float), last])
        digest = blake2b(repr((LABEL, pixels.shape, axes)).encode(), digest_size=12)
        digest.update(corners.tobytes())
        digest.update(np.packbits(pixels).tobytes())
        return cls(LABEL, corners, pixels, axes, value, digest.hexdigest())

    def mask(self, axes: tuple[int, int]) -> Mask:
        """Return the region, as it lies on a plane with these axes."""
        top, left = (int(np.round(self.vertices[0, axis])) for axis in axes)
        pixels = self.pixels if tuple(axes) == tuple(self.axes) else self.pixels.T
        return Mask(pixels, (top, left))
