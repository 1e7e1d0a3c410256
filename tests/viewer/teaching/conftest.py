"""A window with drawn cells and leaves in it, the embedded model, and boxes to teach."""

from __future__ import annotations

import pytest
from taught_pictures import draw
from taught_window import Class

from napari_patchioner.viewer.project import autosave
from napari_patchioner.viewer.workers.models import shared_registry

KINDS = ["nucleus", "leaf", "nucleus", "leaf", "nucleus", "leaf", "grain"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    from napari_patchioner.viewer.teaching import teacher

    monkeypatch.setattr(autosave, "REST_MS", 20)
    monkeypatch.setattr(teacher, "SAVE_MS", 20)
    monkeypatch.setattr(teacher, "TYPING_MS", 60)


@pytest.fixture(autouse=True)
def cache(encoded, monkeypatch):
    """The same few pictures are encoded once for all tests."""
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(encoded))
    return encoded


@pytest.fixture
def registry():
    return shared_registry()


@pytest.fixture
def drawn_boxes():
    return draw(1, KINDS)


@pytest.fixture
def picture(drawn_boxes):
    return drawn_boxes[0]


@pytest.fixture
def lesson(started, drawn_boxes, qtbot):
    """Seven boxes with captions of the model, nothing taught."""
    made = Class(started, drawn_boxes[1], qtbot)
    made.add()
    made.until(lambda: len(made.records) == 7 and all(made.captions()))
    made.settle()
    return made


@pytest.fixture
def started(dock, qtbot):
    # What the model says is not the matter here.
    dock.panel.options["beams"].value = 1
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=120_000)
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=10000)
    return dock
