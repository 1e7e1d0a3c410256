"""``napari-patchioner cache``: what it prints and deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.cli import main
from napari_patchioner.grids import FeatureGrid, GridStore, GridTransform, cache_folder, grid_key

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(tmp_path / "cache"))
    return cache_folder()


def fill(folder: Path, count: int) -> None:
    store = GridStore(folder)
    for number in range(count):
        key = grid_key(np.full((2, 2), number), "none")
        embeddings = np.zeros((10, 10, 2500), np.float32)
        store.put(FeatureGrid(embeddings, GridTransform((20, 20), (10, 10)), key))


@pytest.mark.parametrize("command", [["cache"], ["cache", "info"]])
def test_it_says_where_and_how_much(
    folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(folder, 3)
    assert main(command) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["folder"] == str(folder)
    assert lines["images"] == "3"
    assert lines["size"] == "3.0 MB"


def test_an_empty_cache_is_not_made_by_looking(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "info"]) == 0
    assert "images  0\nsize    0 kB" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert not folder.parent.exists()


def test_clear_deletes_grids_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(folder, 2)
    mine = folder / "holiday.safetensors"
    mine.write_bytes(b"mine")
    assert main(["cache", "clear"]) == 0
    assert "2.0 MB are free again" in capsys.readouterr().err
    assert list(folder.iterdir()) == [mine]


def test_what_cannot_be_deleted_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(folder, 2)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "in use")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    assert main(["cache", "clear"]) == 2
    assert "2 files in" in capsys.readouterr().err
