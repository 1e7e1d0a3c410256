"""A hub on this computer, and an empty place for caches and models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hub_server import HubServer

_FORGET = (
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_TOKEN",
    "NAPARI_PATCHIONER_MIRROR",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which the hub's cache (``hf``) and the store (``store``) are."""
    for name in _FORGET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("napari_patchioner.models.hub.WAIT_S", 0.01)
    return tmp_path


@pytest.fixture
def hub(places: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Run a hub without repositories."""
    from hub_server import serve
    from huggingface_hub import close_session

    with serve({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        close_session()
