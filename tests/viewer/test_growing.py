"""Regions are grown from clicks: in a real window, by mouse, with the model that ships."""

from __future__ import annotations

from dataclasses import astuple

import pytest
import shapely
from embedded_dock import read
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data

from napari_patchioner.viewer.layers.geometry import record_region

pytestmark = pytest.mark.embedded

SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
CUP, SPOON, TABLE = (200, 300), (330, 300), (30, 560)


@pytest.fixture
def picture():
    return data.coffee()


@pytest.fixture
def growing(quiet, dock, qtbot):
    """The dock with the image read and the tool in hand."""
    read(dock, qtbot)
    dock.panel.draw.buttons["Grow"].click()
    return dock


def settled(dock, qtbot, count, clicks):
    """Wait until there are so many regions, the newest from so many clicks; return it."""

    def is_so():
        records = list(dock.controller.session.records.values())
        return len(records) == count and sum(map(len, records[-1].clicks)) == clicks

    qtbot.waitUntil(is_so, timeout=10_000)
    return list(dock.controller.session.records.values())[-1]


def area(dock, record):
    return record_region(record, dock.controller.session, (0, 1)).inside()


@pytest.mark.every_qt
def test_a_click_grows_a_region_and_further_ones_change_it(growing, hand, qtbot):
    dock, session = growing, growing.controller.session
    layer = dock.controller.layer("regions")
    hand.click(*CUP)
    record = settled(dock, qtbot, 1, 1)
    assert record.outlined_by == "grown from 1 click"
    assert record.seen.shape_type == "polygon"
    first = area(dock, record)
    qtbot.waitUntil(lambda: bool(session.records[record.uid].caption), timeout=20_000)
    # It survives its caption, which is the model's.
    said = session.records[record.uid]
    assert (said.source, said.outlined_by) == ("model", "grown from 1 click")
    # More was meant, and then it was not.
    for key, size in ((Qt.Key.Key_BracketRight, 1), (Qt.Key.Key_BracketRight, 2)):
        hand.key(key)
        qtbot.waitUntil(lambda size=size: session.records[record.uid].grown_size == size)
    assert area(dock, session.records[record.uid]).area > first.area
    for _ in range(2):
        dock.panel.buttons["undo"].click()
    assert session.records[record.uid].grown_size == 0
    hand.click(*SPOON, SHIFT)
    more = settled(dock, qtbot, 1, 2)
    assert more.uid == record.uid
    assert layer.nshapes == 1
    second = area(dock, more)
    assert second.area > first.area
    hand.click(*SPOON, ALT)
    less = settled(dock, qtbot, 1, 2)
    qtbot.waitUntil(lambda: session.records[record.uid].clicks[1] != [], timeout=5000)
    less = session.records[record.uid]
    assert less.uid == record.uid
    assert area(dock, less).area < second.area
    # Each click is a step.
    for clicks in (2, 1):
        dock.panel.buttons["undo"].click()
        now = session.records[record.uid]
        assert len(now.clicks[0]) == clicks
        assert not now.clicks[1]
    assert area(dock, now).symmetric_difference(first).area < 1
    dock.panel.buttons["undo"].click()
    assert not session.records
    assert layer.nshapes == 0
    dock.panel.buttons["redo"].click()
    [again] = session.records.values()
    assert (again.uid, again.outlined_by) == (record.uid, "grown from 1 click")


def numbers_shown(search):
    return [item.number for item in search.proposals.shown()]


def boxes_shown(search):
    return [astuple(item.box) for item in search.proposals.shown()]


def until_proposed(dock, qtbot):
    search = dock.controller.search
    qtbot.waitUntil(
        lambda: search.proposals is not None and search.progress is None, timeout=60_000
    )
    return search


@pytest.mark.every_qt
def test_proposed_regions_are_judged_by_keys_and_clicks(quiet, dock, hand, qtbot):
    read(dock, qtbot)
    session, panel = dock.controller.session, dock.find
    dock.panel.draw.propose.click()
    search = until_proposed(dock, qtbot)
    assert panel.isVisibleTo(dock)
    assert "Proposed regions" in panel.title.text()
    items = search.proposals.shown()
    assert 3 <= len(items) <= 20
    assert [item.score for item in items] == sorted((i.score for i in items), reverse=True)
    assert all(item.text for item in items)
    assert items[0].text in panel.list.item(0).text()
    assert panel.list.numbers() == [items[0].number]
    QTest.keyClick(panel.list, Qt.Key.Key_Y)
    [record] = session.records.values()
    assert (record.caption, record.source, record.model) == (items[0].text, "model", "mini")
    assert record.reviewed
    assert record.outlined_by == "proposed"
    assert record.seen.shape_type == "polygon"
    left = search.proposals.shown()
    assert panel.list.numbers() == [left[0].number]
    QTest.keyClick(panel.list, Qt.Key.Key_N)
    assert len(session.records) == 1
    # Each is a step, in their order.
    undo, redo = (dock.panel.buttons[name] for name in ("undo", "redo"))
    for button, back in ((undo, True), (redo, False), (undo, True)):
        assert (left[0].number in numbers_shown(search)) is not back
        button.click()
        assert (left[0].number in numbers_shown(search)) is back
        assert "1 proposal" in dock.controller.message
    assert len(session.records) == 1
    redo.click()
    # So is bringing it back, whatever was proposed meanwhile.
    panel.buttons["find_again"].click()
    search = until_proposed(dock, qtbot)
    assert astuple(left[0].box) not in boxes_shown(search)
    panel.buttons["restore_found"].click()
    assert astuple(left[0].box) in boxes_shown(search)
    for _ in range(2):
        undo.click()
    assert astuple(left[0].box) in boxes_shown(search)
    undo.click()
    assert not session.records
    assert astuple(items[0].box) in boxes_shown(search)
    # From the canvas: where one lies that holds no smaller one
    item = min(search.proposals.shown(), key=lambda item: item.area)
    inside = shapely.Polygon(item.outline).representative_point()
    hand.click(inside.x, inside.y)
    [record] = session.records.values()
    assert record.caption == item.text
    # So do the keys there.
    panel.list.setCurrentRow(0)
    [number] = panel.list.numbers()
    hand.key(Qt.Key.Key_N)
    assert number not in [item.number for item in search.proposals.shown()]
    [number] = panel.list.numbers()
    hand.key(Qt.Key.Key_Y)
    assert len(session.records) == 2
    dock.panel.buttons["undo"].click()
    panel.buttons["accept_all_found"].click()
    assert len(session.records) >= len(left)
    dock.panel.buttons["undo"].click()
    assert len(session.records) == 1
    QTest.keyClick(panel.list, Qt.Key.Key_Escape)
    assert not panel.isVisibleTo(dock)


def test_what_is_stopped_says_what_is_still_shown(quiet, dock, qtbot):
    read(dock, qtbot)
    controller, search = dock.controller, dock.controller.search
    dock.panel.draw.propose.click()
    dock.image_actions.escape_find()
    # There were none before.
    assert controller.message == "Cancelled"
    search.messaged.connect(lambda said: search.cancel() if said.endswith("proposed.") else None)
    dock.panel.draw.propose.click()
    qtbot.waitUntil(lambda: search.proposals is not None, timeout=60_000)
    assert controller.message.startswith("Stopped: the proposals stay")
    assert search.proposals.shown()
    dock.panel.draw.propose.click()
    dock.image_actions.escape_find()
    assert "proposed before are still shown" in controller.message
