"""Regions compared in a real window, by mouse and keys, with the model that ships."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from embedded_dock import read
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtTest import QTest
from skimage import data

pytestmark = pytest.mark.embedded
CAT, CUP = data.cat(), data.coffee()[50:350, 30:480]
BESIDE = np.concatenate([CAT, CUP], axis=1)
WIDTH = CAT.shape[1]
STACK = np.stack([CUP[:, :400]] * 2 + [CAT[:300, :400]] * 3)


@pytest.fixture
def picture(request):
    return getattr(request, "param", BESIDE)


def finished(dock, qtbot):
    comparer = dock.controller.comparer
    qtbot.waitUntil(lambda: comparer.progress is None, timeout=60_000)
    qtbot.waitUntil(lambda: dock.compare.progress.isHidden(), timeout=5000)
    return comparer


def draw_two(dock, hand, qtbot):
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(40, WIDTH + 120), (290, WIDTH + 430)])
    hand.drag([(20, 60), (280, 400)])
    records = dock.controller.session.records
    qtbot.waitUntil(
        lambda: len(records) == 2 and all(r.caption for r in records.values()), timeout=60_000
    )
    return records


@pytest.mark.every_qt
def test_two_shapes_are_compared_and_one_is_gone_to(quiet, dock, hand, viewer, qtbot, tmp_path):
    read(dock, qtbot)
    records = draw_two(dock, hand, qtbot)
    dock.panel.draw.buttons["Select"].click()
    hand.click(150, 200)
    cat, cup = sorted(records, key=lambda uid: records[uid].seen.vertices[0, 1])
    dock.controller.select([cup, cat])
    before = {uid: record.caption for uid, record in records.items()}
    QTest.mouseClick(dock.panel.buttons["compare"], Qt.MouseButton.LeftButton)
    comparer = finished(dock, qtbot)
    names = dict(zip(comparer.compared.uids, comparer.compared.names, strict=True))
    assert (names[cat], names[cup]) == ("left", "right")
    panel = dock.compare
    assert panel.isVisible()
    assert "left: " in panel.sentence.text()
    assert "cat" in panel.sentence.text()
    assert dock.panel.status.text().startswith(panel.sentence.text()[:20])
    column = 1 + comparer.compared.uids.index(cat)
    assert panel.table.item(0, column).text() == before[cat]
    place = panel.table.visualItemRect(panel.table.item(0, column)).center()
    QTest.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert dock.controller.selected() == [cat]
    QTest.mouseClick(panel.copy, Qt.MouseButton.LeftButton)
    assert panel.sentence.text() in QGuiApplication.clipboard().text()
    panel.export_csv(tmp_path / "differences.csv")
    lines = (tmp_path / "differences.csv").read_text(encoding="utf-8").splitlines()
    assert set(lines[0].split(",")) == {"what", "left", "right"}
    assert any(line.startswith("cat,") for line in lines)
    # Nothing was written.
    assert {uid: record.caption for uid, record in records.items()} == before


def test_what_has_changed_since_is_outdated_and_compared_again(quiet, dock, hand, qtbot):
    read(dock, qtbot)
    uids = list(draw_two(dock, hand, qtbot))
    panel, actions = dock.compare, dock.image_actions
    dock.controller.select(uids)
    actions.compare()
    finished(dock, qtbot)
    assert panel.outdated.isHidden()
    actions.add_places()
    qtbot.waitUntil(lambda: panel.outdated.isVisible(), timeout=5000)
    assert panel.outdated.text() == "Outdated: a caption has changed."
    QTest.mouseClick(panel.again, Qt.MouseButton.LeftButton)
    finished(dock, qtbot)
    qtbot.waitUntil(lambda: panel.outdated.isHidden(), timeout=5000)
    # What was measured is no difference.
    assert "across" in panel.table.item(0, 1).text()
    assert "across" not in panel.sentence.text()
    assert panel.table.rowCount() > 2
    actions.undo()
    qtbot.waitUntil(lambda: panel.outdated.isVisible(), timeout=5000)
    actions.redo()
    qtbot.waitUntil(lambda: panel.outdated.isHidden(), timeout=5000)
    dock.controller.delete(uids[:1])
    qtbot.waitUntil(lambda: panel.outdated.isVisible(), timeout=5000)
    assert panel.outdated.text() == "Outdated: 1 region has been deleted."
    assert not panel.again.isEnabled()
    actions.undo()
    qtbot.waitUntil(lambda: panel.outdated.isHidden(), timeout=5000)
    layer = dock.controller.bindings["regions"].layer
    layer.data = [layer.data[0] + 8, layer.data[1]]
    qtbot.waitUntil(lambda: "another outline" in panel.outdated.text(), timeout=5000)
    # One that lies outside the image is no reason to compare nothing.
    layer.add_rectangles(np.array([[900, 2000], [1000, 2100]]))
    qtbot.waitUntil(lambda: len(dock.controller.session.records) == 3, timeout=5000)
    dock.controller.select(list(dock.controller.session.records))
    actions.compare()
    assert set(finished(dock, qtbot).compared.uids) == set(uids)
    left_out = "1 region is left out: The region lies outside the image"
    qtbot.waitUntil(lambda: left_out in panel.sentence.text(), timeout=5000)
    assert panel.outdated.isHidden()


def test_what_cannot_be_compared_is_answered_in_a_sentence(quiet, dock, hand, qtbot):
    dock.image_actions.compare()
    assert "Select two shapes" in dock.panel.status.text()
    assert not dock.compare.isVisible()
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(40, WIDTH + 120), (290, WIDTH + 430)])
    hand.drag([(20, 60), (280, 400)])
    qtbot.waitUntil(lambda: len(dock.controller.session.records) == 2, timeout=5000)
    dock.controller.select(list(dock.controller.session.records))
    dock.image_actions.compare()
    assert "Press Start first" in dock.panel.status.text()


def on_a_stack(dock, hand, viewer, qtbot):
    """Draw a box on slice 3 of the stack and compare its slices."""
    image = viewer.add_image(STACK, rgb=True, name="stack")
    dock.panel.image.value = image
    viewer.dims.set_point(0, 3)
    read(dock, qtbot)
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, 60), (280, 380)])
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: any(r.caption for r in records.values()), timeout=60_000)
    dock.controller.select(list(records))
    dock.image_actions.compare()
    return records


def test_one_shape_is_compared_over_the_slices_of_a_stack(quiet, dock, hand, viewer, qtbot):
    records = on_a_stack(dock, hand, viewer, qtbot)
    [uid] = records
    comparer = finished(dock, qtbot)
    assert comparer.sliced.numbers == (0, 1, 2, 3, 4)
    assert comparer.sliced.result.changes == (2,)
    assert "cat" in comparer.sliced.result.consensus
    panel = dock.compare
    assert panel.table.rowCount() == 5
    bold = [panel.table.item(row, 1).font().bold() for row in range(5)]
    assert bold == [True, False, True, False, False]
    place = panel.table.visualItemRect(panel.table.item(1, 1)).center()
    QTest.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert viewer.dims.point[0] == 1
    before = records[uid].caption
    # The button goes gray, and the table is turned to.
    panel.table.setCurrentCell(-1, -1)
    viewer.dims.set_point(0, 3)
    QTest.mouseClick(panel.take, Qt.MouseButton.LeftButton)
    panel.table.setFocus()
    panel.table.setCurrentCell(0, 0)
    assert viewer.dims.point[0] == 3
    record = dock.controller.session.records[uid]
    assert record.caption == comparer.sliced.result.consensus
    assert record.reworded_by == "consensus of 3 of 5 slices"
    made = record.origin["reworded"]
    assert (made["changes"], made["agreeing"], made["compared"]) == ([2], 3, 5)
    dock.image_actions.undo()
    assert dock.controller.session.records[uid].caption == before
    assert panel.outdated.isHidden()
    dock.controller.delete([uid])
    qtbot.waitUntil(lambda: panel.outdated.isVisible(), timeout=5000)
    assert not panel.take.isEnabled()
    assert "has been deleted" in panel.take.toolTip()
    comparer.take_consensus()
    assert "has been deleted" in dock.panel.status.text()


def test_slices_are_encoded_once(quiet, dock, hand, viewer, qtbot, registry, monkeypatch):
    with registry.using("mini") as model:
        plainly, passes = model.backbone.encode, []

    def encode(*arguments, **options):
        passes.append(1)
        return plainly(*arguments, **options)

    monkeypatch.setattr(model.backbone, "encode", encode)
    on_a_stack(dock, hand, viewer, qtbot)
    comparer = finished(dock, qtbot)
    # Slices that show the same are one picture, and all of them were on display or are kept.
    assert len(passes) <= 2
    passes.clear()
    comparer.start(list(dock.controller.session.records))
    finished(dock, qtbot)
    assert comparer.sliced is not None
    assert passes == []


def test_a_comparison_can_be_cancelled_and_leaves_no_half(quiet, dock, hand, viewer, qtbot):
    on_a_stack(dock, hand, viewer, qtbot)
    dock.image_actions.cancel()
    comparer = finished(dock, qtbot)
    if comparer.sliced is None:
        assert "cancelled" in dock.panel.status.text()
        assert not dock.compare.take.isEnabled()
    # It can be asked again.
    dock.image_actions.compare()
    assert "cancelled" not in dock.panel.status.text()
    assert finished(dock, qtbot).sliced is not None


def test_what_was_captioned_before_a_cancel_is_counted(
    quiet, dock, hand, viewer, qtbot, registry, monkeypatch
):
    with registry.using("mini") as model:
        plainly = model.embed
    reached, go_on = threading.Event(), threading.Event()

    def embed(*arguments, **options):
        if len(dock.controller.comparer.slices) == 2:
            reached.set()
            go_on.wait(20)
        return plainly(*arguments, **options)

    monkeypatch.setattr(model, "embed", embed)
    on_a_stack(dock, hand, viewer, qtbot)
    qtbot.waitUntil(reached.is_set, timeout=20_000)
    dock.image_actions.cancel()
    go_on.set()
    comparer = finished(dock, qtbot)
    assert 0 < len(comparer.slices) < 5
    assert f"{len(comparer.slices)} slice" in dock.compare.sentence.text()
    dock.image_actions.compare()
    assert "cancelled" not in dock.panel.status.text()
    assert finished(dock, qtbot).sliced is not None


def test_of_several_axes_one_is_chosen(quiet, dock, hand, viewer, qtbot):
    stack = np.stack([np.stack([CUP[:, :400]] * 2), np.stack([CAT[:300, :400]] * 2)])
    image = viewer.add_image(stack, rgb=True, name="film", axis_labels=("t", "z", "y", "x"))
    dock.panel.image.value = image
    viewer.dims.set_point(0, 1)
    read(dock, qtbot)
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, 60), (280, 380)])
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: any(r.caption for r in records.values()), timeout=60_000)
    dock.controller.select(list(records))
    dock.image_actions.compare()
    comparer = finished(dock, qtbot)
    panel = dock.compare
    assert comparer.question.axis == 1
    assert [panel.axis.itemText(row) for row in range(2)] == ["along t", "along z"]
    assert panel.axis.width() >= panel.axis.sizeHint().width()
    assert comparer.sliced.result.changes == ()
    panel.axis.setCurrentIndex(0)
    panel.axis.activated.emit(0)
    # Escape on the canvas stops it like Cancel.
    running = comparer.progress
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Escape)
    assert running.cancelled.is_set()
    qtbot.waitUntil(lambda: comparer.progress is None, timeout=20_000)
    panel.axis.activated.emit(0)
    finished(dock, qtbot)
    assert comparer.question.axis == 0
    assert comparer.sliced.result.changes == (1,)
    # One of two is no majority.
    qtbot.waitUntil(lambda: "no majority: 1 of 2" in panel.sentence.text(), timeout=5000)
    assert not panel.take.isEnabled()
    assert "No caption has more than half" in panel.take.toolTip()
    place = panel.table.visualItemRect(panel.table.item(0, 1)).center()
    QTest.mouseClick(panel.table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert viewer.dims.point[0] == 0


def test_the_window_goes_with_its_image_and_is_there_for_the_next(quiet, dock, hand, viewer, qtbot):
    read(dock, qtbot)
    dock.controller.select(draw_two(dock, hand, qtbot))
    dock.image_actions.compare()
    finished(dock, qtbot)
    first, panel = dock.image, dock.compare
    qtbot.waitUntil(lambda: panel.windowTitle().endswith(f" in {first.name}"), timeout=5000)
    second = viewer.add_image(BESIDE[:, ::-1], rgb=True, name="mirrored")
    dock.panel.image.value = second
    # It tells which image it is still about, and touches no other.
    panel.table.cellClicked.emit(0, 1)
    assert f"about {first.name}" in panel.problem.text()
    viewer.layers.remove(first)
    assert not panel.isVisible()
    qtbot.wait(100)
    read(dock, qtbot)
    layer = dock.controller.layer("regions")
    layer.add_rectangles([np.array([[20, 60], [280, 400]]), np.array([[40, 500], [290, 800]])])
    records = dock.controller.session.records
    qtbot.waitUntil(
        lambda: len(records) == 2 and all(r.caption for r in records.values()), timeout=60_000
    )
    dock.controller.select(records)
    dock.image_actions.compare()
    finished(dock, qtbot)
    assert panel.isVisible()
    qtbot.waitUntil(lambda: panel.windowTitle().endswith(" in mirrored"), timeout=5000)
