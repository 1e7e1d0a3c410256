"""Planes too large for one look: seen whole from afar, and closer where regions are drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.grids import FeatureGrid
from napari_patchioner.images import Levels
from napari_patchioner.regions import WholeImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption
    from napari_patchioner.grids import GridStore, GridTransform
    from napari_patchioner.pyramid import Planner, Pyramid
    from napari_patchioner.regions import Region

    from .picture import PlaneSource

    Report = Callable[[float, str], None]


@dataclass(frozen=True, eq=False, slots=True)
class Overview(FeatureGrid):
    """The grid of one look at all of a large plane, and the way to look closer.

    Attributes
    ----------
    plane : LargePlane
        What captions of this plane come from, instead of this grid.
    """

    plane: LargePlane | None = None


def patches_for(
    grid: FeatureGrid, region: Region | None, options: Mapping[str, Any]
) -> FeatureGrid:
    """Return a grid with the patches that a region takes, closer ones without embeddings.

    Raises
    ------
    RegionError
        The region lies outside a large plane, or makes no sense there.
    """
    if region is None or not isinstance(grid, Overview) or grid.plane is None:
        return grid
    view = grid.plane.view(region, zoom=bool(options.get("zoom")))
    if view is None:
        return grid
    nothing = np.zeros((*view.grid_shape, 0), np.float32)
    return FeatureGrid(nothing, view, grid.key, backbone=grid.backbone)


class ShownSize:
    """A plane in one of its sizes as it is displayed, like an array that is read in parts."""

    dtype = np.dtype(np.uint8)

    def __init__(self, source: PlaneSource) -> None:
        self._source = source
        self.shape = source.own_shape

    def __getitem__(self, window: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        return self._source.read(window)


class LargePlane:
    """Looks at a plane of an image that is too large for one look, in worker threads.

    Parameters
    ----------
    sizes : sequence of PlaneSource
        The plane in all sizes there are, the full one first.
    store : GridStore, optional
        Where what was seen is kept.
    """

    def __init__(self, sizes: Sequence[PlaneSource], store: GridStore | None) -> None:
        self._levels = Levels([ShownSize(size) for size in sizes])
        self._store = store
        self._planner: Planner | None = None

    def overview(self, captioner: Captioner, progress: Report) -> Overview:
        """Look at all of the plane, from its smallest useful size."""
        grid = self._pyramid(captioner).grid(WholeImage(), progress=progress)
        parts = {field.name: getattr(grid, field.name) for field in fields(FeatureGrid)}
        return Overview(**parts, plane=self)

    def caption(
        self,
        captioner: Captioner,
        regions: Sequence[Region],
        *,
        zoom: bool = False,
        progress: Report,
        **options: Any,
    ) -> list[Caption]:
        """Caption regions, each from as close as its size asks for."""
        pyramid = self._pyramid(captioner)
        return pyramid.caption(regions, zoom=zoom, progress=progress, **options)

    def notes(self, region: Region, *, zoom: bool = False) -> dict[str, str]:
        """Say from how close a region is looked at; empty before anything was."""
        return dict(self._planner.plan(region, zoom=zoom).notes) if self._planner else {}

    def view(self, region: Region, *, zoom: bool = False) -> GridTransform | None:
        """Return where the patches lie that a region takes; None for those of the overview."""
        if self._planner is None:
            return None
        return self._planner.view(self._planner.plan(region, zoom=zoom))

    def _pyramid(self, captioner: Captioner) -> Pyramid:
        """Return the image as a captioner sees it; not kept, for the captioner is only lent."""
        made = captioner.pyramid(self._levels, store=self._store)
        self._planner = made.planner
        return made
