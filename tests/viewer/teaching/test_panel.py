"""The panel of what is taught: names, how well they are told apart, examples; and what changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_patchioner.teaching import checked_name
from napari_patchioner.viewer.layers import captions
from napari_patchioner.viewer.layers.overlays import NAME as OVERLAY
from napari_patchioner.viewer.panels.teach import picture_of


@pytest.fixture
def taught(lesson):
    """Two examples of each of two names."""
    lesson.teach("nucleus", 0, 2)
    lesson.teach("leaf", 1, 3)
    lesson.settle()
    panel = lesson.dock.teach
    panel.fold.expand(animate=False)
    lesson.until(lambda: len(panel.names.lines) == 2)
    return lesson


def rename(panel, row, text):
    """Write another name into the table, by hand."""
    index = panel.names.index(row, 0)
    panel.table.setCurrentIndex(index)
    panel.table.edit(index)
    editor = panel.table.viewport().focusWidget() or panel.table.focusWidget()
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)


def test_it_shows_names_counts_accuracy_and_pictures(quiet, taught, viewer):
    panel = taught.dock.teach
    assert [tuple(line) for line in panel.names.lines] == [
        ("leaf", 2, "2 of 2"),
        ("nucleus", 2, "2 of 2"),
    ]
    assert "100% are named rightly when left out" in panel.judged.text()
    assert "Without a name stays" in panel.judged.text()
    assert panel.fold.text() == "Taught: 2 names, 4 examples"
    assert panel.pictures.count() == 4
    spot = panel.table.visualRect(panel.names.index(0, 0)).center()
    QTest.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    assert panel.pictures.count() == 2
    assert not panel.pictures.item(0).icon().isNull()
    taught.dock.controller.select([])
    panel.pictures.itemDoubleClicked.emit(panel.pictures.item(0))
    assert taught.dock.controller.selected()[0] in {taught.records[1].uid, taught.records[3].uid}
    label_next_goes_to_the_most_doubtful_and_on(taught)
    names_are_outlined_in_their_colours(taught, viewer)
    only_small_pictures_are_shown(taught)


def label_next_goes_to_the_most_doubtful_and_on(taught):
    controller, panel = taught.dock.controller, taught.dock.teach
    teacher, uids = taught.dock.teacher, [record.uid for record in taught.records]
    doubt = {u: abs(teacher.naming(controller, u).score - 0.5) for u in uids[4:]}
    order = sorted(doubt, key=doubt.__getitem__)
    visited = []
    for _ in range(4):
        panel.next.click()
        visited += controller.selected()
    assert visited == [*order, order[0]]


def names_are_outlined_in_their_colours(taught, viewer):
    panel, image = taught.dock.teach, taught.dock.image
    panel.coloured.click()
    sheet = image._overlays[OVERLAY].sheet
    # Six boxes with a name, the grain has none.
    assert sheet.outlines.shape == (24, 2, 2)
    assert len(np.unique(sheet.colours, axis=0)) == 2
    viewer.screenshot(flash=False)
    panel.coloured.click()
    assert OVERLAY not in image._overlays


def only_small_pictures_are_shown(taught):
    data = taught.dock.teach.lexicon.examples[0].thumbnail
    assert picture_of(data) is not None
    huge = data[:16] + (30_000).to_bytes(4, "big") * 2 + data[24:]
    assert picture_of(huge) is None
    assert picture_of(b"GIF89a") is None
    assert picture_of(data[:30]) is None
    assert checked_name("leaf") == "leaf"


def test_a_name_is_worded_anew_and_joined_with_another(quiet, taught):
    panel, controller = taught.dock.teach, taught.dock.controller
    rename(panel, 0, "green leaf")
    taught.until(lambda: taught.captions()[5] == "green leaf")
    taught.until(lambda: [line.name for line in panel.names.lines] == ["green leaf", "nucleus"])
    assert taught.captions()[1::2][:2] == ["green leaf"] * 2
    rename(panel, 0, "nucleus")
    taught.until(lambda: panel.question is not None)
    assert "nucleus" in panel.question.text()
    panel.question.answers["Join"][0].click()
    taught.until(lambda: panel.lexicon.counts == {"nucleus": 4})
    taught.settle()
    # The captions of the examples go back with one step, and so do their names.
    controller.undo()
    taught.settle()
    assert panel.lexicon.counts == {"green leaf": 2, "nucleus": 2}
    taught.until(lambda: len(panel.names.lines) == 2)
    rename(panel, 0, "   ")
    assert panel.lexicon.counts == {"green leaf": 2, "nucleus": 2}


def test_a_name_is_forgotten_and_what_people_wrote_stays(quiet, taught):
    panel = taught.dock.teach
    panel.table.setCurrentIndex(panel.names.index(0, 0))
    panel.forget.click()
    panel.question.no.click()
    taught.until(lambda: panel.question is None)
    assert panel.lexicon.counts == {"leaf": 2, "nucleus": 2}
    panel.forget.click()
    panel.question.answers["Forget"][0].click()
    taught.until(lambda: panel.lexicon.counts == {"nucleus": 2})
    taught.settle()
    assert taught.captions()[1] == taught.captions()[3] == "leaf"
    assert taught.sources()[5] != "taught" or taught.captions()[5] != "leaf"
    taught.dock.controller.undo()
    taught.settle()
    assert panel.lexicon.counts == {"leaf": 2, "nucleus": 2}
    panel.table.setCurrentIndex(panel.names.index(0, 0))
    panel.pictures.item(0).setSelected(True)
    panel.forget.click()
    panel.question.answers["Forget"][0].click()
    taught.until(lambda: panel.lexicon.counts == {"leaf": 1, "nucleus": 2})


def test_colours_are_the_same_in_whatever_order_names_come(monkeypatch):
    names = ["RBC", "WBC", "platelet", "target cell", "leaf"]
    ways = set()
    for order in itertools.permutations(names):
        monkeypatch.setattr(captions, "_colours", {})
        for name in order:
            captions.colour_of(name)
        ways.add(tuple(map(captions.colour_of, names)))
    [colours] = ways
    assert len(set(colours)) == len(names)
