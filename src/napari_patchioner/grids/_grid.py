"""What one look at an image leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from ._transform import GridTransform


@dataclass(frozen=True, eq=False, slots=True)
class FeatureGrid:
    """Patch embeddings of one image plane: encoded once, pooled as often as regions ask.

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
        Name of the backbone that made it; empty where nobody says.
    picture : ndarray of float32, shape (3, height, width), optional
        The prepared picture, for backbones that look again at every region.
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
