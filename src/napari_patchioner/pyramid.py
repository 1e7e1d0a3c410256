"""Regions of images too large for one pass: a plan of tiles, encoded and captioned lazily."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .backbones import RegionEncoder
from .decoders import Caption
from .grids import Block, FeatureGrid, GridStore, GridTransform, Tiling, derived_key, stitch
from .images import Level, Levels, Shrunk
from .progress import Progress, no_progress, part
from .regions import Box, Region, WholeImage, cover, each

if TYPE_CHECKING:
    from .backbones.base import Backbone

BIG = 4096
"""Images with no side longer than this, in pixels, are encoded in one pass."""

OVERVIEW = -1
"""Number of the level at which the whole image is encoded in one pass."""

# A line is so thin that its length counts as if it were an eighth as broad.
_THIN = 8
# Enlarging more than this shows nothing but the resampling.
_MOST_ZOOM = 16
# Share of the time of encoding that goes into reading pixels.
_READING = 0.3
# All of an image is read for regions of it only up to so many pixels: 8192 by 8192.
_MOST_MEASURED = 2**26
# Tiles along each side of a square whose plans are carried out one after the other.
_NEIGHBOURHOOD = 4


class Encoder(Protocol):
    """The part of a `Captioner` that a pyramid calls."""

    backbone: Backbone

    def encode(
        self, image: Any, *, progress: Progress | None = None, store: GridStore | None = None
    ) -> FeatureGrid:
        """Return the grid of a picture."""

    @property
    def caption(self) -> Callable[..., list[Caption]]:
        """Caption regions of a grid."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is encoded for a region.

    ``level`` is the number of the level whose tiles are taken, 0 the finest, -1 for all of it in
    one pass; ``patch`` the ``(height, width)`` of a patch in full-resolution pixels; ``block`` the
    tiles, None where there is one pass; ``window`` the ``(top, left, height, width)`` of the window
    that is enlarged, in full-resolution pixels.
    """

    level: int
    patch: tuple[float, float]
    block: Block | None = None
    window: tuple[int, int, int, int] | None = None

    @property
    def notes(self) -> dict[str, str]:
        """What a caption should say of where it is from: patch size, tiles, zoomed window."""
        facts = {"patch_pixels": f"{math.sqrt(self.patch[0] * self.patch[1]):.4g}"}
        if self.block is not None:
            facts |= {"level": str(self.level), "tiles": str(self.block.tiles)}
        if self.window is not None:
            top, left, height, width = self.window
            facts["zoomed"] = f"rows {top} to {top + height}, columns {left} to {left + width}"
        return facts


@dataclass(frozen=True, slots=True)
class Planner:
    """Decides at which resolution a region is encoded: geometry, no pixels.

    ``shape`` is the ``(height, width)`` of the image at full resolution; ``levels`` are those that
    are encoded in tiles, the finest first, none for a small image.
    """

    shape: tuple[int, int]
    levels: tuple[Level, ...]
    side: int
    """Patches along a tile, and along the long side of the overview."""
    pixels: int
    """Pixels of a level along a patch."""
    overlap: int
    """Patches that neighbouring tiles share."""
    across: float
    """Patches that a region should at least be wide, where the image is that fine."""
    most: int
    """Tiles to encode for one region; where it would take more, a coarser level is taken."""

    def plan(self, region: Region, *, zoom: bool = False) -> Plan:
        """Choose the coarsest level at which a region is wide enough; a RegionError outside."""
        # What no grid over the image would take is refused here, before anything is read.
        cover(region, GridTransform(self.shape, (1, 1)))
        if isinstance(region, WholeImage):
            return self._overview()
        around = _cut(region.bounds(), self.shape)
        size = max(_size(_cut(member.bounds(), self.shape)) for member in region.parts())
        chosen = self._overview()
        for level in reversed(range(len(self.levels))):
            if size >= self.across * min(chosen.patch):
                break
            tiling, patch = self.tiling(level), self.patch(level)
            # The tiles that own the patches around the region.
            corners = np.floor((around.coords()[::2] + 0.5) / patch).astype(int)
            first, last = corners.clip(0, (tiling.down.cells - 1, tiling.across.cells - 1)).tolist()
            block = tiling.around((first[0], last[0]), (first[1], last[1]))
            # On another level the same region may lie in fewer tiles.
            if block.tiles <= self.most:
                chosen = Plan(level, patch, block)
        return self._zoomed(around, size) if zoom and size < min(chosen.patch) else chosen

    def tiling(self, level: int) -> Tiling:
        """Return the tiles of a level."""
        rows, columns = (-(-side // self.pixels) for side in self.levels[level].shape)
        return Tiling.over((rows, columns), self.side, self.overlap)

    def patch(self, level: int) -> tuple[float, float]:
        """``(height, width)`` of a patch of a level in full-resolution pixels."""
        down, across = self.levels[level].scale
        return self.pixels * down, self.pixels * across

    def view(self, plan: Plan) -> GridTransform | None:
        """Return where the patches of a plan lie; None for all of the image."""
        if plan.window is not None:
            longest = max(plan.window[2:])
            rows, columns = (round(self.side * length / longest) for length in plan.window[2:])
            return GridTransform(self.shape, (max(1, rows), max(1, columns)), plan.window)
        if plan.block is None:
            return None
        down, across = plan.patch
        top, left, bottom, right = self.tiling(plan.level).patches(plan.block)
        window = (top * down, left * across, (bottom - top) * down, (right - left) * across)
        return GridTransform(self.shape, (bottom - top, right - left), window)

    def _overview(self) -> Plan:
        side = max(self.shape) / self.side
        return Plan(OVERVIEW, (side, side))

    def _zoomed(self, around: Box, size: float) -> Plan:
        """Enlarge a window around a region until it is as wide as other regions are."""
        tile = self.side * self.pixels
        side = max(math.ceil(size * self.side / self.across), tile // _MOST_ZOOM, 2)
        sides = np.minimum(side, self.shape)
        (top, left), (bottom, right) = around.coords()[::2] + 0.5
        middle = np.array([top + bottom, left + right]) / 2
        starts = np.round(middle - sides / 2).clip(0, self.shape - sides)
        top, left, height, width = map(int, (*starts, *sides))
        patch = max(height, width) / self.side
        return Plan(0, (patch, patch), window=(top, left, height, width))


def _cut(box: Box, shape: tuple[int, int]) -> Box:
    """Cut a box at the edges of the image."""
    corners = box.coords()[::2].clip(-0.5, np.subtract(shape, 0.5))
    return Box(*corners.ravel().tolist())


def _size(box: Box) -> float:
    """Side of the square that a box is about as large as, in pixels."""
    sides = box.bottom - box.top, box.right - box.left
    return math.sqrt(max(sides) * max(min(sides), max(sides) / _THIN))


class Pyramid:
    """A large image as a captioner sees it: in tiles, as closely as each region asks for.

    Nothing is read before a region asks, and then only its own surroundings. An image with no
    side longer than ``big`` has no tiles: it is encoded in one pass, like any other image.

    Regions are in full-resolution pixels, ``(row, column)``; one that makes no sense or lies
    outside the image is a ``RegionError``, before anything is read. With ``zoom`` a region smaller
    than the finest patch is enlarged.

    Parameters
    ----------
    levels : Levels, array_like or sequence of array_like
        The image in one size or several, see `Levels`.
    captioner : Captioner
        What encodes and captions.
    store : GridStore, optional
        Where encoded tiles are kept; 512 MB of memory by default.
    pixels_per_patch : int, optional
        Pixels of a level that go to one patch; by default as many as the network takes for one,
        so that nothing is resized.
    patches_across : float, optional
        Patches that a region should at least be wide; the coarsest level that gives so many is
        taken. By default a quarter of a tile: a region is seen as large as things are in pictures.
    overlap : int, optional
        Patches that neighbouring tiles share; two fifths of a tile by default, as the embedding
        of a patch depends on all that a deep network can see around it.
    most_tiles : int
        Tiles to encode for one region; a region that would take more is seen at a coarser level.
    big : int
        Long side, in pixels, from which on an image is encoded in tiles.

    Examples
    --------
    >>> pyramid = load_model("mini").pyramid(zarr.open("slide.zarr"))  # doctest: +SKIP
    >>> pyramid.caption([Box(9000, 9000, 9200, 9300)])  # doctest: +SKIP
    """

    def __init__(
        self,
        levels: Any,
        captioner: Encoder,
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
            # A backbone that encodes each region anew needs all of it in one tile.
            1 if isinstance(backbone, RegionEncoder) else most_tiles,
        )
        # The coarsest level that still fills most of what a network takes in.
        large = [
            level for level in sizes if level is sizes[0] or 2 * level.long_side >= side * pixels
        ]
        self._whole = large[-1]

    def plan(self, region: Region, *, zoom: bool = False) -> Plan:
        """Return what would be encoded for a region, without reading anything."""
        return self.planner.plan(region, zoom=zoom)

    def plans(
        self, regions: Sequence[Region], *, zoom: bool = False
    ) -> list[tuple[Plan, list[int]]]:
        """Return what to encode for many regions, and the positions of those that are seen there.

        Plans that share tiles come soon after one another.
        """
        groups: dict[Plan, list[int]] = {}
        for position, plan in enumerate(each(regions, lambda region: self.plan(region, zoom=zoom))):
            groups.setdefault(plan, []).append(position)

        def order(plan: Plan) -> tuple[int, ...]:
            if plan.block is None:
                return (plan.level, *(plan.window or ()))
            row, column = plan.block.top, plan.block.left
            return (plan.level, row // _NEIGHBOURHOOD, column // _NEIGHBOURHOOD, row, column)

        return [(plan, groups[plan]) for plan in sorted(groups, key=order)]

    def grid(
        self, region: Region, *, zoom: bool = False, progress: Progress | None = None
    ) -> FeatureGrid:
        """Encode the surroundings of a region; ``progress`` may raise ``Cancelled``.

        The grid is a part of that which would lie over the whole image, its coordinates in
        full-resolution pixels; any region in it takes the patches it would take there.
        """
        return self.encode(self.plan(region, zoom=zoom), progress=progress)

    def encode(self, plan: Plan, *, progress: Progress | None = None) -> FeatureGrid:
        """Carry out a plan, as :meth:`grid` does; the same plan gives the same grid."""
        progress = progress or no_progress
        if plan.window is not None:
            progress(0.0, "enlarging")
            pixels = self.levels.rgb(self.levels.given[0].read(*plan.window))
            grid = self.captioner.encode(pixels, progress=progress, store=self.store)
            grid = _placed(grid, self.levels.shape, plan.window)
            grid = replace(grid, key=derived_key("zoomed", plan.window, grid.key))
        elif plan.block is None:
            return self._overview(progress)
        else:
            grid = self._tiled(plan, plan.block, progress)
        # A tile of a photograph may look like none: all sky, or a wall. So what was measured of
        # the whole image counts, where that takes no long reading.
        factor = self._whole.data.factor if isinstance(self._whole.data, Shrunk) else 1
        if not grid.measures or math.prod(self._whole.shape) * factor**2 > _MOST_MEASURED:
            return grid
        overview = self._overview(part(progress, 1.0, 1.0))
        key = derived_key("judged", overview.key, grid.key)
        return replace(grid, measures=overview.measures, key=key)

    def caption(
        self,
        regions: Sequence[Region],
        *,
        zoom: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Caption]:
        """Caption regions, those that see the same tiles together; one caption each, in order.

        ``progress`` may raise ``Cancelled``; the options are those of `Captioner.caption`.
        """
        progress = progress or no_progress
        captions: dict[int, Caption] = {}
        for plan, members in self.plans(regions, zoom=zoom):
            start = len(captions) / len(regions)
            stop = (len(captions) + len(members)) / len(regions)
            middle = start + 0.8 * (stop - start)
            grid = self.encode(plan, progress=part(progress, start, middle))
            group = self.captioner.caption(
                grid,
                [regions[position] for position in members],
                progress=part(progress, middle, stop),
                **options,
            )
            captions |= dict(zip(members, group, strict=True))
        return [captions[position] for position in range(len(regions))]

    def _overview(self, progress: Progress) -> FeatureGrid:
        """Encode all of the image in one pass."""
        level = self._whole

        def pixels() -> Any:
            read = level.read(0, 0, *level.shape, part(progress, 0, _READING, "reading the image"))
            # A small image is handed over as it is, so that it is encoded as in one pass.
            return self.levels.rgb(read) if self.planner.levels else self.levels.as_is(read)

        grid = self._encoded((OVERVIEW, 0, 0), pixels, progress)
        extent = np.multiply(level.shape, level.scale)
        height, width = np.where(np.isclose(extent, self.levels.shape), self.levels.shape, extent)
        return _placed(grid, self.levels.shape, (0.0, 0.0, float(height), float(width)))

    def _tiled(self, plan: Plan, block: Block, progress: Progress) -> FeatureGrid:
        """Encode the tiles of a plan and put together the patches that they own."""
        level, tiling = self.planner.levels[plan.level], self.planner.tiling(plan.level)
        pixels, side = self.planner.pixels, self.planner.side
        done = 0

        def tile(row: int, column: int, progress: Progress) -> FeatureGrid:
            """Encode one tile, which reaches beyond the patches it owns."""
            corner = tiling.down.start(row) * pixels, tiling.across.start(column) * pixels
            sides, reading = (side * pixels, side * pixels), part(progress, 0, _READING, "")
            return self._encoded(
                (plan.level, row, column),
                lambda: self.levels.rgb(level.read(*corner, *sides, reading)),
                progress,
            )

        def next_tile(row: int, column: int) -> FeatureGrid:
            nonlocal done
            start, done = done, done + 1
            message = f"encoding tile {done} of {block.tiles}"
            return tile(
                row, column, part(progress, start / block.tiles, done / block.tiles, message)
            )

        if not isinstance(self.captioner.backbone, RegionEncoder):
            transform = self.planner.view(plan)
            assert transform is not None
            return stitch(tiling, block, next_tile, transform)
        # All of the one tile is kept, as the backbone will encode its regions anew.
        grid, (down, across) = tile(block.top, block.left, progress), plan.patch
        top, left = tiling.down.start(block.top), tiling.across.start(block.left)
        window = (top * down, left * across, side * down, side * across)
        return _placed(grid, self.levels.shape, window)

    def _encoded(
        self, place: tuple[int, int, int], pixels: Callable[[], Any], progress: Progress
    ) -> FeatureGrid:
        """Return the grid of a place from the store, or read and encode it."""
        # Another captioner's backbone, or other tiles, give other grids of the same place.
        ways = self.planner.side, self.planner.pixels, self.planner.overlap
        keys = self.levels.keys((self.captioner.backbone.name, *ways))
        known = self.store.get(keys.get(place, ""))
        if known is None:
            progress(0.0, "reading the image")
            rest = part(progress, _READING, 1.0)
            known = self.captioner.encode(pixels(), progress=rest, store=self.store)
            keys[place] = known.key
        return known


def _placed(
    grid: FeatureGrid, shape: tuple[int, int], window: tuple[float, float, float, float]
) -> FeatureGrid:
    """Return the grid of a picture that shows a window of a larger image."""
    inner = grid.transform
    if inner.window is None and window == (0, 0, *shape):
        return replace(grid, transform=replace(inner, image_shape=shape))
    down, across = window[2] / inner.image_shape[0], window[3] / inner.image_shape[1]
    top, left, height, width = inner.extent
    outer = (window[0] + top * down, window[1] + left * across, height * down, width * across)
    return replace(grid, transform=replace(inner, image_shape=shape, window=outer))
