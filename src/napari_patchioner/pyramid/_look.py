"""Carrying out a plan: reading pixels, having them looked at, keeping what was seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.backbones import RegionEncoder
from napari_patchioner.grids import derived_key, stitch

from ._plan import OVERVIEW
from ._shrunk import Shrunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import Block, FeatureGrid, GridStore

    from ._levels import Level, Levels
    from ._plan import Plan, Planner

    Tell = Callable[[float, str], None]

# Share of the time of a look that goes into reading.
_READING = 0.3
# All of an image is read for regions of it only up to so many pixels: 8192 by 8192.
_MOST_JUDGED = 2**26


@dataclass(eq=False, slots=True)
class Looker:
    """Gives grids of parts of an image.

    Attributes
    ----------
    levels : Levels
        The image.
    whole : Level
        Its size that is looked at in one pass.
    planner : Planner
        Where tiles lie.
    captioner : Captioner
        What looks.
    store : GridStore
        Where tiles that were looked at are kept.
    """

    levels: Levels
    whole: Level
    planner: Planner
    captioner: Captioner
    store: GridStore

    def look(self, plan: Plan, tell: Tell) -> FeatureGrid:
        """Return the grid of a plan, its coordinates in full-resolution pixels."""
        if plan.window is not None:
            return self._judged(self._enlarged(plan.window, tell), tell)
        if plan.block is None:
            return self._overview(tell)
        if isinstance(self.captioner.backbone, RegionEncoder):
            return self._judged(self._alone(plan, plan.block, tell), tell)
        return self._judged(self._stitched(plan, plan.block, tell), tell)

    def _judged(self, grid: FeatureGrid, tell: Tell) -> FeatureGrid:
        """Let what was measured of the whole image count, where that takes no long reading.

        A tile of a photograph may look like none: all sky, or a wall.
        """
        if not grid.measures or _pixels_read(self.whole) > _MOST_JUDGED:
            return grid
        overview = self._overview(lambda _, message: tell(1.0, message))
        key = derived_key("judged", overview.key, grid.key)
        return replace(grid, measures=overview.measures, key=key)

    def _overview(self, tell: Tell) -> FeatureGrid:
        """Look at all of the image in one pass."""
        level = self.whole

        def picture() -> Any:
            pixels = level.read(0, 0, *level.shape, _share(tell, "reading the image"))
            # A small image is handed over as it is, so that it is seen as it always was.
            return self.levels.rgb(pixels) if self.planner.levels else self.levels.as_is(pixels)

        grid = self._seen((OVERVIEW, 0, 0), picture, tell)
        extent = np.multiply(level.shape, level.scale)
        height, width = np.where(np.isclose(extent, self.levels.shape), self.levels.shape, extent)
        return _placed(grid, self.levels.shape, (0.0, 0.0, float(height), float(width)))

    def _stitched(self, plan: Plan, block: Block, tell: Tell) -> FeatureGrid:
        """Look at the tiles of a plan and put them together."""
        transform = self.planner.view(plan)
        assert transform is not None
        done = 0

        def tile(row: int, column: int) -> FeatureGrid:
            nonlocal done
            message = f"looking closer: {done + 1} of {block.tiles}"
            told = part(tell, done / block.tiles, 1 / block.tiles, message)
            done += 1
            return self._tile(plan.level, row, column, told)

        return stitch(self.planner.tiling(plan.level), block, tile, transform)

    def _alone(self, plan: Plan, block: Block, tell: Tell) -> FeatureGrid:
        """Look at one tile and keep all of it, as its picture will be looked at again."""
        tiling, (down, across) = self.planner.tiling(plan.level), plan.patch
        grid = self._tile(plan.level, block.top, block.left, tell)
        top, left = tiling.down.start(block.top), tiling.across.start(block.left)
        side = self.planner.side
        window = (top * down, left * across, side * down, side * across)
        return _placed(grid, self.levels.shape, window)

    def _tile(self, number: int, row: int, column: int, tell: Tell) -> FeatureGrid:
        """Look at one tile, which reaches beyond what it owns."""
        level, tiling = self.planner.levels[number], self.planner.tiling(number)
        pixels, side = self.planner.pixels, self.planner.side * self.planner.pixels
        corner = tiling.down.start(row) * pixels, tiling.across.start(column) * pixels

        def picture() -> Any:
            return self.levels.rgb(level.read(*corner, side, side, _share(tell, "")))

        return self._seen((number, row, column), picture, tell)

    def _enlarged(self, window: tuple[int, int, int, int], tell: Tell) -> FeatureGrid:
        """Look at a small window, which the backbone enlarges to its own size."""
        tell(0.0, "enlarging")
        pixels = self.levels.rgb(self.levels.given[0].read(*window))
        seen = self.captioner.encode(pixels, progress=tell, store=self.store)
        grid = _placed(seen, self.levels.shape, window)
        return replace(grid, key=derived_key("zoomed", window, grid.key))

    def _seen(
        self, place: tuple[int, int, int], picture: Callable[[], Any], tell: Tell
    ) -> FeatureGrid:
        """Return what was seen at a place before, or read and look."""
        # Another captioner's backbone, or other tiles, see the same place differently.
        ways = self.planner.side, self.planner.pixels, self.planner.overlap
        keys = self.levels.seen((self.captioner.backbone.name, *ways))
        known = self.store.get(keys.get(place, ""))
        if known is None:
            tell(0.0, "reading the image")
            told = part(tell, _READING, 1 - _READING)
            known = self.captioner.encode(picture(), progress=told, store=self.store)
            keys[place] = known.key
        return known


def part(tell: Tell, start: float, width: float, message: str = "") -> Tell:
    """Return a callback for a step of something longer, with a message of its own if need be."""
    return lambda done, told: tell(start + width * done, message or told)


def _pixels_read(level: Level) -> int:
    """Pixels to read for all of a level; one that is made up is read from a larger one."""
    side = level.data.factor if isinstance(level.data, Shrunk) else 1
    return level.shape[0] * level.shape[1] * side * side


def _share(tell: Tell, message: str) -> Callable[[float], None]:
    return lambda done: tell(_READING * done, message)


def _placed(
    grid: FeatureGrid, shape: tuple[int, int], window: tuple[float, float, float, float]
) -> FeatureGrid:
    """Return the grid of a picture that shows a window of a larger image."""
    here = grid.transform
    if here.window is None and window == (0, 0, *shape):
        return replace(grid, transform=replace(here, image_shape=shape))
    down, across = window[2] / here.image_shape[0], window[3] / here.image_shape[1]
    top, left, height, width = here.extent
    seen = (window[0] + top * down, window[1] + left * across, height * down, width * across)
    return replace(grid, transform=replace(here, image_shape=shape, window=seen))
