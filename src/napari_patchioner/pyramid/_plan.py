"""Which part of a large image to look at for a region, and how closely: geometry, no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_patchioner.grids import GridTransform, Tiling
from napari_patchioner.regions import Box, WholeImage, cover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.grids import Block
    from napari_patchioner.regions import Region

    from ._levels import Level

OVERVIEW = -1
"""Number of the level at which the whole image is one picture."""

# A line is so thin that its length counts as if it were an eighth as broad.
_THIN = 8
# Enlarging more than this shows nothing but the resampling.
_MOST_ZOOM = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What is looked at for a region.

    Attributes
    ----------
    level : int
        Number of the level whose tiles are taken, 0 the finest; -1 for one look at all of it.
    patch : tuple of float
        ``(height, width)`` of a patch in full-resolution pixels.
    block : Block, optional
        The tiles; None where there is one look.
    window : tuple of int, optional
        ``(top, left, height, width)`` of the window that is enlarged, in full-resolution pixels.
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
    """Decides how closely to look.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width)`` of the image at full resolution.
    levels : tuple of Level
        Those that are looked at in tiles, the finest first; none for a small image.
    side : int
        Patches along a tile, and along the long side of the overview.
    pixels : int
        Pixels of a level along a patch.
    overlap : int
        Patches that neighbouring tiles share.
    across : float
        Patches that a region should at least be wide, where the image is that fine.
    most : int
        Tiles to look at for one region; where it would take more, a coarser level is taken.
    """

    shape: tuple[int, int]
    levels: tuple[Level, ...]
    side: int
    pixels: int
    overlap: int
    across: float
    most: int

    def plan(self, region: Region, *, zoom: bool = False) -> Plan:
        """Choose the coarsest level at which a region is wide enough.

        Raises
        ------
        RegionError
            The region makes no sense or lies outside the image.
        """
        # What no grid over the image would take is refused here, before anything is read.
        cover(region, GridTransform(self.shape, (1, 1)))
        if isinstance(region, WholeImage):
            return self._overview()
        around = self._inside(region.bounds())
        size = max(_size(box) for box in self._parts(region))
        chosen = self._closest(size, around)
        if zoom and size < min(chosen.patch):
            return self._zoomed(around, size)
        return chosen

    def tiling(self, level: int) -> Tiling:
        """Return the tiles of a level."""
        rows, columns = (-(-side // self.pixels) for side in self.levels[level].shape)
        return Tiling.over((rows, columns), self.side, self.overlap)

    def patch(self, level: int) -> tuple[float, float]:
        """``(height, width)`` of a patch of a level in full-resolution pixels."""
        down, across = self.levels[level].scale
        return self.pixels * down, self.pixels * across

    def view(self, plan: Plan) -> GridTransform | None:
        """Return where the patches lie that a plan looks at; None for all of the image."""
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

    def _closest(self, size: float, around: Box) -> Plan:
        """Return the coarsest plan that is fine enough, or the finest with few enough tiles."""
        chosen = self._overview()
        for level in reversed(range(len(self.levels))):
            if size >= self.across * min(chosen.patch):
                break
            finer = Plan(level, self.patch(level), self._block(level, around))
            # On another level the same region may lie in fewer tiles.
            if finer.block is not None and finer.block.tiles <= self.most:
                chosen = finer
        return chosen

    def _block(self, level: int, around: Box) -> Block:
        """Tiles that own the patches around a region."""
        tiling, (down, across) = self.tiling(level), self.patch(level)
        rows, columns = tiling.down.cells, tiling.across.cells
        return tiling.around(
            (_cell(around.top, down, rows), _cell(around.bottom, down, rows)),
            (_cell(around.left, across, columns), _cell(around.right, across, columns)),
        )

    def _zoomed(self, around: Box, size: float) -> Plan:
        """Enlarge a window around a region until the region is as wide as others are seen."""
        tile = self.side * self.pixels
        side = max(math.ceil(size * self.side / self.across), tile // _MOST_ZOOM, 2)
        height, width = (min(side, full) for full in self.shape)
        top = round((around.top + around.bottom + 1) / 2 - height / 2)
        left = round((around.left + around.right + 1) / 2 - width / 2)
        top = min(max(top, 0), self.shape[0] - height)
        left = min(max(left, 0), self.shape[1] - width)
        patch = max(height, width) / self.side
        return Plan(0, (patch, patch), window=(top, left, height, width))

    def _parts(self, region: Region) -> Sequence[Box]:
        """Return the boxes of what a region is made of, as far as they lie in the image."""
        members = region.parts()
        return [self._inside(member.bounds()) for member in members]

    def _inside(self, box: Box) -> Box:
        """Cut a box at the edges of the image."""
        height, width = self.shape
        rows = [min(max(row, -0.5), height - 0.5) for row in (box.top, box.bottom)]
        columns = [min(max(column, -0.5), width - 0.5) for column in (box.left, box.right)]
        return Box(rows[0], columns[0], rows[1], columns[1])


def _size(box: Box) -> float:
    """Side of the square that a box is about as large as, in pixels."""
    sides = box.bottom - box.top, box.right - box.left
    return math.sqrt(max(sides) * max(min(sides), max(sides) / _THIN))


def _cell(position: float, patch: float, cells: int) -> int:
    """Patch that a position, in pixel-centre coordinates, lies in."""
    return min(max(math.floor((position + 0.5) / patch), 0), cells - 1)
