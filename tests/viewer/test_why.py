"""Why a caption says a word, and sentences checked: in a real window, with the model that ships."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from embedded_dock import read
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QCursor
from qtpy.QtTest import QTest
from skimage import data

pytestmark = pytest.mark.embedded
PICTURE = np.concatenate([data.cat(), data.coffee()[50:350, 30:480]], axis=1)
WIDTH = data.cat().shape[1]


@pytest.fixture
def picture():
    return PICTURE


def draw(dock, qtbot, *lefts):
    """Draw boxes over the cat (left at 0) or the cup (left at WIDTH); return their uids."""
    layer, session = dock.controller.layer("regions"), dock.controller.session
    for left in lefts:
        right = left + WIDTH - 1
        corners = np.array([(0, left), (0, right), (299, right), (299, left)])
        layer.add(corners, shape_type="rectangle")
    dock.controller.bindings["regions"].sync()
    uids = list(session.uids("regions"))[-len(lefts) :]
    dock.controller.settle()
    qtbot.waitUntil(lambda: all(session.records[u].caption for u in uids), timeout=60_000)
    return uids


def explained(dock, qtbot):
    """Return what Why has found out about the caption at hand."""
    why = dock.controller.why
    qtbot.waitUntil(lambda: why.explained is not None, timeout=30_000)
    dock.refresh()
    # What it comes to is said first, wherever the mouse lies.
    assert why.chosen == -1
    return why


def row_of(words, text):
    return next(row for row in range(words.count()) if words.item(row).text() == text)


def point_at(words, row):
    """Move the mouse over a word."""
    place = words.visualItemRect(words.item(row)).center()
    if words.viewport().mapToGlobal(place) == QCursor.pos():
        # Where the mouse of an earlier test lies, it has not been moved.
        place += QPoint(3, 0)
    QTest.mouseMove(words.viewport(), place - QPoint(2, 0))
    QTest.mouseMove(words.viewport(), place)


def shown_patches(dock):
    """Return the squares that are drawn on the image at hand, (n, 4, 2)."""
    overlay = dock.controller.image._overlays.get("napari-patchioner")
    return overlay.sheet.squares()[0] if overlay is not None else np.zeros((0, 4, 2))


def test_patches_are_shown_of_an_image_that_is_turned_to_again(quiet, dock, qtbot):
    read(dock, qtbot)
    [uid] = draw(dock, qtbot, 0)
    first = dock.image
    other = dock.viewer.add_image(data.coffee(), name="other")
    dock.panel.image.value = other
    qtbot.waitUntil(lambda: dock.controller.image is other, timeout=5000)
    dock.panel.image.value = first
    qtbot.waitUntil(lambda: dock.controller.image is first, timeout=5000)
    dock.controller.select([uid])
    dock.controller.edit(uid, "a brown cat")
    dock.panel.buttons["toggle_why"].click()
    explained(dock, qtbot)
    assert not len(shown_patches(dock))
    words = dock.panel.caption.why.words
    point_at(words, row_of(words, "cat"))
    qtbot.waitUntil(lambda: len(shown_patches(dock)) > 0, timeout=5000)
    dock.panel.image.value = other
    qtbot.waitUntil(lambda: dock.controller.image is other, timeout=5000)
    assert "napari-patchioner" not in first._overlays


@pytest.mark.every_qt
def test_a_word_is_pointed_at_and_its_patches_are_shown(quiet, dock, qtbot):
    read(dock, qtbot)
    [uid] = draw(dock, qtbot, 0)
    dock.controller.select([uid])
    dock.controller.edit(uid, "a brown cat beside a bus")
    dock.panel.buttons["toggle_why"].click()
    why = explained(dock, qtbot)
    row = dock.panel.caption.why
    assert row.isVisibleTo(dock)
    # The button gives the keys to the words; Qt would choose the first of them.
    assert "'bus'" in row.sentence.text()
    words = row.words
    assert [words.item(n).text() for n in range(words.count())] == [
        *("a", "brown", "cat", "beside", "a", "bus")
    ]
    assert "'bus'" in row.sentence.text()
    bus, cat = words.item(row_of(words, "bus")), words.item(row_of(words, "cat"))
    assert bus.font().strikeOut()
    assert not cat.font().strikeOut()
    assert "Nothing in the region or around it looks like 'bus'" in bus.toolTip()
    point_at(words, row_of(words, "cat"))
    qtbot.waitUntil(lambda: why.chosen == row_of(words, "cat"), timeout=5000)
    transform, heat = why.shown_heat()
    assert heat.max() > 0.3
    assert not heat[:, heat.shape[1] // 2 + 1 :].any()
    [overlay] = [
        o for name, o in dock.controller.image._overlays.items() if name == "napari-patchioner"
    ]
    corners, weights = overlay.sheet.squares()
    assert len(corners)
    assert corners[..., 1].max() < WIDTH + transform.patch_size[1]
    assert weights.max() == 1
    assert "The region shows 'cat'" in row.sentence.text()
    # A word of which there is nothing to say does not take the place of what it comes to.
    point_at(words, row_of(words, "beside"))
    qtbot.waitUntil(lambda: why.chosen == -1, timeout=5000)
    assert row.sentence.text().startswith("Agreement")
    dock.panel.buttons["toggle_why"].click()
    assert not row.isVisibleTo(dock)
    assert why.shown_heat() is None


def test_the_arrow_keys_walk_through_the_words(quiet, dock, hand, qtbot):
    read(dock, qtbot)
    [uid] = draw(dock, qtbot, 0)
    dock.controller.select([uid])
    dock.controller.edit(uid, "a cat on a bus")
    dock.image_actions.toggle_why()
    why = explained(dock, qtbot)
    words = dock.panel.caption.why.words
    for expected in (0, 1, 2):
        QTest.keyClick(words, Qt.Key.Key_Right)
        assert why.chosen == expected
    QTest.keyClick(words, Qt.Key.Key_Left)
    assert why.chosen == 1
    QTest.keyClick(words, Qt.Key.Key_Escape)
    assert why.chosen == -1
    QTest.keyClick(words, Qt.Key.Key_W, Qt.KeyboardModifier.ShiftModifier)
    assert not why.on


def test_the_words_of_a_paragraph_leave_room_for_all_else(quiet, dock, qtbot):
    read(dock, qtbot)
    [uid] = draw(dock, qtbot, 0)
    dock.controller.select([uid])
    dock.controller.edit(uid, "a cat beside another cat " * 40)
    dock.image_actions.toggle_why()
    explained(dock, qtbot)
    words = dock.panel.caption.why.words
    assert words.count() == 200
    line = words.fontMetrics().lineSpacing() + 6
    assert words.height() == 2 * line


def test_another_text_and_another_shape_are_explained_anew(quiet, dock, qtbot):
    read(dock, qtbot)
    cat, cup = draw(dock, qtbot, 0, WIDTH)
    dock.controller.select([cat])
    dock.image_actions.toggle_why()
    why = explained(dock, qtbot)
    dock.controller.edit(cat, "a bus")
    qtbot.waitUntil(
        lambda: why.explained is not None and why.explained.agreement < 0.1, timeout=30_000
    )
    dock.controller.edit(cat, "a cat")
    qtbot.waitUntil(
        lambda: why.explained is not None and why.explained.agreement > 0.9, timeout=30_000
    )
    dock.controller.edit(cup, "a cat")
    dock.controller.select([cup])
    dock.refresh()
    qtbot.waitUntil(
        lambda: why.explained is not None and why.explained.agreement < 0.2, timeout=30_000
    )
    dock.controller.select([])
    dock.refresh()
    assert why.explained is None


def test_agreement_is_a_column_and_goes_into_files(quiet, dock, qtbot, tmp_path):
    read(dock, qtbot)
    cat, cup = draw(dock, qtbot, 0, WIDTH)
    session, table = dock.controller.session, dock.region_list.regions
    dock.controller.edit(cat, "a cat")
    dock.controller.edit(cup, "a bus")
    dock.image_actions.toggle_list()
    dock.refresh()

    def agreement(uid):
        return session.agreement(session.records[uid])

    qtbot.waitUntil(lambda: agreement(cat) > 0.9 and agreement(cup) < 0.2, timeout=30_000)
    dock.region_list.refresh()
    column = next(
        n
        for n in range(table.columnCount())
        if table.headerData(n, Qt.Orientation.Horizontal) == "Agrees"
    )
    shown = {table.lines[row].uid: table.index(row, column).data() for row in range(2)}
    assert float(shown[cat]) > 0.9
    assert float(shown[cup]) < 0.2
    dock.image_actions.export(tmp_path / "a.tidy.csv", "tidy")
    [path] = tmp_path.glob("a*.csv")
    with path.open(encoding="utf-8") as file:
        rows = {row["uid"]: row for row in csv.DictReader(file)}
    assert float(rows[cat]["agreement"]) == pytest.approx(agreement(cat), abs=1e-3)
    # Of another text nothing is known before it is compared.
    dock.controller.edit(cat, "a dog")
    assert math.isnan(agreement(cat))
    qtbot.waitUntil(lambda: agreement(cat) < 0.5, timeout=30_000)
    dock.image_actions.toggle_list()


def test_a_sentence_is_checked_and_the_suggestion_taken_by_a_click(quiet, dock, qtbot):
    read(dock, qtbot)
    [cat] = draw(dock, qtbot, 0)
    controller, said = dock.controller, []
    controller.messaged.connect(said.append)
    session = controller.session
    controller.edit(cat, "A dog looks at me")
    controller.select([cat])
    dock.refresh()
    action = next(a for a in dock.panel.reword.menu().actions() if a.text() == "Check my sentence")
    action.trigger()
    qtbot.waitUntil(
        lambda: "A cat looks at me" in session.records[cat].alternatives, timeout=30_000
    )
    assert session.records[cat].caption == "A dog looks at me"
    assert session.records[cat].source in ("human", "edited")
    dock.refresh()
    wordings = dock.panel.caption.wordings
    assert wordings.texts()[0] == "A cat looks at me"
    assert "'dog'" in wordings.item(0).toolTip()
    assert any("dog → cat" in text for text in said)
    assert not any("Kept, though" in text for text in said)
    place = wordings.visualItemRect(wordings.item(0)).center()
    QTest.mouseClick(wordings.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert session.records[cat].caption == "A cat looks at me"
    assert session.records[cat].source == "edited"
    assert session.records[cat].suggested_by == "check of the sentence"
    assert "A dog looks at me" in session.records[cat].alternatives
    dock.panel.buttons["undo"].click()
    assert session.records[cat].caption == "A dog looks at me"
    dock.panel.buttons["undo"].click()
    assert "A cat looks at me" not in session.records[cat].alternatives
    controller.edit(cat, "a cat")
    action.trigger()
    qtbot.waitUntil(lambda: said[-1].startswith("Nothing here contradicts it"), timeout=30_000)
    controller.edit(cat, "A dog, left of the bus")
    action.trigger()
    better = "A cat, left of the bus"
    qtbot.waitUntil(lambda: better in session.records[cat].alternatives, timeout=30_000)
    # What is wrong, but has nothing clear to take its place, is named.
    controller.edit(cat, "a cat on a bus")
    action.trigger()
    qtbot.waitUntil(lambda: "looks like 'bus'" in said[-1], timeout=30_000)
    assert session.records[cat].caption == "a cat on a bus"


def test_a_name_that_somebody_gave_is_used(quiet, dock, qtbot):
    read(dock, qtbot)
    cat, rex = draw(dock, qtbot, 0, 0)
    controller, session = dock.controller, dock.controller.session
    controller.edit(rex, "Rex")
    controller.edit(cat, "a cat on a table")
    controller.select([cat])
    dock.image_actions.check_sentence()
    qtbot.waitUntil(lambda: "Rex on a table" in session.records[cat].alternatives, timeout=30_000)
    assert session.records[cat].caption == "a cat on a table"


def test_what_cannot_be_checked_is_said(quiet, dock, qtbot):
    said = []
    dock.controller.messaged.connect(said.append)
    dock.controller.why.check([])
    assert "no sentence" in said[-1]
    dock.image_actions.toggle_why()
    assert "Select a region" in dock.panel.caption.why.sentence.text()
    dock.image_actions.toggle_why()


def test_place_and_size_behind_a_caption_change_no_agreement(quiet, dock, qtbot):
    read(dock, qtbot)
    cat, cup = draw(dock, qtbot, 0, WIDTH)
    dock.controller.edit(cup, "a bus")
    session = dock.controller.session
    dock.image_actions.toggle_list()
    dock.refresh()

    def agreement():
        return session.agreement(session.records[cat])

    qtbot.waitUntil(lambda: not math.isnan(agreement()), timeout=30_000)
    before = agreement()
    dock.controller.describer.add_places([cat])
    qtbot.waitUntil(lambda: not dock.controller.describer.is_busy, timeout=30_000)
    assert "the bus" in session.records[cat].caption
    assert math.isnan(agreement())
    qtbot.waitUntil(lambda: not math.isnan(agreement()), timeout=30_000)
    assert agreement() == pytest.approx(before, abs=1e-3)
    dock.image_actions.toggle_list()


def check(dock, uid):
    """Check a sentence by the menu."""
    dock.controller.select([uid])
    dock.refresh()
    menu = dock.panel.reword.menu()
    next(a for a in menu.actions() if a.text() == "Check my sentence").trigger()


def checked(dock, qtbot, uid):
    """Check a sentence and wait for the end; return what is said then."""
    check(dock, uid)
    qtbot.waitUntil(lambda: dock.controller.why.progress is None, timeout=30_000)
    return dock.controller.message


def test_once_a_sentence_is_checked_nothing_is_shown_as_going_on(quiet, dock, qtbot):
    read(dock, qtbot)
    [cat] = draw(dock, qtbot, 0)
    row = dock.panel.progress
    for text in ("a cat", "A dog looks at me"):
        dock.controller.edit(cat, text)
        check(dock, cat)
        assert row.button.text() == "Cancel"
        qtbot.waitUntil(lambda: row.button.text() == "Start", timeout=30_000)
        assert dock.controller.why.progress is None


def test_a_check_is_cancelled(quiet, dock, qtbot):
    read(dock, qtbot)
    [cat] = draw(dock, qtbot, 0)
    session, row = dock.controller.session, dock.panel.progress
    dock.controller.edit(cat, "A dog looks at me")
    before = session.records[cat].alternatives
    check(dock, cat)
    row.button.click()
    assert "cancelled" in dock.controller.message
    assert row.button.text() == "Start"
    qtbot.wait(300)
    assert session.records[cat].alternatives == before


def test_a_sentence_that_is_rewritten_meanwhile_is_said_to_have_changed(quiet, dock, qtbot):
    read(dock, qtbot)
    [cat] = draw(dock, qtbot, 0)
    dock.controller.edit(cat, "A dog on a bus")
    check(dock, cat)
    dock.controller.edit(cat, "A dog on a bus,")
    qtbot.waitUntil(lambda: dock.controller.why.progress is None, timeout=30_000)
    assert "has changed meanwhile" in dock.controller.message
    assert dock.controller.session.records[cat].suggested_by == ""


def test_the_newest_suggestion_takes_the_place_of_those_that_nobody_took(quiet, dock, qtbot):
    read(dock, qtbot)
    [cat] = draw(dock, qtbot, 0)
    controller, session = dock.controller, dock.controller.session
    others = session.records[cat].alternatives

    def offered():
        return [text for text in session.records[cat].alternatives if text not in others]

    for said, better in (("A dog looks up", "A cat looks up"), ("My dog sleeps", "My cat sleeps")):
        controller.edit(cat, said)
        checked(dock, qtbot, cat)
        assert offered() == [better]
    dock.panel.buttons["undo"].click()
    assert offered() == ["A cat looks up"]
    controller.redo()
    assert offered() == ["My cat sleeps"]
    # Of what needs no mending, nothing older is offered either.
    controller.edit(cat, "my cat")
    checked(dock, qtbot, cat)
    assert offered() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eine Katze schläft", ("Nothing of it can be judged", "in English")),
        ("一只猫", ("Nothing of it can be judged",)),
        ("96", ("Nothing of it can be judged",)),
        ("two cats", ("Borne out: 'cats'", "nor how many there are")),
        ("the cat isn't here", ("that it is not there; the region shows it (support ", "yourself")),
        ("a dog on a bus", ("dog → cat", "Kept, though Why marks it: 'bus'")),
    ],
)
def test_what_of_a_sentence_could_be_judged_is_said(quiet, dock, qtbot, text, expected):
    read(dock, qtbot)
    [cat] = draw(dock, qtbot, 0)
    dock.controller.edit(cat, text)
    message = checked(dock, qtbot, cat)
    assert all(part in message for part in expected), message
    assert "Nothing here contradicts" not in message


def test_agreement_says_what_it_rests_on(quiet, dock, qtbot):
    read(dock, qtbot)
    [cat] = draw(dock, qtbot, 0)
    dock.controller.select([cat])
    dock.controller.edit(cat, "a cat asleep")
    dock.image_actions.toggle_why()
    why, sentence = explained(dock, qtbot), dock.panel.caption.why.sentence
    assert ", of 'cat' alone. " in sentence.text()
    dock.controller.edit(cat, "ein Tier")
    qtbot.waitUntil(
        lambda: why.explained is not None and math.isnan(why.explained.agreement), timeout=30_000
    )
    dock.refresh()
    assert sentence.text().startswith("Nothing of it can be judged. ")


class TestOnAMicrograph:
    """What is no photograph: its nouns are not judged, and that is said."""

    @pytest.fixture
    def picture(self):
        return data.immunohistochemistry()

    def test_one_colour_makes_no_sentence_right(self, quiet, dock, qtbot):
        read(dock, qtbot)
        [uid] = draw(dock, qtbot, 0)
        dock.controller.edit(uid, "a dog among brown glands")
        message = checked(dock, qtbot, uid)
        assert "Borne out: 'brown'; all else was not judged" in message
        assert "no photograph" in message
        dock.image_actions.toggle_why()
        why = explained(dock, qtbot)
        assert math.isnan(why.explained.agreement)
        assert "no photograph" in dock.panel.caption.why.sentence.text()
