"""Every preset got from a hub that fails first, and loaded with the network cut off."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest
from published.presets import write_preset_files
from tiny_presets import tiny

from napari_patchioner.errors import ModelError
from napari_patchioner.models import available_models, get_model, load_model, remove_model
from napari_patchioner.models.catalog import ORDER
from napari_patchioner.regions import Box, WholeImage

if TYPE_CHECKING:
    from pathlib import Path

    from hub_server import HubServer

    from napari_patchioner.models.preset import Preset


def publish(preset: Preset, hub: HubServer, folder: Path) -> None:
    """Put a preset's files on the hub; those that are on none stay in the folder."""
    write_preset_files(preset, folder)
    for repo in preset.repos:
        files = [path for path in (folder / repo).rglob("*") if path.is_file()]
        hub.repos[repo] = {
            path.relative_to(folder / repo).as_posix(): path.read_bytes() for path in files
        }
        for path in files:
            path.unlink()


@pytest.fixture
def cut_off(monkeypatch):
    """Return a switch that lets every connection fail."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model that is installed asked the network")

    def cut() -> None:
        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    return cut


@pytest.mark.parametrize("name", ORDER)
def test_a_preset_comes_through_failures_and_then_needs_no_network(
    name, hub, places, monkeypatch, cut_off
):
    preset = tiny(name)
    monkeypatch.setattr("napari_patchioner.models.catalog.presets", lambda: {name: preset})
    folder = places / "given"
    publish(preset, hub, folder)
    options = {"folder": folder} if preset.elsewhere else {}
    largest = max(
        (path for files in hub.repos.values() for path in files),
        key=lambda path: max(len(files.get(path, b"")) for files in hub.repos.values()),
    )
    hub.wrong.add(largest)
    with pytest.raises(ModelError, match="not the file it should be"):
        get_model(name, **options)
    assert not available_models()[-1].installed
    hub.wrong.clear()
    hub.drops[largest] = [1000]
    get_model(name, **options)
    assert "bytes=1000-" in hub.fetched(largest)
    assert available_models()[-1].installed
    cut_off()
    captioner = load_model(name)
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    captions = captioner.caption(captioner.encode(image), [WholeImage(), Box(10, 10, 40, 60)])
    assert len(captions) == 2
    assert remove_model(name) > 1000
    assert not available_models()[-1].installed
