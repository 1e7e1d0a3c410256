"""A grid comes back from its file exactly, or not at all."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save
from stored_grids import assert_same, key_of, make

from napari_patchioner.grids import (
    FeatureGrid,
    GridStore,
    GridTransform,
    grid_key,
)
from napari_patchioner.grids.store import DamagedError, grid_from_bytes, grid_to_bytes

FLOATS = st.floats(width=32)


@st.composite
def grids(draw: st.DrawFn) -> FeatureGrid:
    rows, columns, dim = (draw(st.integers(1, 4)) for _ in range(3))

    def maybe(*shape: int) -> Any:
        return draw(st.none() | arrays(np.float32, shape, elements=FLOATS))

    edges = st.floats(allow_nan=False)
    window = draw(st.none() | st.tuples(edges, edges, edges, edges))
    height, width = draw(st.integers(2, 10**6)), draw(st.integers(2, 10**6))
    return FeatureGrid(
        draw(arrays(np.float32, (rows, columns, dim), elements=FLOATS)),
        GridTransform((height, width), (rows, columns), window),
        grid_key(np.zeros(1), draw(st.text())),
        attention=maybe(rows, columns),
        cls=maybe(dim),
        measures=draw(st.dictionaries(st.text(), st.floats(), max_size=3)),
        backbone=draw(st.text()),
        picture=maybe(3, rows, columns),
    )


@given(grids())
@settings(deadline=None, max_examples=60)
def test_everything_of_a_grid_comes_back(grid: FeatureGrid) -> None:
    with TemporaryDirectory() as folder:
        GridStore(Path(folder)).put(grid)
        assert_same(GridStore(Path(folder)).get(grid.key), grid)


def test_arrays_in_any_order_of_memory_come_back(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).normal(size=(8, 12, 6)).astype(np.float32)
    grid = FeatureGrid(
        whole.transpose(1, 0, 2)[::3, ::-2], GridTransform((8, 8), (4, 4)), key_of(0)
    )
    GridStore(tmp_path).put(grid)
    assert_same(GridStore(tmp_path).get(grid.key), grid)


def test_every_changed_byte_is_noticed() -> None:
    grid = make(dim=2, attention=np.zeros((4, 6), np.float32), measures={"photograph": 0.5})
    data = bytearray(grid_to_bytes(grid))
    for place in range(len(data)):
        for flip in (1, 0x20, 0x80):
            data[place] ^= flip
            with pytest.raises(DamagedError):
                grid_from_bytes(bytes(data), grid.key)
            data[place] ^= flip
    assert_same(grid_from_bytes(bytes(data), grid.key), grid)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_any_damage_is_a_miss_and_the_file_is_gone(data: st.DataObject) -> None:
    grid = make(dim=2)
    whole = grid_to_bytes(grid)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 80)))
    damaged = whole[:start] + data.draw(st.binary(max_size=80)) + whole[stop:]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{grid.key}.safetensors"
        path.write_bytes(damaged)
        found = GridStore(Path(folder)).get(grid.key)
        if damaged == whole:
            assert_same(found, grid)
        else:
            assert found is None
            assert not path.exists()


@given(st.integers(0, 700))
@settings(deadline=None)
def test_a_file_that_was_cut_off_is_a_miss(length: int) -> None:
    whole = grid_to_bytes(make(dim=2))
    with pytest.raises(DamagedError):
        grid_from_bytes(whole[: min(length, len(whole) - 1)], key_of(0))


def foreign_files() -> dict[str, bytes]:
    nested = b'{"digest":"' + b"0" * 64 + b'"' + b"[" * 100_000
    return {
        "empty": b"",
        "text": b"not a grid at all",
        "another grid": grid_to_bytes(make(1)),
        "safetensors": save({"embeddings": np.zeros((4, 6, 8), np.float32)}),
        "no true digest": save(
            {"embeddings": np.zeros((4, 6, 8), np.float32)}, {"notes": "{}", "digest": "0" * 64}
        ),
        "endless header": b"\xff" * 8 + b"{" * 100,
        "nested": len(nested).to_bytes(8, "little") + nested,
    }


@pytest.mark.parametrize("name", foreign_files())
def test_foreign_files_are_misses_and_replaced(name: str, tmp_path: Path) -> None:
    grid = make()
    path = tmp_path / f"{grid.key}.safetensors"
    path.write_bytes(foreign_files()[name])
    store = GridStore(tmp_path)
    assert store.get(grid.key) is None
    assert not path.exists()
    store.put(grid)
    assert_same(GridStore(tmp_path).get(grid.key), grid)
    assert not store.error_message


@pytest.mark.parametrize(
    ("name", "value"), [("__version__", "0.0.9"), ("FORMAT", "napari-patchioner grid 0")]
)
def test_other_versions_are_misses(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make()
    with monkeypatch.context() as other:
        other.setattr(f"napari_patchioner.grids.store.{name}", value)
        GridStore(tmp_path).put(grid)
        assert_same(GridStore(tmp_path).get(grid.key), grid)
    assert GridStore(tmp_path).get(grid.key) is None
    assert not list(tmp_path.iterdir())
