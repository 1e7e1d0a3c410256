"""The grid store as a person meets it: its limits, its troubles, and clearing it."""

from __future__ import annotations

import numpy as np
import pytest
from looking import Looking
from npe2 import PluginManifest
from qtpy.QtWidgets import QMessageBox

from napari_patchioner.grids import GridStore, cache_folder
from napari_patchioner.models.preset import size_text
from napari_patchioner.viewer.preferences import NAME
from napari_patchioner.viewer.workers.encode import current_store, shared_store


@pytest.fixture
def registry(captioner, shop):
    from napari_patchioner.viewer.workers.models import ModelRegistry

    looking = Looking(captioner)
    return ModelRegistry(
        lambda name, progress: looking, lambda: list(shop.cards()), shop, {"colours"}
    )


@pytest.fixture
def answers(monkeypatch):
    """Answer questions with what is put in front, and keep what was asked."""
    given, asked = [], []

    def ask(parent, title, text, *_):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, given.pop(0))

    monkeypatch.setattr(QMessageBox, "question", ask)
    return given, asked


def test_the_grid_store_is_cleared_after_a_question(started, answers, captioner, cache, qtbot):
    given, asked = answers
    menu = started.projects
    menu.more.menu().aboutToShow.emit()
    size = current_store(True).size()
    assert size.disk_grids == size.ram_grids == 1
    told = size_text(size.ram_bytes + size.disk_bytes)
    assert menu.clear.text() == f"Clear the grid store… ({told})"
    given[:] = ["Cancel", "Yes"]
    menu.clear.trigger()
    assert current_store(True).size() == size
    menu.clear.trigger()
    assert told in asked[-1]
    assert not [path for path in cache.rglob("*") if path.is_file()]
    assert current_store(True).size().ram_grids == 0
    assert captioner.encoded == 1
    read(started, qtbot)
    assert captioner.encoded == 2


def read(dock, qtbot):
    dock.start()
    qtbot.waitUntil(lambda: dock.controller.encoder.active, timeout=5000)
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)


def test_a_store_that_cannot_be_written_is_told_once_and_work_goes_on(
    dock, captioner, cache, qtbot
):
    cache.write_text("in the way")
    read(dock, qtbot)
    told = dock.panel.status.text()
    assert told.startswith("Ready: draw a region")
    assert "cannot be written" in told
    read(dock, qtbot)
    assert "cannot be written" not in dock.panel.status.text()
    assert captioner.encoded == 1, "from memory"


def test_a_damaged_file_of_the_store_is_told_once_and_read_again(dock, captioner, cache, qtbot):
    read(dock, qtbot)
    [path] = cache.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    shared_store.cache_clear()
    read(dock, qtbot)
    assert "damaged" in dock.panel.status.text()
    assert captioner.encoded == 2
    read(dock, qtbot)
    assert "damaged" not in dock.panel.status.text()


@pytest.fixture
def settings(npe2pm, plugin_settings):
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_distribution(NAME))
    return get_plugin_settings(NAME)


def test_limits_set_in_the_preferences_count_at_once(settings, captioner):
    looking = Looking(captioner)
    images = [np.full((400, 500, 3), shade, np.uint8) for shade in (10, 90, 170)]
    for image in images:
        looking.encode(image, store=current_store(True))
    store = current_store(True)
    assert store.size().ram_grids == store.size().disk_grids == 3
    one = store.size().disk_bytes // 3
    settings.cache.memory_mb = 2 * one // 1_000_000 + 1
    settings.cache.disk_mb = one // 1_000_000 + 1
    assert current_store(True) is store
    assert (store.size().ram_grids, store.size().disk_grids) == (2, 1)
    settings.cache.disk_mb = 0
    looking.encode(255 - images[0], store=current_store(True))
    assert GridStore(cache_folder()).size().disk_grids == 1
    settings.cache.disk_mb = 2000
    looking.encode(255 - images[1], store=current_store(True))
    assert GridStore(cache_folder()).size().disk_grids == 2


def test_another_folder_counts_at_once(captioner, tmp_path, monkeypatch, picture):
    looking = Looking(captioner)
    looking.encode(picture, store=current_store(True))
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(tmp_path / "elsewhere"))
    looking.encode(255 - picture, store=current_store(True))
    assert GridStore(tmp_path / "elsewhere" / "grids").size().disk_grids == 1
    assert current_store(True).size().ram_grids == 2
