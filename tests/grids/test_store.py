"""A store never holds more than it may and keeps what was used last."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stored_grids import assert_same, key_of, make

from napari_patchioner.grids import (
    FeatureGrid,
    GridStore,
    StoreSize,
    cache_folder,
)
from napari_patchioner.grids.store import grid_to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_memory_gives_the_very_grid_and_disk_is_read_once(tmp_path: Path) -> None:
    grid = make()
    GridStore(tmp_path).put(grid)
    store = GridStore(tmp_path)
    again = store.get(grid.key)
    assert store.get(grid.key) is again is not grid
    store.put(grid)
    assert store.get(grid.key) is grid
    assert store.get(key_of(1)) is None


STEPS = st.lists(st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 6)), max_size=30)
DIMS = (1, 2, 3, 5, 8, 13, 60)


def recent(steps: Sequence[tuple[str, int]], sizes: Sequence[int], limit: int) -> list[set[int]]:
    """Which numbers the simplest least-recently-used store holds after every step."""
    held: OrderedDict[int, int] = OrderedDict()
    history = []
    for step, number in steps:
        if step == "put" and sizes[number] <= limit:
            held.pop(number, None)
            while sum(held.values()) + sizes[number] > limit:
                held.popitem(last=False)
            held[number] = sizes[number]
        elif step == "get" and number in held:
            held.move_to_end(number)
        history.append(set(held))
    return history


@given(STEPS, st.integers(0, 3000))
def test_memory_never_exceeds_its_limit_and_keeps_the_last_used(
    steps: list[tuple[str, int]], limit: int
) -> None:
    made = [make(number, dim) for number, dim in enumerate(DIMS)]
    sizes = [grid.embeddings.nbytes for grid in made]
    store = GridStore(ram_bytes=limit)
    for (step, number), held in zip(steps, recent(steps, sizes, limit), strict=True):
        if step == "put":
            store.put(made[number])
        else:
            assert store.get(made[number].key) in (None, made[number])
        assert store.size() == StoreSize(len(held), sum(sizes[one] for one in held), 0, 0)
        assert store.size().ram_bytes <= limit
    for number in recent(steps, sizes, limit)[-1] if steps else ():
        assert store.get(made[number].key) is made[number]


@given(STEPS, st.integers(1, 8000))
@example([("put", 2), ("put", 0), ("put", 1), ("put", 0)], 1800)
@example([("put", 0), ("put", 1), ("get", 0), ("put", 2)], 1500)
@settings(deadline=None, max_examples=60)
def test_disk_never_exceeds_its_limit_and_keeps_the_last_used(
    steps: list[tuple[str, int]], limit: int
) -> None:
    made = [make(number, dim) for number, dim in enumerate(DIMS)]
    sizes = [len(grid_to_bytes(grid)) for grid in made]
    with TemporaryDirectory() as folder:
        store = GridStore(Path(folder), ram_bytes=0, disk_bytes=limit)
        for (step, number), held in zip(steps, recent(steps, sizes, limit), strict=True):
            if step == "put":
                store.put(made[number])
            else:
                store.get(made[number].key)
            files = {path.stem: path.stat().st_size for path in Path(folder).iterdir()}
            assert set(files) == {key_of(one) for one in held}
            assert sum(files.values()) == store.size().disk_bytes <= limit


def test_a_smaller_limit_shrinks_what_is_there(tmp_path: Path) -> None:
    store = GridStore(tmp_path)
    for number in range(6):
        store.put(make(number))
    one = len(grid_to_bytes(make()))
    small = GridStore(tmp_path, disk_bytes=2 * one + 100)
    small.put(make(7))
    assert small.size().disk_grids == 2
    assert GridStore(tmp_path).get(key_of(5)) is not None
    assert GridStore(tmp_path, disk_bytes=one - 1).get(key_of(7)) is None


def test_clear_and_size(tmp_path: Path) -> None:
    store = GridStore(tmp_path / "new" / "folder")
    assert store.size() == StoreSize(0, 0, 0, 0) == store.clear()
    assert not list(tmp_path.iterdir())
    for number in range(3):
        store.put(make(number))
    size = store.size()
    assert (size.ram_grids, size.disk_grids) == (3, 3)
    assert size.ram_bytes == 3 * make().embeddings.nbytes < size.disk_bytes
    assert store.clear() == size
    assert store.size() == StoreSize(0, 0, 0, 0)
    assert all(store.get(key_of(number)) is None for number in range(3))
    store.put(make())
    assert store.size().disk_grids == 1


def test_no_disk_where_none_is_wanted(tmp_path: Path) -> None:
    for store in (GridStore(), GridStore(tmp_path, disk_bytes=0)):
        store.put(make())
        assert store.get(key_of(0)) is not None
        assert store.size().disk_grids == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["pixels", "../outside", "", "A" * 32, f"{'0' * 32}/.."])
def test_keys_that_are_none_stay_in_memory(key: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    store = GridStore(folder)
    grid = FeatureGrid(make().embeddings, make().transform, key)
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(grid_to_bytes(grid))
    assert store.get(key) is None
    store.put(grid)
    assert store.get(key) is grid
    assert set(tmp_path.rglob("*")) == {folder, outside}


def test_threads_may_share_a_store(tmp_path: Path) -> None:
    made = [make(number) for number in range(8)]
    one = len(grid_to_bytes(made[0]))
    ram = made[0].embeddings.nbytes
    store = GridStore(tmp_path, ram_bytes=2 * ram, disk_bytes=4 * one)

    def work(seed: int) -> int:
        hits = 0
        for number in np.random.default_rng(seed).integers(0, 8, 60):
            found = store.get(key_of(number))
            if found is None:
                store.put(made[number])
            else:
                assert_same(found, made[number])
                hits += 1
            size = store.size()
            assert size.ram_bytes <= 2 * ram
            assert size.disk_bytes <= 4 * one
        return hits

    with ThreadPoolExecutor(4) as pool:
        hits = list(pool.map(work, range(4)))
    assert all(hits)
    assert not store.error_message


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "grids"
    monkeypatch.delenv("NAPARI_PATCHIONER_CACHE")
    assert cache_folder().parts[-2:] == ("napari-patchioner", "grids")
