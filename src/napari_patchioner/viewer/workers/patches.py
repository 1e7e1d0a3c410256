"""Which patches a region takes, also of planes too large for one pass."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_patchioner.grids import FeatureGrid, pool_shares
from napari_patchioner.images import Levels
from napari_patchioner.regions import WholeImage, cover
from napari_patchioner.viewer.layers.geometry import untangled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption, Pooling
    from napari_patchioner.grids import GridStore, GridTransform
    from napari_patchioner.progress import Progress
    from napari_patchioner.pyramid import Planner, Pyramid
    from napari_patchioner.regions import PatchWeights, Region

    from .plane import PlaneSource


@dataclass(frozen=True, slots=True)
class RegionPooling:
    """How a captioner goes from a region to patches; its fields are the captioner's."""

    weighting: Literal["touch", "area"] = "touch"
    convention: Literal["paper", "reference"] = "paper"
    pooling: Pooling = "mean"
    whole: Pooling | None = None
    variance: float = 0.5

    @classmethod
    def of(cls, captioner: Captioner) -> RegionPooling:
        """Return the pooling of a captioner."""
        return cls(**{field.name: getattr(captioner, field.name) for field in fields(cls)})

    def cover(self, region: Region, grid: FeatureGrid) -> PatchWeights:
        """Return the patches of a region and how often, or to which share, each is taken."""
        return cover(
            untangled(region), grid.transform, weighting=self.weighting, convention=self.convention
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


@dataclass(frozen=True, eq=False, slots=True)
class Overview(FeatureGrid):
    """The grid of all of a large plane, and the plane that captions are made from instead."""

    plane: LargePlane | None = None


def patches_for(
    grid: FeatureGrid, region: Region | None, options: Mapping[str, Any]
) -> FeatureGrid:
    """Return a grid with the patches that a region takes, closer ones without embeddings."""
    if region is None or not isinstance(grid, Overview) or grid.plane is None:
        return grid
    view = grid.plane.view(region, zoom=bool(options.get("zoom")))
    if view is None:
        return grid
    nothing = np.zeros((*view.grid_shape, 0), np.float32)
    return FeatureGrid(nothing, view, grid.key, backbone=grid.backbone)


class ShownLevel:
    """A plane in one of its sizes as it is displayed, like an array that is read in parts."""

    dtype = np.dtype(np.uint8)

    def __init__(self, source: PlaneSource) -> None:
        self._source = source
        self.shape = source.own_shape

    def __getitem__(self, window: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        return self._source.read(window)


class LargePlane:
    """A plane too large for one pass, in worker threads: encoded from afar, and close to regions.

    Takes the plane in all its sizes, the full one first, and a store for the grids.
    """

    def __init__(self, sizes: Sequence[PlaneSource], store: GridStore | None) -> None:
        self._levels = Levels([ShownLevel(size) for size in sizes])
        self._store = store
        self._planner: Planner | None = None

    def overview(self, captioner: Captioner, progress: Progress) -> Overview:
        """Encode all of the plane, from its smallest useful size."""
        grid = self._pyramid(captioner).grid(WholeImage(), progress=progress)
        parts = {field.name: getattr(grid, field.name) for field in fields(FeatureGrid)}
        return Overview(**parts, plane=self)

    def caption(
        self,
        captioner: Captioner,
        regions: Sequence[Region],
        *,
        zoom: bool = False,
        progress: Progress,
        **options: Any,
    ) -> list[Caption]:
        """Caption regions, each from as close as its size asks for."""
        pyramid = self._pyramid(captioner)
        return pyramid.caption(regions, zoom=zoom, progress=progress, **options)

    def notes(self, region: Region, *, zoom: bool = False) -> dict[str, str]:
        """Return from how close a region is encoded; empty before anything was."""
        return dict(self._planner.plan(region, zoom=zoom).notes) if self._planner else {}

    def view(self, region: Region, *, zoom: bool = False) -> GridTransform | None:
        """Return where the patches lie that a region takes; None for those of the overview."""
        if self._planner is None:
            return None
        return self._planner.view(self._planner.plan(region, zoom=zoom))

    def _pyramid(self, captioner: Captioner) -> Pyramid:
        """Return the image as a captioner encodes it; not kept, for the captioner is only lent."""
        pyramid = captioner.pyramid(self._levels, store=self._store)
        self._planner = pyramid.planner
        return pyramid
