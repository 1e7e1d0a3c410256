"""The list of regions: in step with the canvas, written in, judged and walked through."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_patchioner.annotations import Record, Seen
from napari_patchioner.viewer.panels.regions import CAPTION, RegionList, RegionTableModel
from napari_patchioner.viewer.session.session import Session

PLACES = ((10, 10), (10, 70), (10, 130))


def box(row, column, size=30):
    return np.array(
        [[row, column], [row, column + size], [row + size, column + size], [row + size, column]]
    )


@pytest.fixture
def drawn(started, qtbot):
    """Three captioned boxes, one on each stripe, and a trace; the list is shown."""
    controller = started.controller
    regions, traces = controller.layer("regions"), controller.layer("traces")
    regions.add([box(*place) for place in PLACES], shape_type="rectangle")
    traces.add(np.array([[80, 10], [80, 50]]), shape_type="path")
    qtbot.waitUntil(lambda: all(regions.features["caption"]) and all(traces.features["caption"]))
    regions.selected_data, traces.selected_data = set(), set()
    started.image_actions.toggle_list()
    listed = started.region_list
    qtbot.waitUntil(lambda: len(listed.regions.lines) == 4)
    return started


def listed(dock):
    dock.region_list.refresh()
    return dock.region_list


def click(table, row, column=0, button=Qt.MouseButton.LeftButton, keys=None):
    place = table.visualRect(table.regions.index(row, column)).center()
    held = keys or Qt.KeyboardModifier.NoModifier
    QTest.mouseClick(table.viewport(), button, held, place)


def test_it_says_all_about_every_region_and_goes_with_what_is_selected(drawn, qtbot):
    lines = listed(drawn).regions.lines
    assert [line.kind for line in lines] == ["box", "box", "box", "trace"]
    assert [line.caption for line in lines[:3]] == [
        "something red",
        "something green",
        "something blue",
    ]
    assert {line.author for line in lines} == {"model"}
    assert listed(drawn).count.text() == "4 regions"
    a_row_selects_its_shape_on_whichever_layer(drawn)
    several_rows_select_shapes_of_both_layers(drawn)
    a_shape_selects_its_row(drawn, qtbot)
    enter_goes_there(drawn)
    the_filter_is_live_and_a_bad_one_changes_nothing(drawn)
    sorting_keeps_the_selection(drawn)


def a_row_selects_its_shape_on_whichever_layer(drawn):
    table = listed(drawn).table
    click(table, 1)
    assert drawn.controller.layer("regions").selected_data == {1}
    assert drawn.panel.caption.editor.toPlainText() == "something green"
    click(table, 3)
    assert drawn.controller.layer("regions").selected_data == set()
    assert drawn.controller.layer("traces").selected_data == {0}
    assert drawn.viewer.layers.selection.active is drawn.controller.layer("traces")


def several_rows_select_shapes_of_both_layers(drawn):
    table = listed(drawn).table
    click(table, 0)
    click(table, 3, keys=Qt.KeyboardModifier.ControlModifier)
    assert len(drawn.controller.selected()) == 2
    assert len(table.uids()) == 2


def a_shape_selects_its_row(drawn, qtbot):
    table = listed(drawn).table
    drawn.controller.select([])
    drawn.viewer.layers.selection.active = drawn.controller.layer("regions")
    drawn.controller.layer("regions").selected_data = {2}
    uid = drawn.controller.session.uids("regions")[2]
    qtbot.waitUntil(lambda: table.uids() == [uid], timeout=3000)


@pytest.mark.every_qt
def test_a_caption_is_written_in_its_cell(drawn, qtbot):
    regions, table = listed(drawn), listed(drawn).table
    uid = regions.regions.lines[1].uid
    click(table, 1)
    QTest.keyClick(table, Qt.Key.Key_F2)
    assert table.uids() == [uid]
    editor = table.indexWidget(table.currentIndex()) or table.findChild(type(regions.search))
    editor.selectAll()
    QTest.keyClicks(editor, "my own words")
    drawn.refresh()
    qtbot.wait(80)
    assert editor.text() == "my own words", "what is typed is not replaced by a refresh"
    QTest.keyClick(editor, Qt.Key.Key_Return)
    records = drawn.controller.session.records
    qtbot.waitUntil(lambda: records[uid].caption == "my own words", timeout=3000)
    assert records[uid].source == "edited"
    assert drawn.panel.caption.editor.toPlainText() == "my own words"
    assert drawn.controller.layer("regions").features["caption"][1] == "my own words"


def enter_goes_there(drawn):
    table = listed(drawn).table
    click(table, 2)
    before = drawn.viewer.scene.camera.zoom
    QTest.keyClick(table, Qt.Key.Key_Return)
    centre = np.asarray(drawn.viewer.scene.camera.center)[-2:]
    assert np.allclose(centre, (25, 145))
    assert drawn.viewer.scene.camera.zoom == before


def test_keys_walk_and_judge(drawn):
    table = listed(drawn).table
    click(table, 0)
    QTest.keyClick(table, Qt.Key.Key_N)
    session = drawn.controller.session
    red, green, blue = session.uids("regions")
    assert drawn.controller.selected() == [green]
    QTest.keyClick(table, Qt.Key.Key_A)
    assert session.records[green].reviewed
    QTest.keyClick(table, Qt.Key.Key_Down)
    QTest.keyClick(table, Qt.Key.Key_2)
    assert session.records[blue].caption == "blue, plainly"
    QTest.keyClick(table, Qt.Key.Key_P)
    QTest.keyClick(table, Qt.Key.Key_Up)
    QTest.keyClick(table, Qt.Key.Key_X)
    assert (session.records[red].caption, session.records[red].wanted) == ("", False)
    QTest.keyClick(table, Qt.Key.Key_K)
    assert session.records[red].locked


def test_deleting_goes_through_the_layers_and_can_be_undone(drawn, viewer, picture, qtbot):
    table = listed(drawn).table
    click(table, 0)
    click(table, 3, keys=Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(table, Qt.Key.Key_Delete)
    assert drawn.controller.layer("regions").nshapes == 2
    assert drawn.controller.layer("traces").nshapes == 0
    qtbot.waitUntil(lambda: len(listed(drawn).regions.lines) == 2)
    texts = [line.caption for line in listed(drawn).regions.lines]
    assert texts == ["something green", "something blue"]
    drawn.image_actions.undo()
    assert drawn.controller.layer("regions").nshapes == 3
    assert drawn.controller.layer("traces").nshapes == 1
    assert [line.caption for line in listed(drawn).regions.lines if line.kind == "box"] == [
        "something red",
        "something green",
        "something blue",
    ]
    a_group_has_a_row_that_selects_its_members_and_goes_alone(drawn, qtbot)
    closing_the_list_keeps_it_for_the_next_time(drawn, qtbot)
    another_image_has_its_own_regions(drawn, viewer, picture, qtbot)


def a_group_has_a_row_that_selects_its_members_and_goes_alone(drawn, qtbot):
    table = listed(drawn).table
    click(table, 0)
    click(table, 2, keys=Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(table, Qt.Key.Key_G)
    qtbot.waitUntil(lambda: len(listed(drawn).regions.lines) == 5)
    click(table, 1)
    click(table, 4)
    assert len(drawn.controller.selected()) == 2
    drawn.refresh()
    qtbot.wait(80)
    assert [table.regions.row(uid) for uid in table.uids()] == [4]
    QTest.keyClick(table, Qt.Key.Key_Delete)
    assert drawn.controller.layer("regions").nshapes == 3
    assert [r.subject for r in drawn.controller.session.records.values()] == ["shape"] * 4


def the_filter_is_live_and_a_bad_one_changes_nothing(drawn):
    regions = listed(drawn)
    QTest.keyClicks(regions.search, "BLUE")
    assert [line.caption for line in regions.regions.lines] == ["something blue"]
    assert regions.count.text() == "1 of 4 regions"
    regions.pattern.setChecked(True)
    QTest.keyClicks(regions.search, "(")
    assert regions.problem.isVisible()
    assert "at character 5" in regions.problem.text()
    assert len(regions.regions.lines) == 1
    regions.search.clear()
    assert not regions.problem.isVisible()
    assert len(regions.regions.lines) == 4


def sorting_keeps_the_selection(drawn):
    table = listed(drawn).table
    click(table, 0)
    uids = table.uids()
    table.sortByColumn(CAPTION, Qt.SortOrder.AscendingOrder)
    assert [line.caption.split()[1] for line in table.regions.lines] == [
        "blue",
        "green",
        "red",
        "red",
    ]
    assert table.uids() == uids
    assert drawn.controller.selected() == uids


def test_a_review_goes_from_doubt_to_doubt_and_says_how_it_ended(drawn, qtbot):
    session = drawn.controller.session
    red, green, blue = session.uids("regions")
    session.records[blue] = replace(session.records[blue], score=0.1)
    session.edit(red, "mine")
    drawn.panel.buttons["start_review"].click()
    assert drawn.panel.review.position.text() == "Review: 1 of 3"
    assert drawn.controller.selected() == [blue]
    drawn.panel.review.buttons["accept"].click()
    assert session.records[blue].reviewed
    assert drawn.controller.selected() == [green]
    drawn.panel.review.buttons["go_back"].click()
    assert drawn.controller.selected() == [blue]
    drawn.panel.review.buttons["go_on"].click()
    drawn.panel.review.buttons["go_on"].click()
    drawn.panel.review.buttons["accept"].click()
    assert drawn.panel.review.isHidden()
    assert drawn.panel.status.text() == "Reviewed 3 regions: 2 accepted, 1 left as they were."


def test_a_review_goes_on_from_what_is_deleted(drawn, qtbot):
    _, green, blue = drawn.controller.session.uids("regions")
    records = drawn.controller.session.records
    records[blue] = replace(records[blue], score=0.1)
    records[green] = replace(records[green], score=0.2)
    drawn.panel.buttons["start_review"].click()
    drawn.image_actions.delete()
    assert blue not in records
    qtbot.waitUntil(lambda: not drawn.image_actions.chosen(), timeout=3000)
    drawn.image_actions.accept()
    assert drawn.controller.selected() == [green]
    assert not records[green].reviewed


def closing_the_list_keeps_it_for_the_next_time(drawn, qtbot):
    regions = listed(drawn)
    drawn.viewer.window.remove_dock_widget(regions)
    assert not drawn.region_list.isVisible()
    drawn.image_actions.toggle_list()
    assert drawn.region_list is regions
    qtbot.waitUntil(lambda: drawn.region_list.isVisible(), timeout=3000)
    qtbot.waitUntil(drawn.panel.buttons["toggle_list"].isChecked, timeout=3000)
    drawn.image_actions.toggle_list()
    assert not drawn.panel.buttons["toggle_list"].isChecked()


def another_image_has_its_own_regions(drawn, viewer, picture, qtbot):
    viewer.add_image(picture, name="other")
    qtbot.waitUntil(lambda: listed(drawn).regions.lines == [], timeout=3000)


# without a viewer


def many(count):
    session = Session()
    rng = np.random.default_rng(0)
    for place in range(count):
        uid = f"{place:04}"
        corner = np.round(rng.uniform(0, 900, 2))
        seen = Seen("rectangle", np.column_stack([np.full(4, place % 7), box(*corner)]))
        session.records[uid] = Record(
            uid, caption=f"caption {place % 97}", score=rng.uniform(), source="model", seen=seen
        )
    return session


def test_rows_are_found_by_uid_however_they_are_sorted(qtmodeltester):
    model = RegionTableModel()
    model.show_session(many(30), (1, 2))
    qtmodeltester.check(model)
    model.sort(2, Qt.SortOrder.DescendingOrder)
    assert all(model.lines[model.row(uid)].uid == uid for uid in model.session.records)
    assert all(line.plane for line in model.lines)


def test_five_thousand_rows_are_listed(qtbot):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((7, 9, 9)))
    session = many(5000)
    describer = SimpleNamespace(moved=frozenset)
    about = {"image": image, "viewer": viewer, "describer": describer}
    current = SimpleNamespace(session=session, selected=list, **about)
    regions = RegionList(viewer, Mock(), lambda: current)
    qtbot.addWidget(regions)
    regions.show()
    regions.refresh()
    regions.table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    session.records["0007"] = replace(session.records["0007"], caption="changed")
    regions.refresh()
    regions.search.setText("caption 5")
    regions.search.clear()
    regions.table.selectAll()
    assert regions.regions.rowCount() == 5000
    assert len(regions.table.selectionModel().selectedRows()) == 5000
