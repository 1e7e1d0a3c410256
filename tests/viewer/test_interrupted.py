"""What a person does with mouse and keys while a worker is at it, and what they then see."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QEvent, Qt

pytestmark = pytest.mark.usefixtures("quiet")
Key, CONTROL = Qt.Key, Qt.KeyboardModifier.ControlModifier


def shown(controller):
    return list(controller.layer("regions").features["caption"])


def box(dock, hand, left):
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, left), (60, left + 40)])


def reading(dock, captioner, qtbot):
    captioner.hold.clear()
    captioner.reached.clear()
    dock.panel.progress.button.click()
    qtbot.waitUntil(captioner.reached.is_set, timeout=10000)


def test_another_image_is_chosen_while_the_first_is_read(
    dock, hand, viewer, picture, captioner, guide, qtbot
):
    reading(dock, captioner, qtbot)
    box(dock, hand, 10)
    first = dock.controller
    other = viewer.add_image(picture[:, ::-1], name="mirrored")
    assert dock.image is other
    hand = guide.Hand(viewer, other)
    box(dock, hand, 10)
    second = dock.controller
    assert second is not first
    dock.panel.progress.button.click()
    captioner.hold.set()
    for controller, captions in ((first, ["something red"]), (second, ["something blue"])):
        qtbot.waitUntil(lambda a=controller, c=captions: shown(a) == c, timeout=10000)
    viewer.layers.selection.active = first.image
    hand.click(40, 30)
    assert dock.controller is first
    assert captioner.encoded == 2


def test_the_image_goes_in_the_middle_of_a_polygon_while_it_is_read(
    dock, hand, viewer, captioner, qtbot
):
    reading(dock, captioner, qtbot)
    box(dock, hand, 10)
    dock.panel.draw.buttons["Polygon"].click()
    hand.click(80, 70)
    hand.click(80, 110)
    viewer.layers.remove(dock.image)
    captioner.hold.set()
    assert dock.controller is None
    assert not dock.panel.draw.isEnabled()
    hand.key(Key.Key_Escape)
    qtbot.wait(200)
    layer = next(layer for layer in viewer.layers if layer.name == "regions [stripes]")
    assert layer.features["caption"][0] == ""


def test_shapes_come_go_and_move_while_captions_are_made(started, hand, captioner, qtbot):
    captioner.hold_captions.clear()
    for left in (10, 70, 130):
        box(started, hand, left)
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    started.panel.draw.buttons["Select"].click()
    hand.click(40, 90)
    hand.key(Key.Key_Delete)
    hand.click(40, 150)
    hand.key(Key.Key_C, CONTROL)
    hand.key(Key.Key_V, CONTROL)
    hand.drag([(40, 150), (40, 90)])
    captioner.hold_captions.set()
    wanted = ["something blue", "something green", "something red"]
    qtbot.waitUntil(lambda: sorted(shown(started.controller)) == wanted, timeout=10000)
    layer = started.controller.layer("regions")
    for corners, caption in zip(layer.data, shown(started.controller), strict=True):
        colour = ("red", "green", "blue")[int(corners[:, 1].mean() // 60)]
        assert caption == f"something {colour}"


def test_undo_while_a_shape_is_dragged_and_captioned(started, hand, captioner, qtbot):
    box(started, hand, 10)
    qtbot.waitUntil(lambda: shown(started.controller) == ["something red"], timeout=5000)
    started.panel.draw.buttons["Select"].click()
    hand.click(40, 30)
    captioner.hold_captions.clear()
    hand.press(40, 30)
    for column in (60, 100, 150):
        hand.send(QEvent.Type.MouseMove, 40, column)
    qtbot.wait(150)
    hand.key(Key.Key_Z, CONTROL)
    assert started.controller.message.startswith("Finish the shape")
    hand.release(40, 150)
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    hand.key(Key.Key_Z, CONTROL)
    captioner.hold_captions.set()
    qtbot.waitUntil(lambda: not started.controller.queue.active, timeout=5000)
    qtbot.wait(200)
    assert shown(started.controller) == ["something red"]
    assert abs(started.controller.layer("regions").data[0][:, 1].mean() - 30) < 1


def test_the_window_is_closed_while_captions_are_made(started, hand, viewer, captioner, qtbot):
    captioner.hold_captions.clear()
    box(started, hand, 10)
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    viewer.close()
    captioner.hold_captions.set()
    qtbot.wait(200)
    assert not captioner.captioned or captioner.captioned == [1]
