"""What the captioner asks of a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid


class Backbone(Protocol):
    """Turns an image into a grid of patch embeddings, in one pass.

    Attributes
    ----------
    name : str
        Goes into the key of every grid it makes.
    dim : int
        Length of one embedding.
    patch_size : int
        Pixels of the resized image along one side of a patch.
    input_size : int
        Pixels along the long side of the resized image.
    """

    name: str
    dim: int
    patch_size: int
    input_size: int

    def encode(
        self, image: npt.ArrayLike, *, progress: Callable[[float, str], None] | None = None
    ) -> FeatureGrid:
        """Look at an image, gray, RGB or RGBA; ``progress`` may raise ``Cancelled``."""
