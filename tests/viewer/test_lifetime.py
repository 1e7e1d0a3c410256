"""Nothing that happens in the middle of the work may hang, crash or leak."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from qtpy.QtCore import QTimer

BOX = np.array([[20, 10], [20, 50], [60, 50], [60, 10]])


def reading(dock, captioner, qtbot):
    captioner.hold.clear()
    captioner.reached.clear()
    dock.panel.progress.button.click()
    qtbot.waitUntil(captioner.reached.is_set, timeout=10000)


def idle(qtbot):
    def running():
        return [t for t in threading.enumerate() if t.name.startswith("patchioner-")]

    qtbot.waitUntil(lambda: not running(), timeout=10000)


def test_the_window_stays_responsive_and_shows_progress_while_reading(dock, captioner, qtbot):
    from napari.utils.progress import progress

    reading(dock, captioner, qtbot)
    qtbot.waitUntil(lambda: dock.panel.progress.bar.value() > 0, timeout=5000)
    # napari's own bar is for what lasts.
    qtbot.waitUntil(
        lambda: any("Patch-ioner" in bar.desc for bar in progress._all_instances), timeout=10000
    )
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(1))
    timer.start(20)
    qtbot.waitUntil(lambda: len(ticks) > 15, timeout=20000)
    timer.stop()
    assert dock.controller.encoder.active
    captioner.hold.set()
    idle(qtbot)
    qtbot.waitUntil(lambda: not progress._all_instances, timeout=5000)


def test_cancel_stops_reading_and_start_reads_again(dock, captioner, qtbot):
    reading(dock, captioner, qtbot)
    assert dock.panel.progress.button.text() == "Cancel"
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)
    assert dock.panel.progress.button.text() == "Start"
    assert "ancelled" in dock.panel.status.text()
    assert captioner.encoded == 0
    captioner.hold.set()
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)


def test_the_image_is_read_once_for_any_number_of_shapes_and_off_the_gui_thread(
    started, captioner, picture, qtbot
):
    layer = started.controller.layer("regions")
    for shift in range(20):
        layer.add(BOX + shift, shape_type="rectangle")
    qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=10000)
    assert captioner.encoded == 1
    assert 0 < len(captioner.captioned) < 20
    assert threading.get_ident() not in captioner.threads
    # New pixels ask for a new reading.
    started.image.data = 255 - picture
    assert "Start" in started.panel.status.text()
    assert not started.controller.encoder.ready


def test_the_image_is_deleted_while_it_is_read(dock, viewer, captioner, qtbot):
    reading(dock, captioner, qtbot)
    layer = dock.controller.layer("regions")
    viewer.layers.remove(dock.image)
    assert dock.controller is None
    idle(qtbot)
    assert layer in viewer.layers
    assert not layer.locked
    assert captioner.encoded == 0


def test_a_layer_is_deleted_while_it_is_captioned(started, viewer, captioner, qtbot):
    captioner.hold_captions.clear()
    layer = started.controller.layer("regions")
    layer.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    viewer.layers.remove(layer)
    captioner.hold_captions.set()
    idle(qtbot)
    qtbot.wait(100)
    assert started.controller.session.records == {}
    assert started.controller.layer("regions") is not layer


def test_the_window_is_closed_while_the_image_is_read(dock, viewer, captioner, qtbot):
    dock.region_list.toggle()
    reading(dock, captioner, qtbot)
    viewer.close()
    idle(qtbot)
    qtbot.wait(100)
    assert captioner.encoded == 0


def test_what_fails_when_the_dock_is_closed_stops_nothing_else(dock, captioner, monkeypatch, qtbot):
    def fail():
        raise RuntimeError("broken")

    reading(dock, captioner, qtbot)
    for part in (dock.region_list, dock.inspect, dock.models):
        monkeypatch.setattr(part, "let_go", fail)
    with pytest.raises(RuntimeError, match="broken"):
        dock.shut_down()
    idle(qtbot)
    assert dock.controllers == {}
    assert captioner.encoded == 0


def test_the_dock_is_closed_while_the_image_is_read(dock, viewer, captioner, qtbot):
    reading(dock, captioner, qtbot)
    layer = dock.controller.layer("regions")
    viewer.window.remove_dock_widget(dock)
    idle(qtbot)
    assert dock.controllers == {}
    assert layer in viewer.layers
    layer.add(BOX, shape_type="rectangle")
    qtbot.wait(200)
    assert list(layer.features["caption"]) == [""]


def test_a_model_that_cannot_be_loaded_says_so(dock, registry, qtbot):
    from napari_patchioner.errors import ModelError

    def broken(name, progress):
        raise ModelError(f"the model {name!r} is damaged; install it again")

    registry._load = broken
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)
    assert dock.panel.status.text() == "The model 'colours' is damaged; install it again"
    assert dock.panel.progress.button.text() == "Start"


def test_two_images_keep_their_captions_apart(started, viewer, picture, qtbot):
    started.controller.layer("regions").add(BOX, shape_type="rectangle")
    first = started.controller
    qtbot.waitUntil(lambda: bool(first.layer("regions").features["caption"][0]), timeout=5000)
    second = viewer.add_image(picture[:, ::-1], name="mirrored")
    assert started.image is second
    started.panel.progress.button.click()
    other = started.controller
    assert other is not first
    other.layer("regions").add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: bool(other.layer("regions").features["caption"][0]), timeout=5000)
    assert list(other.layer("regions").features["caption"]) == ["something blue"]
    viewer.layers.selection.active = first.layer("regions")
    assert started.controller is first
    assert list(first.layer("regions").features["caption"]) == ["something red"]


def test_saved_work_is_followed_when_its_layer_is_chosen(dock, viewer, picture, qtbot):
    from napari_patchioner.viewer.layers.image_layers import ensure_layer

    other = viewer.add_image(picture, name="other")
    saved = ensure_layer(viewer, other, "regions")
    viewer.layers.selection.active = viewer.layers["stripes"]
    assert dock.image.name == "stripes"
    viewer.layers.selection.active = saved
    assert dock.image is other
    assert dock.controller.layer("regions") is saved


def test_another_plane_is_read_when_something_is_drawn_on_it(viewer, dock, picture, qtbot):
    stack = viewer.add_image(np.stack([picture, picture[:, ::-1]]), name="stack")
    dock.panel.image.value = stack
    viewer.dims.set_point(0, 0)
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)
    layer = dock.controller.layer("regions")
    for plane in (0, 1):
        viewer.dims.set_point(0, plane)
        layer.add(np.insert(BOX, 0, plane, axis=1), shape_type="rectangle")
        qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=10000)
    assert list(layer.features["caption"]) == ["something red", "something blue"]


CLOSED_BY_HAND = """
import sys, threading, time
import napari, numpy as np
from qtpy.QtCore import QTimer
from napari_patchioner.models import ModelCard
from napari_patchioner.viewer import CaptionDock
from napari_patchioner.viewer.workers.models import ModelRegistry

card = ModelCard("endless", "Endless", "CC0", 0, "")

class Endless:
    reading = False
    def encode(self, image, *, progress=None, store=None):
        while True:
            time.sleep(0.01)
            try:
                progress(0.5, "looking")
                Endless.reading = True
            except Exception as error:
                print(type(error).__name__, flush=True)
                raise

viewer = napari.Viewer(show=True)
viewer.add_image(np.zeros((50, 60)))
dock = CaptionDock(viewer, registry=ModelRegistry(lambda name, progress: Endless(), lambda: [card]))
viewer.window.add_dock_widget(dock)

def close():
    if Endless.reading and dock.panel.progress.bar.value() > 50:
        timer.stop()
        viewer.window._qt_window.close()

timer = QTimer()
timer.timeout.connect(close)
timer.start(50)
QTimer.singleShot(100, dock.start)
napari.run()
print("ended", flush=True)
"""


def test_napari_ends_when_its_window_is_closed_while_the_image_is_read(qapp):
    """In a process of its own: napari's test viewer cannot be closed like that."""
    result = subprocess.run(
        [sys.executable, "-c", CLOSED_BY_HAND],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.stdout.split() == ["Cancelled", "ended"], result.stderr
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("version", "python", "warned"),
    [("6.12.0", (3, 11), True), ("6.12.0", (3, 12), False), ("6.11.3", (3, 11), False)],
)
def test_a_qt_that_ends_the_process_is_named(monkeypatch, version, python, warned):
    import qtpy

    from napari_patchioner.viewer import dock as dock_module

    monkeypatch.setattr(qtpy, "PYSIDE6", True)
    monkeypatch.setattr(qtpy, "PYSIDE_VERSION", version)
    monkeypatch.setattr(dock_module.sys, "version_info", python)
    assert bool(dock_module.qt_warning()) is warned
