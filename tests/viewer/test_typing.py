"""What is typed in a field of a dock stays there, whatever keys were pressed on the canvas."""

from __future__ import annotations

import sys

import pytest
from napari.settings import get_settings
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent, QKeyEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QCheckBox, QLineEdit, QSpinBox

from napari_patchioner.viewer.folder.dock import FolderDock
from napari_patchioner.viewer.panels.regions import CAPTION

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
PLAIN = Qt.KeyboardModifier.NoModifier
SENTENCE = "a dog sits here by 3 vases on top"


@pytest.fixture
def canvas(started, hand, viewer):
    """A canvas with a selected box on it."""
    started.panel.draw.buttons["Box"].click()
    hand.drag([(20, 10), (60, 50)])
    # The tool that a stale key would bring back
    started.panel.draw.buttons["Ellipse"].click()
    tap(hand, "S")
    hand.click(40, 30)
    layer = started.controller.layer("regions")
    assert (str(layer.mode), set(layer.selected_data)) == ("select", {0})
    return hand


def tap(hand, key, modifiers=PLAIN):
    """Press a key on the canvas and let it go soon enough; from then on all counts as held."""
    get_settings().application.hold_button_delay = 60.0
    hand.key(getattr(Qt.Key, f"Key_{key}"), modifiers)
    get_settings().application.hold_button_delay = 0.0


def write(viewer, text):
    """Send keys to whatever has the focus, as Qt does."""
    window = viewer.window._qt_window
    for letter in text:
        QTest.keyClick(window.focusWidget() or window, letter)
    QApplication.processEvents()


def unchanged(layer):
    return str(layer.mode) == "select" and set(layer.selected_data) == {0}


def test_a_sentence_stays_in_the_caption_and_its_region_selected(started, canvas, viewer):
    layer = started.controller.layer("regions")
    started.panel.caption.editor.setFocus()
    started.panel.caption.editor.selectAll()
    write(viewer, SENTENCE)
    assert unchanged(layer)
    assert started.controller.current().caption == SENTENCE
    assert started.ask.text.text() == ""


def test_keys_of_other_modes_are_forgotten_as_well(started, canvas, viewer):
    layer, editor = started.controller.layer("regions"), started.panel.caption.editor
    for mode in ("P", "R", "T", "D", "E", "L", "Z", "Space"):
        tap(canvas, mode)
        tap(canvas, "S")
        layer.selected_data = {0}
        editor.setFocus()
        editor.selectAll()
        write(viewer, f" {mode.lower()} stop")
        assert unchanged(layer)
        assert started.controller.current().caption.startswith(f"{mode.lower()} stop")


def fields(dock):
    """Return what of a dock takes letters or numbers, shown or not."""
    return [w for kind in (QLineEdit, QSpinBox) for w in dock.findChildren(kind) if w.isEnabled()]


def test_nothing_typed_in_any_field_reaches_the_canvas(started, canvas, viewer, qtbot):
    layer = started.controller.layer("regions")
    started.image_actions.toggle_list()
    viewer.window.add_dock_widget(FolderDock(viewer), name="folder")
    docks = started, started.region_list, *viewer.window._qt_window.findChildren(FolderDock)
    window, tried = viewer.window._qt_window, 0
    for dock in docks:
        for field in fields(dock):
            field.setFocus()
            if window.focusWidget() is not field:
                continue
            for key in "srptvd1567":
                QTest.keyClick(field, key)
            for key in (Qt.Key.Key_PageDown, Qt.Key.Key_Up, Qt.Key.Key_Space):
                QTest.keyClick(field, key)
            tried += 1
            assert unchanged(layer), field.accessibleName() or field.placeholderText()
            field.clear()
    assert tried > 5


def test_letters_in_the_list_of_regions_leave_the_tool_alone(started, canvas, viewer, qtbot):
    layer = started.controller.layer("regions")
    started.image_actions.toggle_list()
    table = started.region_list.table
    qtbot.waitUntil(lambda: table.uids() == started.controller.selected(), timeout=5000)
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_F2)
    editor = viewer.window._qt_window.focusWidget()
    assert isinstance(editor, QLineEdit)
    assert table.isAncestorOf(editor)
    editor.clear()
    write(viewer, "its sofa")
    assert unchanged(layer)
    QTest.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: started.controller.current().caption == "its sofa", timeout=5000)
    write(viewer, "s")
    assert unchanged(layer)


def test_a_key_that_is_held_ends_what_it_began_wherever_it_is_let_go(started, canvas, viewer):
    layer = started.controller.layer("regions")
    canvas.canvas.setFocus()
    QTest.keyPress(canvas.canvas, Qt.Key.Key_Space)
    assert str(layer.mode) == "pan_zoom"
    editor = started.panel.caption.editor
    editor.setFocus()
    QTest.keyRelease(editor, Qt.Key.Key_Space)
    assert unchanged(layer)
    canvas.canvas.setFocus()
    QTest.keyPress(canvas.canvas, Qt.Key.Key_Z)
    assert str(layer.mode) == "pan_zoom"
    QTest.keyRelease(canvas.canvas, Qt.Key.Key_Z)
    assert unchanged(layer)
    # One that was pressed in a field ends nothing on the canvas.
    editor.setFocus()
    QTest.keyPress(editor, Qt.Key.Key_S)
    canvas.canvas.setFocus()
    QTest.keyRelease(canvas.canvas, Qt.Key.Key_S)
    assert unchanged(layer)


def test_our_keys_end_no_mode_that_their_letter_began_by_itself(started, canvas):
    """Shift+T writes a name, T alone draws traces: its release would bring back the tool before."""
    layer = started.controller.layer("regions")
    tap(canvas, "D")
    assert str(layer.mode) == "direct"
    canvas.key(Qt.Key.Key_D, SHIFT)
    assert str(layer.mode) == "direct"


def test_a_key_let_go_in_another_window_is_not_held_for_ever(started, canvas, viewer):
    layer = started.controller.layer("regions")
    QTest.keyPress(canvas.canvas, Qt.Key.Key_S)
    QApplication.sendEvent(viewer.window._qt_window, QEvent(QEvent.Type.WindowDeactivate))
    started.panel.caption.editor.setFocus()
    write(viewer, "s")
    assert unchanged(layer)


def test_a_mac_tells_of_no_release_while_cmd_is_held(started, canvas, viewer, monkeypatch):
    layer = started.controller.layer("regions")
    monkeypatch.setattr(sys, "platform", "darwin")
    press = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_S, CONTROL | SHIFT, "")
    QApplication.sendEvent(canvas.canvas, press)
    started.panel.caption.editor.setFocus()
    write(viewer, "s")
    assert unchanged(layer)


def test_keys_pass_from_a_check_box_to_the_canvas(started, canvas, viewer):
    layer = started.controller.layer("regions")
    box = started.teach.findChild(QCheckBox)
    started.teach.fold.expand(animate=False)
    box.setFocus()
    assert viewer.window._qt_window.focusWidget() is box
    QTest.keyPress(box, Qt.Key.Key_D)
    assert str(layer.mode) == "direct"


def test_what_is_typed_into_a_caption_that_goes_away_lands_nowhere(started, canvas, viewer):
    layer = started.controller.layer("regions")
    editor = started.panel.caption.editor
    editor.setFocus()
    editor.selectAll()
    write(viewer, "a dog s")
    uid = started.controller.current().uid
    before = [field.text() for field in started.findChildren(QLineEdit)]
    layer.selected_data = set()
    started.refresh()
    write(viewer, "its y3")
    assert started.controller.session.records[uid].caption == "a dog s"
    assert [field.text() for field in started.findChildren(QLineEdit)] == before
    assert str(layer.mode) == "select"
    assert layer.nshapes == 1
    # Nor does what is selected next get the rest of it.
    layer.selected_data = {0}
    started.refresh()
    write(viewer, " and more")
    assert started.controller.session.records[uid].caption == "a dog s"
    write(viewer, "\r")
    assert not started.hasFocus()
    tap(canvas, "D")
    assert str(layer.mode) == "direct"


def captions_on_the_way_back(dock):
    """Undo all, and return what the caption was after each step."""
    session, seen = dock.controller.session, []
    uid = dock.controller.current().uid
    while dock.controller.session.undo():
        record = session.records.get(uid)
        seen.append(record.caption if record else None)
    return seen


def over_it(dock, viewer, text):
    """Type a text over the caption."""
    dock.panel.caption.editor.setFocus()
    dock.panel.caption.editor.selectAll()
    write(viewer, text)


def test_each_edit_that_was_finished_is_a_step_back(started, canvas, viewer, qtbot):
    drawn = ["something red", None]
    over_it(started, viewer, "one by one")
    write(viewer, "\r")
    over_it(started, viewer, "two")
    # An action that was pressed, whether it changes anything or not
    started.panel.reword.menu().actions()[0].trigger()
    over_it(started, viewer, "three")
    # The cursor went elsewhere
    started.teach.name.setFocus()
    QApplication.sendEvent(started.panel.caption.editor, QFocusEvent(QEvent.Type.FocusOut))
    over_it(started, viewer, "four")
    # Nothing was typed for a while
    started.panel.caption._rest.flush()
    over_it(started, viewer, "five")
    # Another region was looked at
    uid = started.controller.current().uid
    started.controller.select([])
    started.refresh()
    started.controller.select([uid])
    started.refresh()
    over_it(started, viewer, "six")
    seen = captions_on_the_way_back(started)
    assert seen == ["five", "four", "three", "two", "one by one", *drawn]


def test_edits_in_the_list_are_steps_of_their_own(started, canvas, qtbot):
    started.image_actions.toggle_list()
    regions = started.region_list.regions
    qtbot.waitUntil(lambda: len(regions.lines) == 1, timeout=5000)
    for text in ("one", "two"):
        regions.setData(regions.index(0, CAPTION), text)
        qtbot.waitUntil(lambda text=text: regions.lines[0].caption == text, timeout=5000)
    assert captions_on_the_way_back(started) == ["one", "something red", None]
