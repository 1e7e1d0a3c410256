"""Every key of the guide is pressed, as Qt sends keys to a window in focus, and does its work."""

from __future__ import annotations

import numpy as np
import pytest
from guide_keys import guide_keys
from qtpy.QtCore import QEvent, Qt
from qtpy.QtTest import QTest

NONE = Qt.MouseButton.NoButton
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
BOXES = ([(20, 10), (60, 50)], [(20, 70), (60, 110)])
TEXTS = ["something red", "something green"]


@pytest.mark.every_qt
def test_every_key_on_the_canvas(quiet, started, hand, viewer, captioner, qtbot):
    dock, controller, session = started, started.controller, started.controller.session
    for corners in BOXES:
        dock.panel.draw.buttons["Box"].click()
        hand.drag(corners)
    layer = controller.layer("regions")
    qtbot.waitUntil(lambda: list(layer.features["caption"]) == TEXTS, timeout=10000)
    first, second = (session.records[uid] for uid in layer.features["uid"])
    dock.panel.draw.buttons["Select"].click()
    editor, look = dock.panel.caption.editor, dock.inspect
    window = viewer.window._qt_window

    def press(key, modifiers=Qt.KeyboardModifier.NoModifier):
        viewer.layers.selection.active = layer
        hand.key(getattr(Qt.Key, f"Key_{key}"), modifiers)

    def until(done):
        qtbot.waitUntil(done, timeout=5000)

    def again():
        layer.selected_data = {0}
        asked = len(captioner.captioned)
        press("Q")
        until(
            lambda: (
                len(captioner.captioned) > asked and session.records[first.uid].caption == TEXTS[0]
            )
        )

    def group():
        layer.selected_data = {0, 1}
        press("G")
        until(lambda: "group" in {record.subject for record in session.records.values()})

    def whole():
        press("W")
        until(lambda: dock.panel.whole.editor.toPlainText() == TEXTS[1])

    def write():
        layer.selected_data = {0}
        press("C")
        assert window.focusWidget() is editor
        QTest.keyClicks(editor, "mine")
        QTest.keyClick(editor, Qt.Key.Key_Return)
        assert session.records[first.uid].caption == "mine"
        # Where nobody has the focus, the window hands keys on to the canvas.
        assert window.focusWidget() is not editor
        controller.undo()
        assert session.records[first.uid].caption == TEXTS[0]

    def accept():
        layer.selected_data = {0}
        press("Y")
        assert session.records[first.uid].reviewed

    def reject():
        layer.selected_data = {1}
        press("U")
        rejected = session.records[second.uid]
        assert (rejected.caption, rejected.rejected) == ("", True)
        controller.undo()

    def lock():
        layer.selected_data = {1}
        press("K")
        assert session.records[second.uid].locked

    def undo():
        press("Z", CONTROL)
        assert not session.records[second.uid].locked

    def redo():
        press("Z", CONTROL | SHIFT)
        assert session.records[second.uid].locked
        press("K")
        assert not session.records[second.uid].locked

    def forward():
        dock.region_list.table.select([first.uid])
        layer.selected_data = {0}
        press("N")
        assert controller.current().uid == second.uid

    def back():
        press("N", SHIFT)
        assert controller.current().uid == first.uid

    def write_name():
        layer.selected_data = {0}
        press("T", SHIFT)
        assert window.focusWidget() is dock.teach.name
        QTest.keyClick(dock.teach.name, Qt.Key.Key_Escape)
        assert window.focusWidget() is not dock.teach.name

    def label_next():
        layer.selected_data = set()
        press("M")
        assert controller.selected()

    def find_like():
        layer.selected_data = {0}
        press("F", SHIFT)
        # A search has begun; this captioner describes no region.
        until(lambda: "could not be searched" in dock.panel.status.text())

    def set_apart():
        layer.selected_data = {0, 1}
        press("D", SHIFT)
        # Regions are compared; this captioner has nothing to compare them by.
        until(lambda: "could not be compared" in dock.panel.status.text())

    def compare():
        layer.selected_data = {0, 1}
        press("C", SHIFT)
        # A comparison has begun; this captioner describes no region.
        until(lambda: "could not be compared" in dock.panel.status.text())
        assert dock.compare.isVisible()
        dock.compare.close()

    def why():
        layer.selected_data = {1}
        press("W", SHIFT)
        assert controller.why.on
        assert dock.panel.caption.why.isVisibleTo(dock)
        # The model of this window cannot read, and says so.
        until(lambda: "could not be looked for" in dock.panel.caption.why.sentence.text())
        press("W", SHIFT)
        assert not controller.why.on

    def grow():
        press("G", SHIFT)
        assert dock.panel.draw.buttons["Grow"].isChecked()
        press("G", SHIFT)
        assert not dock.panel.draw.buttons["Grow"].isChecked()

    def toggle_list():
        press("O")
        until(lambda: dock.region_list.isVisible())
        press("O")
        until(lambda: not dock.region_list.isVisible())

    def toggle_captions():
        press("H")
        until(lambda: not layer.text.visible)
        press("H")
        until(lambda: layer.text.visible)

    def choose():
        for digit in range(1, 10):
            layer.selected_data = {1}
            record = session.records[second.uid]
            others = list(record.details.alternatives)
            press(digit, CONTROL)
            if digit <= len(others):
                assert session.records[second.uid].caption == others[digit - 1]
            else:
                assert f"There is no wording {digit}" in dock.panel.status.text()

    def inspect():
        press("J")
        assert look.inspect.isChecked()
        assert controller.inspector.on
        hand.send(QEvent.Type.MouseMove, 60, 150, NONE)
        until(lambda: "blue" in look.text.text())

    def brush():
        press("BracketRight")
        press("BracketRight")
        assert controller.inspector.radius == 2
        press("BracketLeft")
        assert controller.inspector.radius == 1

    def keep():
        shapes = layer.nshapes
        hand.send(QEvent.Type.MouseMove, 90, 150, NONE)
        QTest.keyPress(hand.canvas, Qt.Key.Key_Control, CONTROL)
        hand.click(90, 150, modifiers=CONTROL)
        QTest.keyRelease(hand.canvas, Qt.Key.Key_Control)
        until(lambda: layer.nshapes == shapes + 1)
        until(lambda: layer.features["caption"].iloc[-1] == "something blue")

    pressed = {
        "Q": again,
        "G": group,
        "W": whole,
        "C": write,
        "Shift+W": why,
        "Y": accept,
        "U": reject,
        "K": lock,
        "N": forward,
        "Shift+N": back,
        "Ctrl+Z": undo,
        "Ctrl+Shift+Z": redo,
        "Shift+T": write_name,
        "M": label_next,
        "Shift+G": grow,
        "Shift+C": compare,
        "Shift+D": set_apart,
        "Shift+F": find_like,
        "O": toggle_list,
        "H": toggle_captions,
        "Ctrl+1 to Ctrl+9": choose,
        "J": inspect,
        "[, ]": brush,
        "Ctrl+click": keep,
    }
    assert list(pressed) == guide_keys("With one of our layers active")
    order = [*(name for name in pressed if name not in ("N", "Shift+N")), "N", "Shift+N"]
    for name in order:
        pressed[name]()
    # Inspecting is still on: no other key may be dead while it is, and J ends it.
    layer.selected_data = {1}
    press("K")
    assert session.records[second.uid].locked
    press("J")
    assert not look.inspect.isChecked()
    assert not controller.inspector.on


def test_every_key_of_the_list(quiet, started, hand, viewer, captioner, qtbot, monkeypatch):
    dock, controller, session = started, started.controller, started.controller.session
    layer = controller.layer("regions")
    for (top, left), (bottom, right) in BOXES:
        box = [(top, left), (top, right), (bottom, right), (bottom, left)]
        layer.add(np.array(box), shape_type="rectangle")
    qtbot.waitUntil(lambda: list(layer.features["caption"]) == TEXTS, timeout=10000)
    uids = list(layer.features["uid"])
    dock.image_actions.toggle_list()
    listed = dock.region_list
    qtbot.waitUntil(lambda: len(listed.regions.lines) == 2)
    table = listed.table
    table.setFocus()
    table.selectRow(0)
    went, go_to = [], dock.image_actions.go_to
    monkeypatch.setattr(dock.image_actions, "go_to", lambda uid: (went.append(uid), go_to(uid)))

    def press(key, modifiers=Qt.KeyboardModifier.NoModifier):
        listed.refresh()
        QTest.keyClick(table, getattr(Qt.Key, f"Key_{key}"), modifiers)

    def record(place=0):
        return session.records[uids[place]]

    def until(done):
        qtbot.waitUntil(done, timeout=5000)

    def up_and_down():
        press("Down")
        assert controller.selected() == [uids[1]]
        press("Up")
        assert controller.selected() == [uids[0]]

    def go_along():
        press("N")
        press("P")
        assert went == [uids[1], uids[0]]

    def go_there():
        press("Return")
        assert went[-1] == uids[0]
        index = table.currentIndex()
        spot = table.visualRect(index).center()
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=spot)
        QTest.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=spot)
        assert len(went) == 4
        assert not table.editing

    def write():
        press("F2")
        assert table.editing
        editor = table.focusWidget() if table.focusWidget() is not table else None
        editor = editor or table.viewport().focusWidget()
        QTest.keyClicks(editor, "mine")
        QTest.keyClick(editor, Qt.Key.Key_Return)
        until(lambda: record().caption == "mine")
        press("Z", CONTROL)

    def choose():
        others = list(record().details.alternatives)
        press(2)
        assert record().caption == others[1]
        press("Z", CONTROL)
        press(9)
        assert "There is no wording 9" in dock.panel.status.text()

    def judge():
        press("A")
        assert record().reviewed
        press("Z", CONTROL)
        press("K")
        assert record().locked
        press("K")
        press("X")
        assert record().rejected
        press("Z", CONTROL)

    def again():
        asked = len(captioner.captioned)
        press("Q")
        until(lambda: len(captioner.captioned) > asked and record().caption == TEXTS[0])
        table.selectAll()
        press("G")
        until(lambda: "group" in {one.subject for one in session.records.values()})
        press("Z", CONTROL)
        table.selectRow(0)

    def teach():
        table.selectRow(0)
        press("T")
        assert table.window().focusWidget() is dock.teach.name
        dock.teach.name.clearFocus()
        table.setFocus()

    def delete():
        press("Delete")
        until(lambda: layer.nshapes == 1)

    def back():
        press("Z", CONTROL)
        until(lambda: layer.nshapes == 2)
        press("Z", CONTROL | SHIFT)
        until(lambda: layer.nshapes == 1)

    pressed = {
        "Up, Down": up_and_down,
        "N, P": go_along,
        "Enter, double-click": go_there,
        "F2": write,
        "1 to 9": choose,
        "A, X, K": judge,
        "Q, G": again,
        "Delete": delete,
        "T": teach,
        "Ctrl+Z, Ctrl+Shift+Z": back,
    }
    assert list(pressed) == guide_keys("With the list of regions")
    for act in pressed.values():
        act()
