"""What the captioner asks of a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import PatchWeights


class Backbone(Protocol):
    """Turns an image into a grid of patch embeddings, in one pass.

    Attributes
    ----------
    name : str
        Goes into every grid it makes and its key; two backbones whose grids differ have
        different names.
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
        """Look at an image, gray, RGB or RGBA; ``progress`` may raise ``Cancelled``.

        The grid's key is ``grid_key(as_rgb(image), self.name)``, so that a grid of the same image
        can be found without looking again.
        """


@runtime_checkable
class TextTower(Protocol):
    """A backbone that puts sentences in the space of its patch embeddings."""

    def embed_text(
        self, texts: Sequence[str], *, progress: Callable[[float, str], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``."""


@runtime_checkable
class RegionEncoder(Protocol):
    """A backbone that looks at the picture again for every region, instead of pooling patches."""

    def embed_regions(
        self,
        grid: FeatureGrid,
        weights: Sequence[PatchWeights],
        *,
        progress: Callable[[float, str], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed regions, shape (n, dim), one pass each; ``grid.picture`` is what it looks at.

        ``progress`` may raise ``Cancelled``.
        """
