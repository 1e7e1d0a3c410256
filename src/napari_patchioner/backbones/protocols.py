"""What a backbone may offer beside its grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.progress import Progress
    from napari_patchioner.regions import PatchWeights


@runtime_checkable
class TextTower(Protocol):
    """A backbone that puts sentences in the space of its patch embeddings."""

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``."""


@runtime_checkable
class RegionEncoder(Protocol):
    """A backbone that encodes the picture again for every region, instead of pooling patches."""

    def embed_regions(
        self,
        grid: FeatureGrid,
        weights: Sequence[PatchWeights],
        *,
        progress: Progress | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed regions, shape (n, dim), one pass each, of what is in ``grid.picture``.

        ``progress`` may raise ``Cancelled``.
        """
