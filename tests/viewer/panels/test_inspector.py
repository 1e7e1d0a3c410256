from __future__ import annotations

import numpy as np
import pytest
from napari.utils.events import Event
from qtpy.QtCore import QEvent, Qt

from napari_patchioner.viewer.workers.inspect import LARGEST, Inspector

NONE = Qt.MouseButton.NoButton
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def inspecting(started, hand):
    started.inspect.inspect.click()
    yield started
    if started.inspect.inspect.isChecked():
        started.inspect.inspect.click()


@pytest.fixture
def inspector(inspecting):
    return inspecting.controller.inspector


def move(viewer, row, column):
    """Tell of a cursor, as napari does, without going by way of the screen."""
    event = Event("mouse_move", position=(row, column), modifiers=(), is_dragging=False)
    for callback in list(viewer.mouse_move_callbacks):
        callback(viewer, event)


@pytest.mark.every_qt
def test_the_caption_of_the_patch_under_the_cursor_follows_it(inspecting, viewer, hand, qtbot):
    bar, layers = inspecting.inspect, list(viewer.layers)
    for column, colour in ((30, "red"), (90, "green"), (150, "blue")):
        hand.send(QEvent.Type.MouseMove, 60, column, NONE)
        qtbot.waitUntil(
            lambda colour=colour: f"something {colour}" in bar.text.text(), timeout=5000
        )
        assert bar.bubble.isVisible()
        assert bar.bubble.text() == bar.text.text()
    # It changes no record and draws nothing, nor does a plain click.
    hand.click(60, 90)
    qtbot.wait(150)
    assert not inspecting.controller.session.records
    assert list(viewer.layers) == layers
    assert all(b.layer.nshapes == 0 for b in inspecting.controller.bindings.values())
    a_click_with_control_keeps_the_patch_and_has_it_captioned(inspecting, hand, qtbot)


def test_only_the_newest_place_is_asked_and_old_answers_are_dropped(
    inspecting, inspector, viewer, captioner, qtbot
):
    shown = []
    inspector.answered.connect(lambda caption: shown.append(caption and caption.text))
    captioner.hold_captions.clear()
    move(viewer, 60, 30)
    qtbot.waitUntil(lambda: len(captioner.asked) == 1, timeout=5000)
    for column in range(31, 170):
        move(viewer, 60, column)
    qtbot.wait(200)
    assert len(captioner.asked) == 1
    captioner.hold_captions.set()
    qtbot.waitUntil(lambda: "something blue" in shown, timeout=5000)
    assert captioner.captioned == [1, 1]
    assert shown == ["something blue"]


def test_one_short_caption_is_asked_for_in_a_worker_and_only_where_it_is_not_known(
    inspecting, inspector, viewer, captioner, picture, qtbot
):
    answers = []
    inspector.answered.connect(answers.append)
    for column, count in ((30, 1), (90, 2), (30.3, 2)):
        before = len(answers)
        move(viewer, 60, column)
        qtbot.waitUntil(lambda before=before: len(answers) > before, timeout=5000)
        assert len(captioner.captioned) == count
    assert answers[-1].text == "something red"
    assert captioner.captioned == [1, 1]
    assert captioner.asked[-1]["beams"] == 1
    assert captioner.asked[-1]["max_tokens"] <= 12
    # With other options it is another question.
    inspecting.panel.options["pooling"].value = "mean over patches"
    move(viewer, 60, 30)
    qtbot.waitUntil(lambda: captioner.captioned == [1, 1, 1], timeout=5000)
    assert captioner.asked[-1]["pooling"] == "mean"
    # Outside the image it is silent.
    qtbot.waitUntil(lambda: inspecting.inspect.bubble.isVisible(), timeout=5000)
    move(viewer, -40, 30)
    qtbot.waitUntil(lambda: not inspecting.inspect.bubble.isVisible(), timeout=5000)
    assert inspector.spot is None
    assert captioner.captioned == [1, 1, 1]
    another_image_is_inspected_when_it_is_chosen(inspecting, viewer, picture, qtbot)


def test_the_brush_grows_and_shrinks_within_limits(inspecting, inspector, viewer, captioner, qtbot):
    move(viewer, 60, 30)
    qtbot.waitUntil(lambda: inspector.spot is not None, timeout=5000)
    assert type(inspector.spot.region).__name__ == "Point"
    for _ in range(LARGEST + 3):
        inspecting.inspect.grow(1)
    assert inspecting.inspect.brush.value() == inspector.radius == LARGEST
    qtbot.waitUntil(lambda: type(inspector.spot.region).__name__ == "Ellipse", timeout=5000)
    taken = inspecting.controller.encoder.pooling.cover(inspector.spot.region, inspector.spot.grid)
    assert np.ptp(taken.rows) >= 2 * LARGEST
    inspecting.inspect.grow(-LARGEST - 3)
    assert inspecting.inspect.brush.value() == inspector.radius == 0
    a_move_of_the_mouse_alone_asks_nothing(viewer, captioner)
    its_keys_are_there_only_while_it_is_on(inspecting, viewer)
    switched_off_it_asks_nothing_and_leaves_no_callback(inspecting, viewer, captioner, qtbot)


def its_keys_are_there_only_while_it_is_on(inspecting, viewer):
    def bound():
        return {str(key) for key in viewer.keymap}

    assert {"[", "]"} <= bound()
    inspecting.inspect.inspect.click()
    assert not {"[", "]"} & {str(k) for k, v in viewer.keymap.items() if v is not None}


def a_click_with_control_keeps_the_patch_and_has_it_captioned(inspecting, hand, qtbot):
    controller = inspecting.controller
    hand.send(QEvent.Type.MouseMove, 60, 90, NONE)
    hand.click(60, 90, modifiers=CONTROL)
    layer = controller.layer("regions")
    qtbot.waitUntil(lambda: layer.nshapes == 1, timeout=5000)
    qtbot.waitUntil(lambda: layer.features["caption"].iloc[0] == "something green", timeout=5000)
    [record] = controller.session.records.values()
    _, grid = controller.encoder.here()
    from napari_patchioner.viewer.layers.geometry import record_region

    region = record_region(record, controller.session, (0, 1))
    taken = controller.encoder.pooling.cover(region, grid)
    assert len(taken.indices) == 1
    assert (abs(taken.rows[0] - 60) <= 1, abs(taken.columns[0] - 90) <= 1) == (True, True)


def switched_off_it_asks_nothing_and_leaves_no_callback(inspecting, viewer, captioner, qtbot):
    qtbot.wait(150)
    before = len(captioner.asked)
    assert not viewer.mouse_move_callbacks
    owners = [getattr(f, "__self__", None) for f in viewer.mouse_drag_callbacks]
    assert not any(isinstance(owner, Inspector) for owner in owners)
    move(viewer, 60, 30)
    qtbot.wait(150)
    assert len(captioner.asked) == before
    assert not inspecting.inspect.text.isVisible()


def another_image_is_inspected_when_it_is_chosen(inspecting, viewer, picture, qtbot):
    old = inspecting.controller
    inspecting.panel.image.value = viewer.add_image(picture[:, ::-1], name="other way")
    assert not old.inspector.on
    assert inspecting.controller.inspector.on
    inspecting.start()
    qtbot.waitUntil(lambda: inspecting.controller.encoder.ready, timeout=5000)
    move(viewer, 60, 30)
    qtbot.waitUntil(lambda: "blue" in inspecting.inspect.text.text(), timeout=5000)


def a_move_of_the_mouse_alone_asks_nothing(viewer, captioner):
    before = len(captioner.asked)
    for place in range(2000):
        move(viewer, 60, 30 + place % 50)
    assert len(captioner.asked) - before <= 1
