"""What is put into a store comes back exactly, or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save

from napari_patchioner.grids import (
    FeatureGrid,
    GridStore,
    GridTransform,
    StoreSize,
    cache_folder,
    grid_key,
)
from napari_patchioner.grids._grid_file import DamagedError, grid_from_bytes, grid_to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

ARRAYS = ("embeddings", "attention", "cls", "picture")
FLOATS = st.floats(width=32)


def make(number: int = 0, dim: int = 8, **fields: Any) -> FeatureGrid:
    """Return a grid of a known key with 24 values per ``dim``."""
    embeddings = np.random.default_rng(number).normal(size=(4, 6, dim)).astype(np.float32)
    transform = GridTransform((480, 640), (4, 6))
    return FeatureGrid(embeddings, transform, key_of(number), backbone="none", **fields)


def key_of(number: int) -> str:
    return grid_key(np.full((2, 2), number), "none")


def assert_same(one: FeatureGrid | None, other: FeatureGrid) -> None:
    assert one is not None
    for name in ARRAYS:
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None), name
        if left is not None:
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            assert left.tobytes() == right.tobytes(), name
            assert left.flags.writeable
    # By repr: NaN is not equal to itself, and tuples are not lists.
    for name in ("transform", "key", "backbone"):
        assert repr(getattr(one, name)) == repr(getattr(other, name))
    assert repr(dict(one.measures)) == repr(dict(other.measures))


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


def test_memory_gives_the_very_grid_and_disk_is_read_once(tmp_path: Path) -> None:
    grid = make()
    GridStore(tmp_path).put(grid)
    store = GridStore(tmp_path)
    again = store.get(grid.key)
    assert store.get(grid.key) is again is not grid
    store.put(grid)
    assert store.get(grid.key) is grid
    assert store.get(key_of(1)) is None


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
    told: list[str] = []
    store = GridStore(tmp_path, tell=told.append)
    assert store.get(grid.key) is None
    assert not path.exists()
    store.put(grid)
    assert_same(GridStore(tmp_path).get(grid.key), grid)
    assert not told


@pytest.mark.parametrize(
    ("name", "value"), [("__version__", "0.0.9"), ("FORMAT", "napari-patchioner grid 0")]
)
def test_other_versions_are_misses(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = make()
    with monkeypatch.context() as other:
        other.setattr(f"napari_patchioner.grids._grid_file.{name}", value)
        GridStore(tmp_path).put(grid)
        assert_same(GridStore(tmp_path).get(grid.key), grid)
    assert GridStore(tmp_path).get(grid.key) is None
    assert not list(tmp_path.iterdir())


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


def test_files_of_others_are_left_alone_and_abandoned_ones_swept(tmp_path: Path) -> None:
    (tmp_path / "thesis.safetensors").write_bytes(b"mine" * 1000)
    (tmp_path / f"{key_of(1)}.txt").write_text("mine")
    (tmp_path / f"{key_of(2)}.safetensors").mkdir()
    old, fresh = (tmp_path / f".{key_of(3)}.{pid}.1.part" for pid in (7, 8))
    for part in (old, fresh):
        part.write_bytes(b"begun")
    os.utime(old, (time.time() - 3600,) * 2)
    store = GridStore(tmp_path, disk_bytes=len(grid_to_bytes(make())) + 10)
    store.put(make(4))
    store.put(make(5))
    assert not old.exists()
    assert fresh.exists()
    assert {path.stem for path in tmp_path.glob("*.safetensors") if path.is_file()} == {
        "thesis",
        key_of(5),
    }
    store.clear()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"thesis.safetensors", f"{key_of(1)}.txt", f"{key_of(2)}.safetensors"}


def test_clearing_while_another_process_writes_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = GridStore(tmp_path)
    replace = Path.replace

    def cleared_before(path: Path, target: Path) -> Path:
        GridStore(tmp_path).clear()
        return replace(path, target)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Path, "replace", cleared_before)
        store.put(make())
    assert store.size().disk_grids == 0
    assert not store.trouble


def test_a_folder_of_a_grids_name_is_told_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f"{key_of(0)}.safetensors").mkdir()
    store = GridStore(tmp_path)
    assert store.get(key_of(0)) is None
    store.put(make())
    assert store.get(key_of(0)) is not None
    assert str(tmp_path) in store.trouble
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told: list[str] = []
    store = GridStore(tmp_path / "file" / "cache", tell=told.append)
    assert store.get(key_of(0)) is None
    assert not told, "that there is nothing yet is no trouble"
    for number in range(3):
        store.put(make(number))
        assert_same(store.get(key_of(number)), make(number))
    assert told == [store.trouble]
    assert "cannot be written" in told[0]
    assert "NAPARI_PATCHIONER_CACHE" in told[0]
    assert store.clear().ram_grids == 3


def test_a_folder_that_can_only_be_read_is_still_read(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    GridStore(folder).put(make())
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
        store = GridStore(folder)
        assert_same(store.get(key_of(0)), make())
        assert not store.trouble
        store.put(make(1))
        assert "cannot be written" in store.trouble
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are not of Windows")
def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    import resource

    told: list[str] = []
    store = GridStore(tmp_path, tell=told.append)
    store.put(make(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        for number in (1, 2):
            store.put(make(number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(told) == 1
    assert os.strerror(errno.EFBIG) in told[0]
    assert [path.stem for path in tmp_path.iterdir()] == [key_of(0)], "nothing half is left"
    assert_same(store.get(key_of(1)), make(1))
    store.put(make(3))
    assert_same(GridStore(tmp_path).get(key_of(3)), make(3))


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
    assert not store.trouble


WORK = """
import sys
from pathlib import Path
import numpy as np
from napari_patchioner.grids import FeatureGrid, GridStore, GridTransform, grid_key

folder, seed, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = GridStore(folder, ram_bytes=0, disk_bytes=limit)
hits = 0
for number in np.random.default_rng(seed).integers(0, 8, 150):
    key = grid_key(np.full((2, 2), number), "none")
    found = store.get(key)
    if found is None:
        embeddings = np.full((8, 8, 64), number, np.float32)
        store.put(FeatureGrid(embeddings, GridTransform((8, 8), (8, 8)), key))
    else:
        assert (found.embeddings == number).all()
        hits += 1
assert not store.trouble, store.trouble
print(hits)
"""


def test_several_processes_may_share_a_folder(tmp_path: Path) -> None:
    limit = 4 * 17_500
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    workers = [
        subprocess.Popen([*command, str(seed), str(limit)], stdout=subprocess.PIPE)
        for seed in range(3)
    ]
    hits = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    assert all(hits)
    size = GridStore(tmp_path).size()
    assert 0 < size.disk_bytes <= limit
    assert size.disk_grids == 4
    assert not list(tmp_path.glob(".*"))


def test_a_process_killed_while_writing_leaves_whole_files(tmp_path: Path) -> None:
    endless = WORK.replace("integers(0, 8, 150)", "integers(0, 8, 10**7)").replace(
        "(8, 8, 64)", "(64, 64, 256)"
    )
    for seed in range(3):
        worker = subprocess.Popen(
            [sys.executable, "-c", endless, str(tmp_path), str(seed), "9999999"]
        )
        deadline = time.monotonic() + 20
        while not list(tmp_path.glob("*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.02 * seed)
        worker.kill()
        worker.wait()
        for path in tmp_path.glob("*.safetensors"):
            grid = grid_from_bytes(path.read_bytes(), path.stem)
            assert np.ptp(grid.embeddings) == 0


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "grids"
    monkeypatch.delenv("NAPARI_PATCHIONER_CACHE")
    assert cache_folder().parts[-2:] == ("napari-patchioner", "grids")
