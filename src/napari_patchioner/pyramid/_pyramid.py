"""Captions of regions of an image of any size, of which only what they need is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.backbones import RegionEncoder
from napari_patchioner.grids import GridStore
from napari_patchioner.regions import each

from ._levels import Levels
from ._look import Looker, part
from ._plan import Planner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

    from ._levels import Level
    from ._plan import Plan

    Tell = Callable[[float, str], None]

BIG = 4096
"""Images with no side longer than this, in pixels, are looked at in one pass."""

_NEIGHBOURHOOD = 4


class Pyramid:
    """A large image as a captioner sees it: in tiles, as closely as each region asks for.

    Nothing is read before a region asks, and then only its own surroundings. An image with no
    side longer than ``big`` has no tiles: it is looked at in one pass, like any other image.

    Parameters
    ----------
    levels : Levels, array_like or sequence of array_like
        The image in one size or several, see `Levels`.
    captioner : Captioner
        What looks and writes.
    store : GridStore, optional
        Where tiles that were looked at are kept; 512 MB of memory by default.
    pixels_per_patch : int, optional
        Pixels of a level that go to one patch; by default as many as the network takes for one,
        so that nothing is resized.
    patches_across : float, optional
        Patches that a region should at least be wide; the coarsest level that gives so many is
        taken. By default a quarter of a tile: a region is seen as large as things are in pictures.
    overlap : int, optional
        Patches that neighbouring tiles share; two fifths of a tile by default, as what a patch of
        a deep network looks like depends on all it can see around it.
    most_tiles : int
        Tiles to look at for one region; a region that would take more is seen at a coarser level.
    big : int
        Long side, in pixels, from which on an image is looked at in tiles.

    Raises
    ------
    ImageError
        The levels are none.
    PatchionerError
        The overlap leaves no tile.

    Examples
    --------
    >>> pyramid = load_model("mini").pyramid(zarr.open("slide.zarr"))  # doctest: +SKIP
    >>> pyramid.caption([Box(9000, 9000, 9200, 9300)])  # doctest: +SKIP
    """

    def __init__(
        self,
        levels: Any,
        captioner: Captioner,
        *,
        store: GridStore | None = None,
        pixels_per_patch: int | None = None,
        patches_across: float | None = None,
        overlap: int | None = None,
        most_tiles: int = 16,
        big: int = BIG,
    ) -> None:
        self.levels = levels if isinstance(levels, Levels) else Levels(levels)
        self.captioner = captioner
        self.store = GridStore() if store is None else store
        backbone = captioner.backbone
        side = max(1, backbone.input_size // backbone.patch_size)
        pixels = pixels_per_patch or backbone.patch_size
        tiled = max(self.levels.shape) > big
        sizes = self.levels.down_to(side * pixels) if tiled else self.levels.given[:1]
        self.planner = Planner(
            self.levels.shape,
            tuple(level for level in sizes if tiled and level.long_side > side * pixels),
            side,
            pixels,
            2 * side // 5 if overlap is None else overlap,
            patches_across or side / 4,
            # What looks at its picture again needs all of a region in one.
            1 if isinstance(backbone, RegionEncoder) else most_tiles,
        )
        whole = _overview(sizes, side * pixels)
        self._looker = Looker(self.levels, whole, self.planner, captioner, self.store)

    def plan(self, region: Region, *, zoom: bool = False) -> Plan:
        """Say what would be looked at for a region, without looking.

        Parameters
        ----------
        region : Region
            In full-resolution pixels, ``(row, column)``.
        zoom : bool
            Whether a region smaller than the finest patch is looked at enlarged.

        Raises
        ------
        RegionError
            The region makes no sense or lies outside the image.
        """
        return self.planner.plan(region, zoom=zoom)

    def grid(
        self, region: Region, *, zoom: bool = False, progress: Tell | None = None
    ) -> FeatureGrid:
        """Look at the surroundings of a region.

        Parameters
        ----------
        region, zoom
            As for :meth:`plan`.
        progress : callable, optional
            Told the share done, 0 to 1, and what is being done; may raise ``Cancelled``.

        Returns
        -------
        FeatureGrid
            A part of the grid that would lie over the whole image, its coordinates in
            full-resolution pixels; any region in it takes the patches it would take there.

        Raises
        ------
        RegionError
            The region makes no sense or lies outside the image.
        ImageError
            What was read is no picture.
        """
        return self.look(self.plan(region, zoom=zoom), progress=progress)

    def looks(
        self, regions: Sequence[Region], *, zoom: bool = False
    ) -> list[tuple[Plan, list[int]]]:
        """Plan for many regions at once.

        Parameters
        ----------
        regions, zoom
            As for :meth:`caption`.

        Returns
        -------
        list of (Plan, list of int)
            What to look at, and the positions of the regions that are seen there; those that share
            tiles come soon after one another.

        Raises
        ------
        RegionError
            If a region lies outside the image or makes no sense.
        """
        groups: dict[Plan, list[int]] = {}
        plans = each(regions, lambda region: self.plan(region, zoom=zoom))
        for position, plan in enumerate(plans):
            groups.setdefault(plan, []).append(position)
        return [(plan, groups[plan]) for plan in sorted(groups, key=_nearby)]

    def look(self, plan: Plan, *, progress: Tell | None = None) -> FeatureGrid:
        """Carry out a plan, as :meth:`grid` does; the same plan gives the same grid."""
        return self._looker.look(plan, progress or _silent)

    def caption(
        self,
        regions: Sequence[Region],
        *,
        zoom: bool = False,
        progress: Tell | None = None,
        **options: Any,
    ) -> list[Caption]:
        """Caption regions, those that see the same tiles together.

        Parameters
        ----------
        regions : sequence of Region
            In full-resolution pixels, ``(row, column)``.
        zoom : bool
            Whether regions smaller than the finest patch are looked at enlarged.
        progress : callable, optional
            Told the share done, 0 to 1, and what is being done; may raise ``Cancelled``.
        **options
            As for `Captioner.caption`.

        Returns
        -------
        list of Caption
            One per region, in the same order.

        Raises
        ------
        RegionError
            If a region lies outside the image or makes no sense; nothing was read then.
        """
        tell = progress or _silent
        captions: dict[int, Caption] = {}
        for plan, members in self.looks(regions, zoom=zoom):
            start, width = len(captions) / len(regions), len(members) / len(regions)
            grid = self.look(plan, progress=part(tell, start, 0.8 * width))
            written = self.captioner.caption(
                grid,
                [regions[position] for position in members],
                progress=part(tell, start + 0.8 * width, 0.2 * width),
                **options,
            )
            captions |= dict(zip(members, written, strict=True))
        return [captions[position] for position in range(len(regions))]


def _overview(levels: Sequence[Level], side: int) -> Level:
    """Return the coarsest level that still fills most of what a network takes in."""
    return [level for level in levels if level is levels[0] or 2 * level.long_side >= side][-1]


def _nearby(plan: Plan) -> tuple[int, ...]:
    """Order plans so that those that share tiles come soon after one another."""
    if plan.block is None:
        return (plan.level, *(plan.window or ()))
    row, column = plan.block.top, plan.block.left
    return (plan.level, row // _NEIGHBOURHOOD, column // _NEIGHBOURHOOD, row, column)


def _silent(_fraction: float, _message: str) -> None: ...
