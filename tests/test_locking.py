"""Only one may write to a path, and what stands for that right leaves nothing behind."""

from __future__ import annotations

import pytest

from napari_patchioner.errors import FormatError
from napari_patchioner.locking import WriteLock


@pytest.mark.parametrize("name", ["out.csv", "ü" * 120, "x" * 250], ids=["short", "wide", "long"])
def test_a_path_is_locked_until_it_is_let_go(tmp_path, name):
    path = tmp_path / name
    first = WriteLock(path)
    with pytest.raises(FormatError, match="another process is writing it"):
        WriteLock(tmp_path / "." / name)
    other = WriteLock(tmp_path / "other")
    for lock in (first, first, other):
        lock.release()
    WriteLock(path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_locked_by_any_of_its_names(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    lock = WriteLock(tmp_path / "link")
    with pytest.raises(FormatError, match="another process"):
        WriteLock(tmp_path / "real")
    lock.release()


def test_a_lock_makes_no_folder(tmp_path):
    with pytest.raises(FormatError, match="no such folder"):
        WriteLock(tmp_path / "none" / "out.csv")
    assert list(tmp_path.iterdir()) == []
