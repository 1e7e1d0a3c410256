"""A vocabulary made and chosen in a real window, with the model that ships."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox
from skimage.data import cat

from napari_patchioner.annotations import read_project
from napari_patchioner.models.memories import MemoryChoice, memories
from napari_patchioner.viewer import CaptionDock
from napari_patchioner.viewer.panels.vocabulary import NONE
from napari_patchioner.viewer.project.project_file import memory_of
from napari_patchioner.viewer.workers.encode import shared_store

PETS = "a tabby cat\n\nA Tabby  cat\n12\na red bus in a street"


@pytest.fixture(autouse=True)
def cache(encoded, monkeypatch):
    """The picture is encoded once for all tests."""
    shared_store.cache_clear()
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(encoded))
    yield encoded
    shared_store.cache_clear()


@pytest.fixture
def dock(viewer, qtbot, quiet):
    viewer.add_image(cat(), name="cat")
    made = CaptionDock(viewer)
    viewer.window.add_dock_widget(made, name="Patch-ioner")
    yield made
    made.shut_down()


@pytest.fixture
def started(dock, qtbot):
    qtbot.waitUntil(lambda: dock.projects.current.searched, timeout=20000)
    qtbot.mouseClick(dock.panel.progress.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60000)
    layer = dock.controller.layer("regions")
    for corners in ([[30, 100], [250, 350]], [[10, 10], [80, 90]]):
        layer.add_rectangles(np.array(corners, float))
    wait_for_captions(dock, qtbot)
    return dock


def wait_for_captions(dock, qtbot):
    def written():
        records = dock.controller.session.records.values()
        return len(records) == 2 and all(r.caption and not r.wanted for r in records)

    qtbot.waitUntil(written, timeout=60000)


def captions(dock):
    return [record.caption for record in dock.controller.session.records.values()]


def make(dock, qtbot, name="pets", text=PETS):
    """Type a name, paste sentences, and press Build."""
    dock.vocabulary.ask()
    dialog = dock.vocabulary.dialog
    qtbot.waitExposed(dialog)
    qtbot.keyClicks(dialog.name, name)
    dialog.text.setFocus()
    dialog.text.insertPlainText(text)
    qtbot.waitUntil(dialog.build.isEnabled, timeout=10000)
    kept = [dialog.kept.item(row).text() for row in range(dialog.kept.count())]
    report = dialog.report.text()
    qtbot.mouseClick(dialog.build, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.vocabulary.progress is None, timeout=60000)
    return kept, report


def choose(dock, qtbot, name):
    """Choose by the keyboard."""
    box = dock.vocabulary.choice
    row = box.findData(name)
    box.setFocus()
    key = Qt.Key.Key_Down if row > box.currentIndex() else Qt.Key.Key_Up
    for _ in range(abs(row - box.currentIndex())):
        qtbot.keyClick(box, key)


def test_a_vocabulary_from_pasting_to_captions_and_back(started, qtbot, monkeypatch):
    dock, session = started, started.controller.session
    first, other = list(session.records)
    own = captions(dock)
    dock.controller.edit(other, "what I wrote")
    kept, report = make(dock, qtbot)
    assert kept == ["a tabby cat", "a red bus in a street"]
    assert "2 of 5 texts kept" in report
    assert "1 there already, such as line 3 of pasted text: 'A Tabby cat'" in report
    assert dock.controller.queue.memory == MemoryChoice("pets")
    assert dock.vocabulary.value == "pets"
    wait_for_captions(dock, qtbot)
    assert captions(dock) == ["a tabby cat", "what I wrote"]
    made_with = session.records[first].origin["options"]["memory"]
    assert (made_with["memory"], len(made_with["sha256"])) == ("pets", 64)
    # Saved with the project.
    dock.save_now()
    saved = read_project(dock.projects.current.path)
    assert memory_of(saved) == MemoryChoice("pets")
    # Taken back as any other captioning.
    dock.image_actions.undo()
    assert captions(dock) == [own[0], "what I wrote"]
    assert (dock.controller.queue.memory, dock.vocabulary.value) == (None, "")
    dock.image_actions.redo()
    wait_for_captions(dock, qtbot)
    assert (captions(dock)[0], dock.vocabulary.value) == ("a tabby cat", "pets")
    # The model's own words again.
    choose(dock, qtbot, "")
    wait_for_captions(dock, qtbot)
    assert dock.controller.queue.memory is None
    assert captions(dock) == [own[0], "what I wrote"]
    assert not dock.vocabulary.mixing.isVisible()
    # Removed.
    choose(dock, qtbot, "pets")
    wait_for_captions(dock, qtbot)
    answer = QMessageBox.StandardButton.Yes
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answer)
    dock.vocabulary.ask_to_remove()
    qtbot.waitUntil(lambda: dock.vocabulary.progress is None, timeout=10000)
    assert "pets" not in [card.name for card in memories()]
    assert dock.vocabulary.choice.currentText() == NONE
    wait_for_captions(dock, qtbot)


def test_the_shipped_vocabulary_and_its_weight(started, qtbot):
    dock = started
    choose(dock, qtbot, "microscopy")
    wait_for_captions(dock, qtbot)
    qtbot.waitUntil(lambda: not dock.controller.queue.active, timeout=60000)
    alone = captions(dock)
    dock.vocabulary.weight.setFocus()
    qtbot.keyClick(dock.vocabulary.weight, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: dock.controller.queue.memory.weight == 0, timeout=5000)
    wait_for_captions(dock, qtbot)
    mixed = captions(dock)
    assert mixed != alone
    assert dock.vocabulary.share.text() == "0 %"
    # The slider goes back and forth with the captions.
    dock.image_actions.undo()
    assert (captions(dock), dock.vocabulary.weight.value()) == (alone, 100)
    assert dock.controller.queue.memory == MemoryChoice("microscopy")
    dock.image_actions.redo()
    wait_for_captions(dock, qtbot)
    assert (captions(dock), dock.vocabulary.weight.value()) == (mixed, 0)


def test_what_people_wrote_becomes_a_vocabulary(started, qtbot, tmp_path):
    dock = started
    first = next(iter(dock.controller.session.records))
    dock.vocabulary.ask()
    dialog = dock.vocabulary.dialog
    qtbot.mouseClick(dialog.project, Qt.MouseButton.LeftButton)
    assert "Nobody has written" in dialog.report.text()
    dock.controller.edit(first, "my own cat")
    qtbot.mouseClick(dialog.project, Qt.MouseButton.LeftButton)
    assert dialog.text.toPlainText() == "my own cat"
    # A file takes its place, and a column of it.
    path = tmp_path / "cells.csv"
    path.write_text("id,caption,note\n1,a cell,a long remark\n")
    dialog.take_file(path)
    qtbot.waitUntil(lambda: dialog.kept.count() == 1 and dialog.column.count() == 3, timeout=5000)
    assert (dialog.kept.item(0).text(), dialog.column.currentText()) == ("a cell", "caption")
    assert dialog.name.text() == "cells"
    dialog.column.setCurrentText("note")
    qtbot.waitUntil(lambda: dialog.kept.item(0).text() == "a long remark", timeout=5000)
    path.write_bytes(b"\x00\x01\x02")
    dialog.take_file(path)
    qtbot.waitUntil(lambda: "cells.csv: is not a text file" in dialog.report.text(), timeout=5000)
    assert not dialog.build.isEnabled()
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert dock.vocabulary.dialog is None
    a_name_that_cannot_be_is_said_and_the_texts_stay(dock, qtbot)


def a_name_that_cannot_be_is_said_and_the_texts_stay(started, qtbot):
    make(started, qtbot)
    make(started, qtbot)
    dialog = started.vocabulary.dialog
    for name, reason in (("pets", "already"), ("../x", "cannot be called"), ("CON", "cannot be")):
        dialog.name.setText(name)
        qtbot.mouseClick(dialog.build, Qt.MouseButton.LeftButton)
        assert reason in dialog.report.text()
        assert dialog.isVisible()
        assert dialog.text.toPlainText() == PETS
    dialog.close()
    wait_for_captions(started, qtbot)
