"""A published model from a hub on this computer into the dock: asked, stopped, resumed, used."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
from hub_server import serve
from published.presets import write_preset_files
from qtpy.QtWidgets import QFileDialog
from tiny_presets import tiny

from napari_patchioner.viewer.workers.models import shared_registry

NAME = "clip-b16"
BOX = np.array([[20, 10], [20, 50], [60, 50], [60, 10]])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with tiny weights of one preset, laid out as they are published."""
    from huggingface_hub import close_session

    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    preset = tiny(NAME)
    monkeypatch.setattr("napari_patchioner.models.catalog.presets", lambda: {NAME: preset})
    folder = tmp_path / "published"
    write_preset_files(preset, folder)
    repos = {
        repo: {
            path.relative_to(folder / repo).as_posix(): path.read_bytes()
            for path in (folder / repo).rglob("*")
            if path.is_file()
        }
        for repo in preset.repos
    }
    for repo in preset.repos:
        shutil.rmtree(folder / repo)
    with serve(repos) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        close_session()


@pytest.fixture
def registry(hub):
    shared_registry.cache_clear()
    yield shared_registry()
    shared_registry.cache_clear()


def test_a_published_model_is_got_stopped_resumed_and_used(dock, hub, qtbot, tmp_path, monkeypatch):
    hub.pause, hub.piece = 0.05, 1 << 12
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "published"))
    progress, choice = dock.panel.progress, dock.models.choice
    choice.value = NAME
    progress.button.click()
    assert "sentences.txt" in dock.models.question.informativeText()
    dock.models.question.answers["Choose a folder…"][0].click()
    qtbot.waitUntil(lambda: progress.bar.value() > 10, timeout=30_000)
    assert " of " in progress.bar.toolTip()
    progress.button.click()
    qtbot.waitUntil(lambda: progress.button.text() == "Start", timeout=5000)
    assert not (tmp_path / "store" / NAME).exists()
    hub.pause = 0
    progress.button.click()
    dock.controller.layer("regions").add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=120_000)
    # Stopped within a file, its rest is asked for; stopped between two, none comes a second time.
    whole = Counter(place for way, place, asked in hub.requests if way == "GET" and not asked)
    files = [count for place, count in whole.items() if "/resolve/" in place]
    assert any(hub.fetched()) or max(files) == 1, "the second download began anew"
    features = dock.controller.layer("regions").features
    qtbot.waitUntil(lambda: bool(features["caption"][0]), timeout=30_000)
    assert choice.currentText().endswith("— installed")
    assert dock.registry.loaded == (NAME,)
    dock.models.remove.trigger()
    dock.models.question.answers["Remove"][0].click()
    qtbot.waitUntil(lambda: "freed" in dock.panel.status.text(), timeout=10_000)
    assert "to get" in choice.currentText()
    assert dock.registry.loaded == ()
