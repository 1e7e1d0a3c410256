"""A folder of small images, and napari with the dock of the folder in it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from image_folder import paint, settle

from napari_patchioner.errors import Cancelled
from napari_patchioner.grids import grid_key
from napari_patchioner.viewer.project import autosave


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    from napari_patchioner.viewer.folder import dock, files

    monkeypatch.setattr(autosave, "REST_MS", 20)
    monkeypatch.setattr(dock, "IDLE_MS", 30)
    monkeypatch.setattr(files, "SETTLE_MS", 20)


@pytest.fixture
def captioner(captioner):
    """The captioner of the other tests, but it keeps what it has seen as real ones do."""
    look = captioner.encode
    captioner.seen, captioner.cancelled = [], 0
    # At these it stops until `hold` is set, however soon their turn comes.
    captioner.pauses = set()

    def encode(image, *, progress=None, store=None):
        key = grid_key(np.asarray(image), "colours")
        if store is not None and (known := store.get(key)) is not None:
            return known
        shade = int(np.asarray(image)[0, 0, 0])
        if shade in captioner.pauses:
            captioner.pauses.remove(shade)
            captioner.hold.clear()
        try:
            grid = look(image, progress=progress)
        except Cancelled:
            captioner.cancelled += 1
            raise
        object.__setattr__(grid, "key", key)
        captioner.seen.append(shade)
        if store is not None:
            store.put(grid)
        return grid

    captioner.encode = encode
    return captioner


@pytest.fixture
def folder(tmp_path):
    """Images 1, 2, 10 and one of the same name in a folder below."""
    for name, shade in {"i1.png": 1, "i2.png": 2, "i10.png": 10, "sub/i1.png": 11}.items():
        paint(tmp_path / "images" / name, shade)
    return tmp_path / "images"


@pytest.fixture
def place(viewer, registry, qtbot):
    from napari_patchioner.viewer import FolderDock

    made = FolderDock(viewer, registry=registry)
    viewer.window.add_dock_widget(made, name="Folder", area="left")
    yield made
    # A closed window has taken the dock along.
    with contextlib.suppress(RuntimeError):
        made.shut_down()
        made.captions().shut_down()


@pytest.fixture
def browser(place, folder, qtbot):
    place.open_folder(folder)
    qtbot.waitUntil(lambda: len(place.browser.listing.statuses) == 4, timeout=5000)
    return place.browser


@pytest.fixture
def go(browser, qtbot):
    """Open an image and wait until its work is there, and it is read."""

    def open_image(name):
        browser.go(browser.listing.find(name))
        return settle(browser, qtbot, name)

    return open_image
