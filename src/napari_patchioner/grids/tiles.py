"""Overlapping tiles over a grid of patches, each patch owned by one, and one grid of theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from napari_patchioner.errors import ModelError, PatchionerError
from napari_patchioner.regions import GridTransform

from .grid import FeatureGrid, derived_key


@dataclass(frozen=True, slots=True)
class Strip:
    """Tiles along one axis of a patch grid.

    Tile ``i`` begins at patch ``i * (side - overlap)``, the last one so early that it ends with
    the grid; a grid shorter than a tile has one, which reaches beyond it. A patch belongs to the
    tile in whose middle it lies most, the earlier one if two are as good.

    There are ``cells`` patches along the axis and ``side`` along a tile; neighbours share at least
    ``overlap`` of them.
    """

    cells: int
    side: int
    overlap: int

    def __post_init__(self) -> None:
        if not (self.cells >= 1 and 0 <= self.overlap < self.side):
            raise PatchionerError(
                f"Tiles of {self.side} patches cannot share {self.overlap} over "
                f"{self.cells}: choose an overlap from 0 to {self.side - 1}."
            )

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        beyond = max(0, self.cells - self.side)
        return 1 + -(-beyond // (self.side - self.overlap))

    def start(self, tile: int) -> int:
        """First patch of a tile."""
        return min(tile * (self.side - self.overlap), max(0, self.cells - self.side))

    def owned(self, tile: int) -> tuple[int, int]:
        """First patch that belongs to a tile, and the first after it that does not."""
        first = 0 if tile == 0 else self._border(tile - 1)
        return first, self.cells if tile == self.tiles - 1 else self._border(tile)

    def owner(self, cell: int) -> int:
        """Tile that a patch belongs to."""
        # Borders rise by one step per tile, save for the last one: one division, one look around.
        guess = min(max(cell // (self.side - self.overlap), 0), self.tiles - 1)
        while cell < self.owned(guess)[0]:
            guess -= 1
        while cell >= self.owned(guess)[1]:
            guess += 1
        return guess

    def _border(self, tile: int) -> int:
        """First patch nearer to the middle of the next tile than to that of this one."""
        return (self.start(tile) + self.start(tile + 1) + self.side + 1) // 2


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring tiles: rows and columns of them, the stops not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def tiles(self) -> int:
        """How many tiles these are."""
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles over a whole patch grid: strips down its rows and across its columns.

    Examples
    --------
    >>> tiling = Tiling.over((10, 4), side=4, overlap=1)
    >>> [tiling.down.start(tile) for tile in range(tiling.down.tiles)]
    [0, 3, 6]
    >>> [tiling.down.owned(tile) for tile in range(tiling.down.tiles)]
    [(0, 4), (4, 7), (7, 10)]
    """

    down: Strip
    across: Strip

    @classmethod
    def over(cls, grid_shape: tuple[int, int], side: int, overlap: int) -> Tiling:
        """Lay square tiles of ``side`` patches over ``(rows, columns)`` of them."""
        return cls(Strip(grid_shape[0], side, overlap), Strip(grid_shape[1], side, overlap))

    def around(self, rows: tuple[int, int], columns: tuple[int, int]) -> Block:
        """Tiles that own the patches of a rectangle, its first and last row and column given."""
        return Block(
            self.down.owner(rows[0]),
            self.across.owner(columns[0]),
            self.down.owner(rows[1]) + 1,
            self.across.owner(columns[1]) + 1,
        )

    def patches(self, block: Block) -> tuple[int, int, int, int]:
        """Return ``(top, left, bottom, right)`` of the patches that a block owns, stops not in."""
        return (
            self.down.owned(block.top)[0],
            self.across.owned(block.left)[0],
            self.down.owned(block.bottom - 1)[1],
            self.across.owned(block.right - 1)[1],
        )


def stitch(
    tiling: Tiling,
    block: Block,
    tile: Callable[[int, int], FeatureGrid],
    transform: GridTransform,
) -> FeatureGrid:
    """Put the patches that the tiles of a block own side by side, each as its one owner has it.

    ``tile`` gives the grid of the tile in a row and column of tiles; it is asked once for each, so
    that no more than one of them need be in memory. ``transform`` is that of the patches that the
    block owns. Attention, which sums to one in each tile, sums to one again; the class token and
    the measures are means over the patches. The key depends on which tiles these are, and how they
    overlap. A ``ModelError`` where a tile has not the patches that it should have.
    """
    top, left, bottom, right = tiling.patches(block)
    shape = bottom - top, right - left
    keys: list[object] = []
    whole: FeatureGrid | None = None
    measures: dict[str, float] = {}
    for row, column in product(range(block.top, block.bottom), range(block.left, block.right)):
        grid = tile(row, column)
        wanted = tiling.down.side, tiling.across.side
        if grid.shape != wanted:
            # Its patches would be put in the wrong place.
            raise ModelError(
                f"A tile came back with {grid.shape[0]} x {grid.shape[1]} patches instead of "
                f"{wanted[0]} x {wanted[1]}; this model cannot encode a large image piece by piece."
            )
        rows, columns = tiling.down.owned(row), tiling.across.owned(column)
        own = _span(rows, tiling.down.start(row)), _span(columns, tiling.across.start(column))
        target = _span(rows, top), _span(columns, left)
        part = grid.embeddings[own]
        share = part.shape[0] * part.shape[1] / (shape[0] * shape[1])
        if whole is None:
            whole = FeatureGrid(
                np.empty((*shape, grid.dim), np.float32),
                transform,
                key="",
                attention=None if grid.attention is None else np.empty(shape, np.float32),
                cls=None if grid.cls is None else np.zeros_like(grid.cls),
                backbone=grid.backbone,
            )
        whole.embeddings[target] = part
        if whole.attention is not None and grid.attention is not None:
            whole.attention[target] = grid.attention[own]
        if whole.cls is not None and grid.cls is not None:
            np.add(whole.cls, np.float32(share) * grid.cls, out=whole.cls)
        for name, value in grid.measures.items():
            measures[name] = measures.get(name, 0.0) + share * value
        keys.append((grid.key, target[0].start, target[1].start, part.shape[:2]))
    if whole is None:
        raise ModelError("There are no tiles to put together: choose a region of the image.")
    attention = whole.attention
    if attention is not None and attention.sum() > 0:
        attention = attention / attention.sum()
    overlaps = ("overlap", tiling.down.overlap, tiling.across.overlap)
    key = derived_key("stitched", overlaps, *keys)
    return replace(whole, key=key, attention=attention, measures=measures)


def _span(patches: tuple[int, int], start: int) -> slice:
    return slice(patches[0] - start, patches[1] - start)
