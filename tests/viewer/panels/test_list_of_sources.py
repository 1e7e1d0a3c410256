"""The list of regions with points and labels among them."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

pytestmark = pytest.mark.usefixtures("quiet")


def click(table, caption, keys=Qt.KeyboardModifier.NoModifier):
    row = [line.caption for line in table.regions.lines].index(caption)
    place = table.visualRect(table.regions.index(row, 1)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, keys, place)


@pytest.fixture
def mixed(started, viewer, qtbot):
    """A box on red, two points on green and blue, and two labels, all with texts of their own."""
    controller = started.controller
    controller.layer("regions").add(
        np.array([[10, 10], [10, 50], [50, 50], [50, 10]]), shape_type="rectangle"
    )
    points = viewer.add_points([[20, 90], [20, 150]], name="spots")
    pixels = np.zeros((120, 180), int)
    pixels[80:100, 10:30], pixels[80:100, 70:90] = 3, 5
    labels = viewer.add_labels(pixels, name="cells")
    for layer in (points, labels):
        controller.sources.follow(layer)
    started.image_actions.toggle_list()
    regions = started.region_list
    qtbot.waitUntil(
        lambda: len(regions.regions.lines) == 5 and all(x.caption for x in regions.regions.lines),
        timeout=10000,
    )
    words = ("box", "point 1", "point 2", "cell 3", "cell 5")
    for line, text in zip(list(regions.regions.lines), words, strict=True):
        controller.edit(line.uid, text)
    regions.refresh()
    return started


def settled(dock, qtbot):
    """Let everything that refreshes by itself do so."""
    qtbot.wait(200)
    dock.region_list.refresh()
    table = dock.region_list.table
    return [table.regions.lines[table.regions.row(uid)].caption for uid in table.uids()]


def test_a_row_selects_its_point_or_label_and_stays_selected(mixed, viewer, qtbot):
    table = mixed.region_list.table
    editor = mixed.panel.caption.editor
    for caption, layer in (
        ("point 2", "spots"),
        ("cell 5", "cells"),
        ("box", "regions [stripes]"),
        ("cell 3", "cells"),
        ("point 1", "spots"),
    ):
        click(table, caption)
        assert settled(mixed, qtbot) == [caption]
        assert editor.toPlainText() == caption
        assert viewer.layers.selection.active.name == layer
    assert viewer.layers["spots"].selected_data == {0}
    click(table, "cell 5")
    assert viewer.layers["cells"].selected_label == 5
    what_is_selected_on_the_canvas_then_counts(mixed, viewer, qtbot)
    deleting_takes_shapes_and_leaves_other_peoples_layers_alone(mixed, viewer, qtbot)


def test_rows_of_all_kinds_are_judged_together(mixed, qtbot):
    table = mixed.region_list.table
    click(table, "box")
    for caption in ("point 2", "cell 3", "cell 5"):
        click(table, caption, Qt.KeyboardModifier.ControlModifier)
    assert settled(mixed, qtbot) == ["box", "point 2", "cell 3", "cell 5"]
    QTest.keyClick(table, Qt.Key.Key_A)
    reviewed = [r.caption for r in mixed.controller.session.records.values() if r.reviewed]
    assert sorted(reviewed) == ["box", "cell 3", "cell 5", "point 2"]
    QTest.keyClick(table, Qt.Key.Key_G)
    qtbot.waitUntil(
        lambda: any(r.subject == "group" for r in mixed.controller.session.records.values())
    )


def what_is_selected_on_the_canvas_then_counts(mixed, viewer, qtbot):
    table = mixed.region_list.table
    click(table, "cell 3")
    click(table, "cell 5", Qt.KeyboardModifier.ControlModifier)
    assert settled(mixed, qtbot) == ["cell 3", "cell 5"]
    viewer.layers["cells"].selected_label = 5
    assert settled(mixed, qtbot) == ["cell 5"]
    viewer.layers.selection.active = viewer.layers["spots"]
    viewer.layers["spots"].selected_data = {1}
    assert settled(mixed, qtbot) == ["point 2"]


def deleting_takes_shapes_and_leaves_other_peoples_layers_alone(mixed, viewer, qtbot):
    table = mixed.region_list.table
    click(table, "box")
    click(table, "point 1", Qt.KeyboardModifier.ControlModifier)
    click(table, "cell 3", Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: len(mixed.controller.session.records) == 4, timeout=5000)
    assert mixed.controller.layer("regions").nshapes == 0
    assert len(viewer.layers["spots"].data) == 2
    assert set(np.unique(viewer.layers["cells"].data)) == {0, 3, 5}
    assert "own layers" in mixed.panel.status.text()
    mixed.image_actions.undo()
    captions = [record.caption for record in mixed.controller.session.records.values()]
    assert sorted(captions) == ["box", "cell 3", "cell 5", "point 1", "point 2"]
