from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.errors import ModelError
from napari_patchioner.grids import Block, FeatureGrid, GridTransform, Tiling, derived_key, stitch

ROWS, COLUMNS, SIDE = 9, 7, 4


def tile_of(tiling: Tiling, row: int, column: int, *, number: bool = False) -> FeatureGrid:
    """A tile that knows where each patch is on the whole grid, and which tile saw it."""
    down = tiling.down.start(row) + np.arange(SIDE)
    across = tiling.across.start(column) + np.arange(SIDE)
    places = np.stack([*np.meshgrid(down, across, indexing="ij")], -1)
    seen_by = np.full((SIDE, SIDE, 1), 100 * row + column)
    return FeatureGrid(
        np.concatenate([places, seen_by], -1).astype(np.float32),
        GridTransform((SIDE, SIDE), (SIDE, SIDE)),
        f"tile {row} {column}",
        attention=np.full((SIDE, SIDE), 1 / SIDE**2, np.float32),
        cls=np.array([row, column], np.float32),
        measures={"photograph": float(row)},
        backbone="places",
    )


@given(st.integers(0, SIDE - 1), st.data())
def test_each_patch_is_as_its_owner_saw_it(overlap: int, data: st.DataObject) -> None:
    tiling = Tiling.over((ROWS, COLUMNS), SIDE, overlap)
    top = data.draw(st.integers(0, tiling.down.tiles - 1))
    left = data.draw(st.integers(0, tiling.across.tiles - 1))
    bottom = data.draw(st.integers(top + 1, tiling.down.tiles))
    right = data.draw(st.integers(left + 1, tiling.across.tiles))
    block = Block(top, left, bottom, right)
    first_row, first_column, last_row, last_column = tiling.patches(block)
    shape = (last_row - first_row, last_column - first_column)
    transform = GridTransform((ROWS, COLUMNS), shape)
    grid = stitch(tiling, block, lambda row, column: tile_of(tiling, row, column), transform)
    assert grid.shape == shape
    assert grid.transform is transform
    for row in range(shape[0]):
        for column in range(shape[1]):
            place = first_row + row, first_column + column
            owner = 100 * tiling.down.owner(place[0]) + tiling.across.owner(place[1])
            assert grid.embeddings[row, column].tolist() == [*place, owner]
    assert grid.attention is not None
    assert grid.attention.sum() == pytest.approx(1)


def whole(overlap: int = 1, **changes: object) -> FeatureGrid:
    tiling = Tiling.over((ROWS, COLUMNS), SIDE, overlap)
    block = Block(0, 0, tiling.down.tiles, tiling.across.tiles)
    return stitch(
        tiling,
        block,
        lambda row, column: replace(tile_of(tiling, row, column), **changes),  # type: ignore[arg-type]
        GridTransform((ROWS, COLUMNS), (ROWS, COLUMNS)),
    )


def test_facts_of_the_whole_are_means_over_patches() -> None:
    grid = whole()
    rows, columns = (grid.embeddings[..., 2] // 100).mean(), (grid.embeddings[..., 2] % 100).mean()
    assert grid.cls == pytest.approx([rows, columns])
    assert grid.measures == {"photograph": pytest.approx(rows)}
    assert grid.backbone == "places"


def test_what_tiles_do_not_have_the_whole_has_not() -> None:
    grid = whole(attention=None, cls=None, measures={})
    assert (grid.attention, grid.cls, grid.measures) == (None, None, {})


def test_attention_that_is_nowhere_stays_nowhere() -> None:
    grid = whole(attention=np.zeros((SIDE, SIDE), np.float32))
    assert grid.attention is not None
    assert not grid.attention.any()


def test_the_key_tells_tiles_and_overlap() -> None:
    keys = {whole().key, whole(2).key, whole(key="other").key}
    assert len(keys) == 3
    assert whole().key == whole().key
    assert all(len(key) == 32 for key in keys)
    assert derived_key("zoomed", 1) != derived_key("zoomed", 2)


def test_each_tile_is_asked_for_once() -> None:
    tiling = Tiling.over((ROWS, COLUMNS), SIDE, 1)
    asked = []

    def tile(row: int, column: int) -> FeatureGrid:
        asked.append((row, column))
        return tile_of(tiling, row, column)

    stitch(tiling, Block(0, 0, 3, 2), tile, GridTransform((9, 7), (9, 7)))
    assert asked == [(row, column) for row in range(3) for column in range(2)]


def test_a_tile_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelError, match="3 x 4 patches instead of 4 x 4"):
        whole(embeddings=np.zeros((3, 4, 2), np.float32))


def test_no_tiles_are_refused() -> None:
    tiling = Tiling.over((ROWS, COLUMNS), SIDE, 1)
    with pytest.raises(ModelError, match="no tiles"):
        stitch(tiling, Block(1, 1, 1, 2), lambda *_: whole(), GridTransform((9, 7), (9, 7)))
