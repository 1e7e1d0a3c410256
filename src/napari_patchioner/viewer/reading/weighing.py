"""Which patches a region takes and how much each counts, as the captioner in use has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_patchioner.grids import pool_shares
from napari_patchioner.regions import WholeImage, cover
from napari_patchioner.viewer.layers.geometry import untangled

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner, Pooling
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import PatchWeights, Region


@dataclass(frozen=True, slots=True)
class Manner:
    """How a captioner goes from a region to patches; its fields are the captioner's."""

    weighting: Literal["touch", "area"] = "touch"
    convention: Literal["paper", "reference"] = "paper"
    pooling: Pooling = "mean"
    whole: Pooling | None = None
    variance: float = 0.5

    @classmethod
    def of(cls, captioner: Captioner) -> Manner:
        """Return the manner of a captioner."""
        known = {name: getattr(captioner, name, None) for name in cls.__slots__}
        return cls(**{name: value for name, value in known.items() if value is not None})

    def cover(self, region: Region, grid: FeatureGrid) -> PatchWeights:
        """Return the patches of a region and how often, or to which share, each is taken."""
        return cover(
            untangled(region),
            grid.transform,
            weighting=self.weighting,
            convention=self.convention,
        )

    def weights(
        self, region: Region, grid: FeatureGrid, pooling: Pooling | None = None
    ) -> npt.NDArray[np.float64]:
        """Return what each patch contributes, shape (rows, columns), summing to one.

        With the class token no patch contributes by itself; then the covered ones are given.
        """
        covered = self.cover(region, grid)
        how = pooling or (isinstance(region, WholeImage) and self.whole) or self.pooling
        if how == "cls" or (how == "attention" and grid.attention is None):
            how = "mean"
        shares = np.zeros(grid.shape)
        shares.flat[covered.indices] = pool_shares(covered, grid, how, variance=self.variance)
        return shares
