"""One grid from the grids of tiles."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import ModelError

from ._grid import FeatureGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from ._tiles import Block, Tiling
    from ._transform import GridTransform


def stitch(
    tiling: Tiling,
    block: Block,
    tile: Callable[[int, int], FeatureGrid],
    transform: GridTransform,
) -> FeatureGrid:
    """Put the patches that some tiles own side by side.

    Parameters
    ----------
    tiling : Tiling
        Where tiles lie and what they own.
    block : Block
        Which of them are wanted.
    tile : callable
        Gives the grid of the tile in a row and column of tiles; asked once for each, so that no
        more than one of them need be in memory.
    transform : GridTransform
        Of the patches that the block owns.

    Returns
    -------
    FeatureGrid
        Each patch as the one tile that owns it has seen it. Attention, which each tile spends on
        itself, sums to one again; the class token and the measures are means over the patches.
        The key tells which tiles these are, and how they overlap.

    Raises
    ------
    ModelError
        A tile has not the patches that it should have.
    """
    top, left, bottom, right = tiling.patches(block)
    sewn = _Sewing(bottom - top, right - left)
    for row in range(block.top, block.bottom):
        for column in range(block.left, block.right):
            grid = tile(row, column)
            _check(grid, tiling)
            downs, acrosses = tiling.down.owned(row), tiling.across.owned(column)
            here = (
                _span(downs, tiling.down.start(row)),
                _span(acrosses, tiling.across.start(column)),
            )
            sewn.add(grid, here, (_span(downs, top), _span(acrosses, left)))
    return sewn.grid(transform, ("overlap", tiling.down.overlap, tiling.across.overlap))


class _Sewing:
    """A grid in the making."""

    def __init__(self, rows: int, columns: int) -> None:
        self.shape = rows, columns
        self.keys: list[object] = []
        self.embeddings: npt.NDArray[np.float32] | None = None
        self.attention: npt.NDArray[np.float32] | None = None
        self.cls: npt.NDArray[np.float32] | None = None
        self.measures: dict[str, float] = {}
        self.backbone = ""

    def add(self, grid: FeatureGrid, here: tuple[slice, slice], there: tuple[slice, slice]) -> None:
        """Copy what a tile owns; ``here`` in its own patches, ``there`` in those of the whole."""
        part = grid.embeddings[here]
        share = part.shape[0] * part.shape[1] / (self.shape[0] * self.shape[1])
        if self.embeddings is None:
            self.embeddings = np.empty((*self.shape, grid.dim), np.float32)
            self.attention = None if grid.attention is None else np.empty(self.shape, np.float32)
            self.cls = None if grid.cls is None else np.zeros_like(grid.cls)
            self.backbone = grid.backbone
        self.embeddings[there] = part
        if self.attention is not None and grid.attention is not None:
            self.attention[there] = grid.attention[here]
        if self.cls is not None and grid.cls is not None:
            self.cls += np.float32(share) * grid.cls
        for name, value in grid.measures.items():
            self.measures[name] = self.measures.get(name, 0.0) + share * value
        self.keys.append((grid.key, there[0].start, there[1].start, part.shape[:2]))

    def grid(self, transform: GridTransform, how: object) -> FeatureGrid:
        """Return what was sewn together."""
        if self.embeddings is None:
            raise ModelError("There are no tiles to put together: choose a region of the image.")
        attention = self.attention
        if attention is not None and attention.sum() > 0:
            attention = attention / attention.sum()
        return FeatureGrid(
            self.embeddings,
            transform,
            derived_key("stitched", how, *self.keys),
            attention=attention,
            cls=self.cls,
            measures=self.measures,
            backbone=self.backbone,
        )


def derived_key(*made_of: object) -> str:
    """Name a grid that was made from others, by their keys and what was done; 32 hex digits."""
    return blake2b(repr(made_of).encode(), digest_size=16).hexdigest()


def _span(patches: tuple[int, int], start: int) -> slice:
    return slice(patches[0] - start, patches[1] - start)


def _check(grid: FeatureGrid, tiling: Tiling) -> None:
    """Refuse a tile of another shape: its patches would be put in the wrong place."""
    wanted = tiling.down.side, tiling.across.side
    if grid.shape != wanted:
        raise ModelError(
            f"A tile came back with {grid.shape[0]} x {grid.shape[1]} patches instead of "
            f"{wanted[0]} x {wanted[1]}; this model cannot look at a large image piece by piece."
        )
