"""What the menu beside the project does, in a real window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_patchioner.annotations import (
    Project,
    ProjectImage,
    Record,
    Seen,
    content_hash,
    projects_folder,
    read_project,
    write_project,
)
from napari_patchioner.viewer.project import autosave

BOX = np.array([[10.0, 10.0], [10.0, 50.0], [40.0, 50.0], [40.0, 10.0]])


def region(uid, caption, source="human", vertices=BOX):
    seen = Seen("rectangle", vertices)
    return Record(uid, caption=caption, source=source, layer="regions", seen=seen)


def stored(picture, number, when, *records):
    """Write a project of the picture into the user's folder."""
    content = content_hash(picture)
    name = f"{content}.{number}.patchioner.json" if number else f"{content}.patchioner.json"
    place = projects_folder() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    image = ProjectImage("stripes", content=content)
    write_project(place, Project(image, records, written=f"2026-01-0{when}T00:00:00.000+00:00"))
    return place


@pytest.fixture
def two_projects(picture):
    """The newest first."""
    group = Record("g", members=("a", "b"), caption="both", source="human")
    point = Record("p", layer="points:x", seen=Seen("point", BOX[:1]), caption="a dot")
    machine = region("a", "by a model", "model")
    late = stored(picture, 0, 2, machine, region("c", "mine"))
    early = stored(
        picture, 2, 1, region("a", "by a person"), region("b", "old", vertices=BOX + 60),
        region("c", "theirs"), point, group,
    )  # fmt: skip
    return late, early


@pytest.fixture
def answers(monkeypatch):
    """Answer questions with what is put in front, and keep what was asked."""
    given, asked = [], []

    def ask(parent, title, text, *_):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, given.pop(0))

    monkeypatch.setattr(QMessageBox, "question", ask)
    monkeypatch.setattr(autosave, "REST_MS", 20)
    return given, asked


def said(controller):
    return {r.uid: r.caption for r in controller.session.records.values()}


def test_older_work_is_named_and_merged_in_one_step(two_projects, answers, dock, qtbot):
    late, early = two_projects
    given, asked = answers
    [project_file] = dock.projects.files.values()
    qtbot.waitUntil(lambda: project_file.searched, timeout=5000)
    assert said(dock.controller) == {"a": "by a model", "c": "mine"}
    assert str(early) in dock.panel.status.text()
    given[:] = ["No"]
    dock.projects.merge.trigger()
    assert said(dock.controller) == {"a": "by a model", "c": "mine"}
    before = early.read_bytes()
    given[:] = ["Yes"]
    dock.projects.merge.trigger()
    assert str(early) in asked[-1]
    merged = {"a": "by a person", "b": "old", "c": "mine", "g": "both"}
    assert said(dock.controller) == merged
    assert "1 say something else" in dock.panel.status.text()
    layer = dock.controller.layer("regions")
    assert list(layer.features["caption"]) == ["by a person", "mine", "old"]
    np.testing.assert_array_equal(layer.data[2], BOX + 60)
    dock.controller.undo()
    assert said(dock.controller) == {"a": "by a model", "c": "mine"}
    dock.controller.redo()
    assert said(dock.controller) == merged
    assert project_file.save()
    kept = {one.uid: one.caption for one in read_project(late).records}
    assert kept == {**merged, "p": "a dot"}
    assert early.read_bytes() == before
    assert project_file.others == ()


def test_any_file_can_be_merged_and_one_that_cannot_be_read_changes_nothing(
    dock, answers, tmp_path, monkeypatch, qtbot
):
    [project_file] = dock.projects.files.values()
    qtbot.waitUntil(lambda: project_file.searched, timeout=5000)
    dock.controller.layer("regions").add([BOX], shape_type=["rectangle"])
    [uid] = dock.controller.session.uids("regions")
    dock.controller.edit(uid, "mine")
    place = tmp_path / "theirs.patchioner.json"
    image = ProjectImage("x")
    write_project(place, Project(image, (region("t", "theirs"), replace(region(uid, "x")))))
    choices = iter([str(tmp_path / "nothing"), str(place)])
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (next(choices), ""))
    dock.projects.merge.trigger()
    assert "Nothing was merged" in dock.panel.status.text()
    assert said(dock.controller) == {uid: "mine"}
    dock.projects.merge.trigger()
    assert said(dock.controller) == {uid: "mine", "t": "theirs"}


@pytest.mark.every_qt
def test_ctrl_s_in_the_dock_saves_the_work_and_opens_no_dialog(dock, monkeypatch, qtbot, viewer):
    opened = []
    monkeypatch.setattr(QFileDialog, "exec_", lambda *_: opened.append("exec"), raising=False)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: opened.append("get"))
    dock.controller.layer("regions").add([BOX], shape_type=["rectangle"])
    dock.controller.select(dock.controller.session.uids("regions"))
    dock.refresh()
    editor = dock.panel.caption.focusProxy() or dock.panel.caption.editor
    viewer.window._qt_window.activateWindow()
    editor.setFocus()
    qtbot.keyClicks(editor, "a red thing")
    qtbot.keyClick(editor, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)
    [project_file] = dock.projects.files.values()
    assert [one.caption for one in read_project(project_file.path).records] == ["a red thing"]
    assert dock.panel.status.text().startswith("Saved in")
    assert opened == []


def test_the_real_window_stays_open_while_work_cannot_be_saved(dock, viewer, monkeypatch, qtbot):
    from napari_patchioner.annotations.project import file
    from napari_patchioner.errors import FormatError

    def refuse(path, *_, **__):
        raise FormatError(f"{path}: cannot be written (No space left on device)")

    asked, given = [], ["Cancel", "Cancel", "Discard"]

    def execute(box):
        asked.append(box.text())
        return getattr(QMessageBox.StandardButton, given.pop(0))

    monkeypatch.setattr(file, "write_project", refuse)
    monkeypatch.setattr(QMessageBox, "exec", execute)
    dock.controller.layer("regions").add([BOX], shape_type=["rectangle"])
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: bool(dock.projects.files), timeout=5000)
    for _ in range(2):
        assert not window.close()
        assert window.isVisible()
    assert dock.controller is not None
    assert all("No space left" in text for text in asked)
    viewer.close()
    qtbot.wait(100)
    assert given == []
