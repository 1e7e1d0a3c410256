"""What a phrase says is found: in a real window, by mouse and keys, with the model that ships."""

from __future__ import annotations

import numpy as np
import pytest
from embedded_dock import read
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data

pytestmark = pytest.mark.embedded
PICTURE = np.concatenate([data.cat(), data.coffee()[50:350, 30:480]], axis=1)
WIDTH = data.cat().shape[1]


@pytest.fixture
def picture():
    return PICTURE


def ask(dock, qtbot, phrase):
    """Type a phrase and press Enter; return the search once it is done."""
    field = dock.panel.phrase.text
    field.clear()
    QTest.mouseClick(field, Qt.MouseButton.LeftButton)
    QTest.keyClicks(field, phrase)
    QTest.keyClick(field, Qt.Key.Key_Return)
    search = dock.controller.search
    qtbot.waitUntil(lambda: search.progress is None, timeout=60_000)
    return search


def heats(viewer):
    return [layer for layer in viewer.layers if layer.name.startswith("heat")]


@pytest.mark.every_qt
def test_a_phrase_is_typed_and_what_it_finds_accepted_and_undone(quiet, dock, hand, viewer, qtbot):
    read(dock, qtbot)
    search = ask(dock, qtbot, "a cat, not a dog")
    assert search.phrase == "a cat, not a dog"
    panel = dock.find
    assert panel.isVisibleTo(dock)
    assert "a cat" in panel.title.text()
    assert not panel.caution.isVisibleTo(panel)
    # Of boxes that lie in each other the smallest is clicked.
    search.set_threshold(0.5)
    shown = search.proposals.shown()
    assert shown
    box = shown[0].box
    assert (box.left + box.right) / 2 < WIDTH
    qtbot.waitUntil(lambda: len(heats(viewer)) == 1, timeout=10_000)
    heat = heats(viewer)[0].data
    assert heat.argmax() % heat.shape[1] < heat.shape[1] / 2
    hand.click((box.top + box.bottom) / 2, (box.left + box.right) / 2)
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: len(records) == 1, timeout=5000)
    [record] = records.values()
    assert (record.caption, record.source, record.model) == ("a cat", "model", "mini")
    assert record.reviewed
    assert record.found_by == "a cat, not a dog"
    assert record.score == pytest.approx(shown[0].score, abs=1e-3)
    dock.controller.select([record.uid])
    dock.refresh()
    assert "Found by 'a cat, not a dog'" in dock.panel.caption.verdict.text()
    dock.panel.buttons["undo"].click()
    qtbot.waitUntil(lambda: not dock.controller.session.records, timeout=5000)
    dock.refresh()
    assert len(search.proposals.shown()) == len(shown)
    panel.buttons["end_find"].click()
    assert not panel.isVisibleTo(dock)
    assert not heats(viewer)
    assert search.phrase == ""


def test_regions_there_are_ranked_and_one_is_selected_by_a_click(quiet, dock, qtbot):
    read(dock, qtbot)
    layer, session = dock.controller.layer("regions"), dock.controller.session
    for left in (0, WIDTH):
        right = left + WIDTH - 1
        layer.add(
            np.array([(0, left), (0, right), (299, right), (299, left)]), shape_type="rectangle"
        )
    dock.controller.bindings["regions"].sync()
    cat, cup = session.uids("regions")
    for phrase, order in (("an animal", [cat, cup]), ("a cup", [cup, cat])):
        search = ask(dock, qtbot, phrase)
        assert [uid for uid, *_ in search.ranked()] == order
        matches = dock.find.matches
        assert matches.isVisibleTo(dock)
        assert matches.count() == 2
    QTest.mouseClick(
        matches.viewport(),
        Qt.MouseButton.LeftButton,
        pos=matches.visualItemRect(matches.item(1)).center(),
    )
    assert dock.controller.selected() == [cat]


def test_what_cannot_be_found_is_said(quiet, dock, viewer, qtbot):
    said = []
    field = dock.panel.phrase.text
    dock.controller.search.messaged.connect(said.append)
    QTest.keyClicks(field, "a cat")
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert "Press Start first" in said[-1]
    read(dock, qtbot)
    for phrase, wanted in (
        ("not a cat", "a street, not a cat"),
        ("qwrtzp", "knows nothing like 'qwrtzp'"),
    ):
        search = ask(dock, qtbot, phrase)
        assert wanted in said[-1]
        assert search.proposals is None
        assert not [layer for layer in viewer.layers if layer.name.startswith("proposals")]
    assert search.phrase == ""


def test_find_again_goes_on_from_what_was_accepted(quiet, dock, qtbot):
    read(dock, qtbot)
    search = ask(dock, qtbot, "a cat")
    dock.find.buttons["find_again"].click()
    qtbot.waitUntil(lambda: search.progress is None, timeout=60_000)
    assert search.phrase == "a cat"
    dock.find.buttons["accept_all_found"].click()
    assert search.proposals.accepted
    dock.find.buttons["find_again"].click()
    qtbot.waitUntil(lambda: search.progress is None, timeout=60_000)
    assert search.phrase == ""
    assert search.proposals.examples


def test_regions_that_lie_on_it_do_not_hide_what_is_found(quiet, dock, viewer, qtbot):
    read(dock, qtbot)
    layer = dock.controller.layer("regions")
    half = WIDTH // 2
    for left, right in ((0, half + 20), (half - 20, WIDTH - 1)):
        corners = np.array([(0, left), (0, right), (299, right), (299, left)])
        layer.add(corners, shape_type="rectangle")
    dock.controller.bindings["regions"].sync()
    search = ask(dock, qtbot, "a cat")
    assert search.proposals.shown()
    dock.find.buttons["accept_all_found"].click()
    qtbot.waitUntil(lambda: not search.proposals.shown(), timeout=5000)
    search.set_threshold(0.5)
    assert "accepted or rejected" in search.sentence() or "a region already" in search.sentence()


def test_any_of_several_things_is_found_and_named_by_what_it_is(quiet, dock, qtbot):
    read(dock, qtbot)
    said = []
    dock.controller.search.messaged.connect(said.append)
    search = ask(dock, qtbot, "a cat and a cup, not a dog")
    assert "nothing" not in said[-1]
    search.set_threshold(0.1)
    texts = {item.text for item in search.proposals.shown()}
    assert texts == {"a cat", "a cup"}
    dock.refresh()
    lines = [dock.find.list.item(row).text() for row in range(dock.find.list.count())]
    assert {line.split("    ")[-1] for line in lines} == texts
    dock.find.buttons["accept_all_found"].click()
    records = dock.controller.session.records.values()
    assert {record.caption for record in records} == texts
    assert {record.found_by for record in records} == {"a cat and a cup, not a dog"}
    dock.panel.buttons["undo"].click()
    qtbot.waitUntil(lambda: not dock.controller.session.records, timeout=5000)


def test_words_that_count_for_nothing_are_said(quiet, dock, qtbot):
    said = []
    read(dock, qtbot)
    dock.controller.search.messaged.connect(said.append)
    ask(dock, qtbot, "two sleeping cats")
    assert "'two', 'sleeping' count for nothing with this model" in said[-1]
    ask(dock, qtbot, "a cat")
    assert "count" not in said[-1]
    ask(dock, qtbot, "an airplane, a qwrtzp")
    assert said[-1].startswith("Nothing here shows")
    assert said[-1].endswith("'a qwrtzp' counts for nothing with this model.")


def test_no_phrase_makes_the_dock_wider(quiet, dock, qtbot):
    read(dock, qtbot)

    def width():
        dock.refresh()
        qtbot.wait(50)
        return dock.panel.minimumSizeHint().width(), dock.width()

    search = ask(dock, qtbot, "a cat")
    narrow = width()
    long = "w" * 180
    for phrase in (
        long,
        f"a cat, {long}",
        f"a cat, not {long}",
        f"a {'big ' * 40}cat",
        f"no {long}",
    ):
        ask(dock, qtbot, phrase)
        assert width() == narrow
    ask(dock, qtbot, f"a cat on a {'m' * 180}")
    assert search.phrase == f"a cat on a {'m' * 180}"
    assert search.phrase in dock.find.title.text()
    assert search.phrase in dock.find.title.toolTip()
    assert width() == narrow
    search.set_threshold(0.02)
    dock.find.buttons["accept_all_found"].click()
    dock.controller.select(list(dock.controller.session.records)[:1])
    assert width() == narrow
    dock.find.buttons["find_again"].click()
    qtbot.waitUntil(lambda: search.progress is None, timeout=60_000)
    assert width() == narrow


def test_what_is_still_shown_is_said_where_a_phrase_is_refused(quiet, dock, qtbot):
    read(dock, qtbot)
    said = []
    dock.controller.search.messaged.connect(said.append)
    search = ask(dock, qtbot, "a cat")
    for phrase in ("qwrtzp", "no cars", ""):
        ask(dock, qtbot, phrase)
        assert said[-1].endswith("What is shown is still what was found for 'a cat'.")
        assert search.phrase == "a cat"
    ask(dock, qtbot, "an airplane")
    assert "What is shown" not in said[-1]


def test_something_else_is_not_found_only_where_something_is(quiet, dock, qtbot):
    read(dock, qtbot)
    said = []
    dock.controller.search.messaged.connect(said.append)
    ask(dock, qtbot, "an airplane")
    assert said[-1].startswith("Nothing here shows 'an airplane'")
    layer = dock.controller.layer("regions")
    right = WIDTH - 1
    layer.add(np.array([(0, 0), (0, right), (299, right), (299, 0)]), shape_type="rectangle")
    dock.controller.bindings["regions"].sync()
    ask(dock, qtbot, "an airplane")
    assert said[-1].startswith("Nothing here shows 'an airplane'")


def test_what_was_rejected_and_came_back_is_said_to_be_back(quiet, dock, qtbot):
    read(dock, qtbot)
    search = ask(dock, qtbot, "a cat")
    shown = len(search.proposals.shown())
    proposals = dock.find.list
    proposals.setCurrentRow(0)
    QTest.keyClick(proposals, Qt.Key.Key_N)
    assert "1 proposal rejected" in dock.panel.status.text()
    dock.find.buttons["restore_found"].click()
    assert dock.panel.status.text().startswith("1 rejected proposal is back. ")
    assert len(search.proposals.shown()) == shown


class TestLargeImage:
    @pytest.fixture
    def picture(self):
        pixels = np.asarray(Image.fromarray(data.coffee()).resize((3000, 1000))).copy()
        pixels[850:950, 2500:2650] = np.asarray(Image.fromarray(data.cat()).resize((150, 100)))
        return pixels

    def test_it_is_searched_part_by_part(self, quiet, dock, viewer, qtbot):
        said = []
        read(dock, qtbot)
        search = dock.controller.search
        search.messaged.connect(said.append)
        ask(dock, qtbot, "a cat")
        assert "the image is large, so it is searched part by part" in said[0]
        first = search.proposals.shown()[0].box
        assert first.top < 900 < first.bottom
        assert first.left < 2575 < first.right
        qtbot.waitUntil(lambda: len(heats(viewer)) == 1, timeout=10_000)
        heat = heats(viewer)[0]
        hottest = np.unravel_index(heat.data.argmax(), heat.data.shape)
        row, column = viewer.layers[0].world_to_data(heat.data_to_world(hottest))[:2]
        assert 800 < row < 1000
        assert 2450 < column < 2700

    @pytest.mark.parametrize("place", ["canvas", "field", "list"])
    def test_escape_stops_it_and_then_ends_it(self, quiet, dock, hand, viewer, qtbot, place):
        read(dock, qtbot)
        search = ask(dock, qtbot, "a cup")
        search.set_threshold(0.1)
        dock.refresh()
        count = len(search.proposals.shown())
        assert count
        field = dock.panel.phrase.text
        field.setText("a cat")
        QTest.keyClick(field, Qt.Key.Key_Return)
        assert search.progress is not None
        target = {
            "canvas": viewer.window._qt_viewer.canvas.native,
            "field": field,
            "list": dock.find.list,
        }[place]
        target.setFocus()
        QTest.keyClick(target, Qt.Key.Key_Escape)
        assert search.progress is None
        assert search.phrase == "a cup"
        assert len(search.proposals.shown()) == count
        still = "Cancelled. What is shown is still what was found for 'a cup'."
        assert dock.panel.status.text() == still
        QTest.keyClick(target, Qt.Key.Key_Escape)
        if place == "field":
            assert not field.hasFocus()
        else:
            assert search.proposals is None
