from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.errors import PatchionerError
from napari_patchioner.grids import Block, Strip, Tiling


@st.composite
def strips(draw: st.DrawFn) -> Strip:
    side = draw(st.integers(1, 12))
    return Strip(draw(st.integers(1, 90)), side, draw(st.integers(0, side - 1)))


@given(strips())
def test_each_patch_belongs_to_one_tile_that_holds_it(strip: Strip) -> None:
    owned = [(tile, cell) for tile in range(strip.tiles) for cell in range(*strip.owned(tile))]
    assert [cell for _, cell in owned] == list(range(strip.cells))
    for tile, cell in owned:
        assert 0 <= cell - strip.start(tile) < strip.side
        assert strip.owner(cell) == tile


@given(strips())
def test_it_belongs_to_the_tile_in_whose_middle_it_lies_most(strip: Strip) -> None:
    middles = [strip.start(tile) + strip.side / 2 for tile in range(strip.tiles)]
    for cell in range(strip.cells):
        away = [abs(cell + 0.5 - middle) for middle in middles]
        assert strip.owner(cell) == away.index(min(away))


@given(strips())
def test_neighbours_share_the_overlap_and_no_tile_is_idle(strip: Strip) -> None:
    starts = [strip.start(tile) for tile in range(strip.tiles)]
    for before, after in pairwise(starts):
        assert 0 < after - before <= strip.side - strip.overlap
    assert starts[0] == 0
    assert starts[-1] + strip.side == max(strip.cells, strip.side)


@given(strips(), strips(), st.data())
def test_the_tiles_around_patches_own_them_and_as_little_else_as_can_be(
    down: Strip, across: Strip, data: st.DataObject
) -> None:
    tiling = Tiling(down, across)
    rows, columns = (
        sorted(data.draw(st.tuples(*[st.integers(0, strip.cells - 1)] * 2)))
        for strip in (down, across)
    )
    block = tiling.around((rows[0], rows[1]), (columns[0], columns[1]))
    top, left, bottom, right = tiling.patches(block)
    assert top <= rows[0] <= rows[1] < bottom
    assert left <= columns[0] <= columns[1] < right
    assert down.owner(rows[0]) == block.top
    assert across.owner(columns[1]) == block.right - 1
    assert block.tiles == (block.bottom - block.top) * (block.right - block.left)


def test_a_huge_strip_finds_its_owners_at_once() -> None:
    strip = Strip(10**12, 40, 8)
    assert strip.owned(strip.owner(123_456_789_012))[0] <= 123_456_789_012
    assert strip.owner(10**12 - 1) == strip.tiles - 1


def test_tiles_that_share_everything_are_refused() -> None:
    with pytest.raises(PatchionerError, match="from 0 to 3"):
        Tiling.over((10, 10), side=4, overlap=4)


def test_a_block_counts_its_tiles() -> None:
    assert Block(1, 2, 3, 7).tiles == 10
