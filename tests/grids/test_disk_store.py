"""A folder that others use too, or that cannot be used: never an error, never half a grid."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stored_grids import assert_same, key_of, make

from napari_patchioner.grids import (
    GridStore,
)
from napari_patchioner.grids.store import grid_from_bytes, grid_to_bytes


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
    assert not store.error_message


def test_a_folder_of_a_grids_name_is_told_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f"{key_of(0)}.safetensors").mkdir()
    store = GridStore(tmp_path)
    assert store.get(key_of(0)) is None
    store.put(make())
    assert store.get(key_of(0)) is not None
    assert str(tmp_path) in store.error_message
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = GridStore(tmp_path / "file" / "cache")
    assert store.get(key_of(0)) is None
    assert not store.news(), "that there is nothing yet is no trouble"
    for number in range(3):
        store.put(make(number))
        assert_same(store.get(key_of(number)), make(number))
    news = store.news()
    assert news == store.error_message
    assert "cannot be written" in news
    assert "NAPARI_PATCHIONER_CACHE" in news
    store.put(make())
    assert not store.news()
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
        assert not store.error_message
        store.put(make(1))
        assert "cannot be written" in store.error_message
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are not of Windows")
def test_a_disk_that_fills_up_while_writing(tmp_path: Path) -> None:
    import resource

    store = GridStore(tmp_path)
    store.put(make(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        for number in (1, 2):
            store.put(make(number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    news = store.news()
    assert news == store.error_message
    assert os.strerror(errno.EFBIG) in news
    assert [path.stem for path in tmp_path.iterdir()] == [key_of(0)], "nothing half is left"
    assert_same(store.get(key_of(1)), make(1))
    store.put(make(3))
    assert_same(GridStore(tmp_path).get(key_of(3)), make(3))


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
assert not store.error_message, store.error_message
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
