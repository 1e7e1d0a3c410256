"""What was taught is saved with the work on an image, and there again, whatever happened."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from taught_pictures import draw
from taught_window import Class

from napari_patchioner import load_model
from napari_patchioner.annotations.project.file import read_project
from napari_patchioner.teaching import Lexicon, is_lexicon, read_lexicon, write_lexicon
from napari_patchioner.viewer import CaptionDock
from napari_patchioner.viewer.teaching.store import lexicons_folder


@pytest.fixture
def open_window(viewer, registry, qtbot):
    """Open images in the window with a new dock, as somebody does who comes back."""
    docks = []

    def come_back(*paths, read=True):
        leave()
        viewer.layers.clear()
        for path in paths:
            viewer.open(str(path), plugin="napari")
        dock = CaptionDock(viewer, registry=registry)
        dock.panel.options["beams"].value = 1
        viewer.window.add_dock_widget(dock, name="Patch-ioner")
        docks.append(dock)
        files = dock.projects.files
        qtbot.waitUntil(lambda: all(file.searched for file in files.values()), timeout=10_000)
        if read:
            dock.panel.progress.button.click()
            qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60_000)
        return dock

    def leave():
        while docks:
            dock = docks.pop()
            dock.shut_down()
            viewer.window.remove_dock_widget("all")

    yield come_back
    leave()


@pytest.fixture
def folder(tmp_path):
    """Two pictures of the same things."""
    kinds = ["nucleus", "leaf", "nucleus", "leaf"]
    boxes = {}
    for seed in (1, 2):
        pixels, boxes[seed] = draw(seed, kinds)
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    return tmp_path, boxes


def teach_two(dock, boxes, qtbot):
    lesson = Class(dock, boxes, qtbot)
    lesson.add()
    lesson.until(lambda: len(lesson.records) == 4 and all(lesson.captions()))
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.until(lambda: lesson.captions() == ["nucleus", "leaf"] * 2)
    lesson.settle()
    return lesson


def test_all_is_back_when_the_image_is_opened_again(quiet, open_window, folder, qtbot):
    place, boxes = folder
    teach_two(open_window(place / "1.png"), boxes[1], qtbot)
    dock = open_window(place / "1.png", read=False)
    qtbot.waitUntil(lambda: dock.teach.lexicon is not None, timeout=10_000)
    assert dock.teach.lexicon.counts == {"leaf": 1, "nucleus": 1}
    assert all(example.thumbnail for example in dock.teach.lexicon.examples)
    session = dock.controller.session
    assert [r.example for r in session.records.values()] == [True, True, None, None]
    assert [r.caption for r in session.records.values()] == ["nucleus", "leaf"] * 2
    # A new region is named as soon as the image is read.
    lesson = Class(dock, boxes[1], qtbot)
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60_000)
    lesson.add([2])
    lesson.until(lambda: len(lesson.records) == 5 and lesson.captions()[4] == "nucleus")
    lesson.settle()
    assert dock.teach.lexicon.counts == {"leaf": 1, "nucleus": 1}


def test_a_sentence_over_an_example_is_no_name_after_a_restart_either(
    quiet, open_window, folder, qtbot
):
    place, boxes = folder
    lesson = teach_two(open_window(place / "1.png"), boxes[1], qtbot)
    lesson.dock.controller.session.edit(lesson.records[0].uid, "a giraffe on the runway")
    lesson.settle()
    dock = open_window(place / "1.png")
    qtbot.waitUntil(lambda: dock.teach.lexicon is not None, timeout=10_000)
    lesson = Class(dock, boxes[1], qtbot)
    lesson.add([2])
    lesson.until(lambda: len(lesson.records) == 5 and lesson.captions()[4] == "nucleus")
    lesson.settle()
    assert dock.teach.lexicon.counts == {"leaf": 1, "nucleus": 1}
    assert lesson.captions()[:2] == ["a giraffe on the runway", "leaf"]


def test_another_image_of_the_window_is_named_too_and_examples_of_closed_ones_stay(
    quiet, open_window, folder, viewer, qtbot
):
    place, boxes = folder
    dock = open_window(place / "1.png")
    first = teach_two(dock, boxes[1], qtbot)
    image = dock.image
    viewer.open(str(place / "2.png"), plugin="napari")
    viewer.layers.remove(image)
    qtbot.waitUntil(lambda: dock.controller.image.name == "2", timeout=5000)
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60_000)
    second = Class(dock, boxes[2], qtbot)
    second.add()
    second.until(lambda: second.captions() == ["nucleus", "leaf"] * 2)
    second.teach("cell", 0)
    second.until(lambda: dock.teach.lexicon.counts == {"cell": 1, "leaf": 1, "nucleus": 1})
    # Both projects name the same lexicon, with the examples of both.
    again = open_window(place / "1.png", read=False)
    qtbot.waitUntil(lambda: again.teach.lexicon is not None, timeout=10_000)
    assert again.teach.lexicon.counts == {"cell": 1, "leaf": 1, "nucleus": 1}
    assert first is not second


def test_without_the_lexicon_its_own_examples_are_learned_anew(open_window, folder, qtbot):
    place, boxes = folder
    teach_two(open_window(place / "1.png"), boxes[1], qtbot)
    dock = open_window(read=False)
    import shutil

    shutil.rmtree(lexicons_folder())
    dock = open_window(place / "1.png", read=False)
    qtbot.waitUntil(lambda: "not on this computer" in dock.controller.message, timeout=10_000)
    assert [r.source for r in dock.controller.session.records.values()][2:] == ["taught"] * 2
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.teach.lexicon is not None, timeout=60_000)
    lesson = Class(dock, boxes[1], qtbot)
    lesson.settle()
    assert dock.teach.lexicon.counts == {"leaf": 1, "nucleus": 1}
    assert lesson.captions() == ["nucleus", "leaf"] * 2


def test_it_is_saved_soon_and_not_again_where_nothing_has_changed(open_window, folder, qtbot):
    place, boxes = folder
    dock = open_window(place / "1.png")
    lesson = teach_two(dock, boxes[1], qtbot)
    kept = lexicons_folder()
    lesson.until(lambda: kept.is_dir() and len(list(kept.glob("*/*/lexicon.json"))) == 1)
    [file] = kept.glob("*/*/lexicon.json")
    lesson.until(lambda: json.loads(file.read_text())["examples"][-1]["name"] == "nucleus")
    stamp = file.stat().st_mtime_ns
    dock.controller.session.edit(lesson.records[3].uid, "something else")
    project = place / "1.png.patchioner.json"
    lesson.until(lambda: "something else" in project.read_text())
    lesson.settle()
    assert file.stat().st_mtime_ns == stamp
    assert read_project(project).extra["teaching"]["lexicon"] == file.parents[1].name


def test_a_folder_is_saved_opened_and_of_another_backbone_refused(
    lesson, tmp_path, monkeypatch, viewer
):
    dock = lesson.dock
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.settle()
    monkeypatch.setattr(
        "qtpy.QtWidgets.QFileDialog.getSaveFileName", lambda *_: (str(tmp_path / "cells"), "")
    )
    dock.teach.save.trigger()
    lesson.until(lambda: is_lexicon(tmp_path / "cells"))
    lesson.until(lambda: "cells" in dock.teach.fold.text())
    saved = read_lexicon(tmp_path / "cells")
    assert saved.counts == {"leaf": 1, "nucleus": 1}
    dock.teach.clear.trigger()
    dock.teach.question.answers["Clear"][0].click()
    lesson.until(lambda: dock.teach.lexicon is None)
    lesson.settle()
    assert lesson.sources()[2:] == ["model"] * 5
    assert lesson.captions()[:2] == ["nucleus", "leaf"]
    other = Lexicon(
        replace(saved.origin, backbone="clip"), saved.examples, saved.described, saved.images
    )
    write_lexicon(tmp_path / "theirs", other)
    dock.teach.open_lexicon(tmp_path / "theirs")
    lesson.until(lambda: "taught with the backbone clip" in dock.controller.message)
    dock.teach.open_lexicon(tmp_path)
    lesson.until(lambda: "is no lexicon" in dock.controller.message)
    dock.teach.open_lexicon(tmp_path / "cells")
    lesson.until(lambda: lesson.captions()[2:6] == ["nucleus", "leaf"] * 2)


def test_what_another_model_was_taught_waits_for_it(lesson, registry, monkeypatch):
    dock, controller = lesson.dock, lesson.dock.controller
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.settle()
    theirs = load_model("mini")
    theirs.backbone.name = "another"
    plainly = registry.using

    def using(model, *rest):
        import contextlib

        return contextlib.nullcontext(theirs) if model == "other" else plainly(model, *rest)

    monkeypatch.setattr(registry, "using", using)
    said = []
    controller.messaged.connect(said.append)
    controller.start("other")
    lesson.until(lambda: controller.encoder.ready and not controller.encoder.active)
    lesson.settle()
    lesson.until(lambda: len(dock.teacher.lexicons) == 2)
    lesson.settle()
    assert any("does not fit other" in message for message in said)
    assert lesson.captions()[2:6] == ["nucleus", "leaf"] * 2
    lesson.teach("grain", 6)
    lesson.settle()
    assert dock.teach.lexicon.origin.backbone == "another"
    controller.start("mini")
    lesson.until(lambda: controller.encoder.ready and not controller.encoder.active)
    lesson.settle()
    assert dock.teach.lexicon.origin.backbone != "another"
    assert dock.teach.lexicon.counts == {"grain": 1, "leaf": 1, "nucleus": 1}


def test_projects_of_before_open(open_window, folder, qtbot):
    place, boxes = folder
    dock = open_window(place / "1.png")
    lesson = Class(dock, boxes[1], qtbot)
    lesson.add([0])
    lesson.until(lambda: all(lesson.captions()) and len(lesson.records) == 1)
    lesson.settle()
    again = open_window(place / "1.png", read=False)
    assert "teaching" not in read_project(place / "1.png.patchioner.json").extra
    assert [r.example for r in again.controller.session.records.values()] == [None]
    assert np.array(again.image.data).shape == (160, 240, 3)
