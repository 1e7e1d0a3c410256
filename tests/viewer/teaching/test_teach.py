"""Names are taught, and regions alike get them at once; people's words are never touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from taught_window import Class

SHIFT = Qt.KeyboardModifier.ShiftModifier


def middle(box):
    return (box.top + box.bottom) / 2, (box.left + box.right) / 2


def test_cells_are_taught_with_mouse_and_keys(quiet, started, hand, drawn_boxes, viewer, qtbot):
    dock, boxes = started, drawn_boxes[1]
    session = dock.controller.session

    def captions():
        return [record.caption for record in session.records.values()]

    for box in boxes:
        dock.panel.draw.buttons["Box"].click()
        hand.drag([(box.top, box.left), (box.bottom, box.right)])
    qtbot.waitUntil(lambda: len(captions()) == 7 and all(captions()), timeout=60_000)
    before = captions()
    dock.panel.draw.buttons["Select"].click()
    field = dock.teach.name
    for name, box in zip(("nucleus", "leaf"), boxes, strict=False):
        hand.click(*middle(box))
        qtbot.waitUntil(lambda: len(dock.controller.selected()) == 1, timeout=2000)
        hand.key(Qt.Key.Key_T, SHIFT)
        qtbot.waitUntil(lambda: viewer.window._qt_window.focusWidget() is field, timeout=2000)
        QTest.keyClicks(field, name)
        # All regions are described before anything is taught.
        state = dock.teacher.states[dock.controller]
        qtbot.waitUntil(lambda state=state: len(state.described) == 7, timeout=10_000)
        QTest.keyClick(field, Qt.Key.Key_Return)
    names = ["nucleus", "leaf"] * 3
    qtbot.waitUntil(lambda: captions()[:6] == names, timeout=10_000)
    sources = [record.source for record in session.records.values()]
    assert sources == ["edited"] * 2 + ["taught"] * 4 + ["model"]
    # What is like nothing that was taught keeps what the model says of it.
    assert captions()[6] == before[6]
    hand.click(*middle(boxes[2]))
    qtbot.wait(150)
    assert dock.panel.caption.verdict.text().startswith("Learned from 1 example, score ")
    assert dock.panel.caption.wordings.texts()[0] == before[2]
    hand.click(*middle(boxes[6]))
    qtbot.waitUntil(lambda: "not like enough" in dock.teach.here.text(), timeout=2000)


def test_one_step_back_takes_names_and_teaching_along(lesson):
    before, captions = lesson.captions(), lesson.captions
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.until(lambda: captions()[2:6] == ["nucleus", "leaf"] * 2)
    lesson.settle()
    taught = captions()
    controller, teacher = lesson.dock.controller, lesson.dock.teacher
    controller.undo()
    assert "teaching of 1 region" in controller.message
    assert captions()[1] == before[1]
    lesson.settle()
    assert teacher.lexicon_of(controller).counts == {"nucleus": 1}
    controller.undo()
    assert captions() == before
    lesson.settle()
    assert captions() == before
    assert not teacher.lexicons
    controller.redo()
    controller.redo()
    lesson.settle()
    assert captions() == taught
    assert teacher.lexicon_of(controller).counts == {"leaf": 1, "nucleus": 1}
    a_region_drawn_afterwards_is_named_and_described(lesson)


def a_region_drawn_afterwards_is_named_and_described(lesson):
    session = lesson.dock.controller.session
    lesson.add([2])
    lesson.until(lambda: len(lesson.records) == 8 and lesson.captions()[7] == "nucleus")
    lesson.until(lambda: lesson.records[7].details is not None)
    drawn = lesson.records[7]
    assert (drawn.source, drawn.wanted) == ("taught", False)
    assert drawn.alternatives[0] == drawn.details.text
    lesson.dock.image_actions.take(drawn.uid, 0)
    chosen = session.records[drawn.uid]
    assert (chosen.caption, chosen.reviewed) == (drawn.details.text, True)
    assert "nucleus" in chosen.alternatives


def test_what_people_wrote_accepted_locked_or_refused_stays(lesson):
    session = lesson.dock.controller.session
    uids = [record.uid for record in lesson.records]
    session.edit(uids[2], "my own words")
    session.accept([uids[3]])
    session.lock([uids[4]], True)
    session.reject([uids[5]])
    before = lesson.captions()
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.settle()
    assert lesson.captions() == ["nucleus", "leaf", *before[2:]]


def test_what_the_model_says_may_follow_the_name(lesson):
    before = lesson.captions()
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.settle()
    choice = lesson.dock.teach.joined
    assert choice.currentText() == "in photographs"
    assert lesson.captions()[2:4] == ["nucleus", "leaf"]
    QTest.keyClick(choice, Qt.Key.Key_Down)
    assert choice.currentText() == "always"
    assert lesson.captions()[2:4] == [f"nucleus: {before[2]}", f"leaf: {before[3]}"]
    QTest.keyClick(choice, Qt.Key.Key_Down)
    assert lesson.captions()[2:4] == ["nucleus", "leaf"]
    # As if this were a photograph.
    QTest.keyClick(choice, Qt.Key.Key_Home)
    state = lesson.dock.teacher.states[lesson.dock.controller]
    for picture in state.pictures.values():
        object.__setattr__(picture.grid, "measures", {"photograph": 0.9})
    lesson.teach("leaf", 3)
    lesson.settle()
    assert lesson.captions()[2] == f"nucleus: {before[2]}"
    # Every example is a person's word, also one that had its name from others before.
    assert [lesson.sources()[row] for row in (0, 1, 3)] == ["edited"] * 3


def test_a_sentence_written_over_an_example_is_its_caption_and_no_other_name(lesson):
    session, panel = lesson.dock.controller.session, lesson.dock.teach
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.settle()
    lesson.write_over(0, "a giraffe on the runway")
    lesson.settle()
    assert lesson.captions()[:6] == ["a giraffe on the runway", "leaf", *["nucleus", "leaf"] * 2]
    assert panel.lexicon.counts == {"leaf": 1, "nucleus": 1}
    assert "an example of 'nucleus'" in lesson.dock.panel.caption.verdict.text()
    # Another name under Taught is none for what was written.
    lesson.dock.teacher.rename("nucleus", "kernel")
    lesson.settle()
    assert lesson.captions()[:4] == ["a giraffe on the runway", "leaf", "kernel", "leaf"]
    assert panel.lexicon.counts == {"kernel": 1, "leaf": 1}
    # An emptied caption is the model's again, or the name that examples give.
    uid = lesson.records[0].uid
    session.edit(uid, "")
    lesson.settle()
    assert panel.lexicon.counts == {"kernel": 1, "leaf": 1}
    # Taught without a name, a caption is one.
    session.edit(uid, "giraffe")
    lesson.select(0)
    lesson.dock.teach.teach.click()
    lesson.until(lambda: panel.lexicon.counts == {"giraffe": 1, "leaf": 1})


def test_what_was_taught_before_names_were_kept_keeps_its_name(lesson):
    session = lesson.dock.controller.session
    lesson.teach("nucleus", 0)
    lesson.settle()
    uid = lesson.records[0].uid
    session.records[uid] = replace(session.records[uid], example_name="")
    session.edit(uid, "a giraffe on the runway")
    lesson.settle()
    assert lesson.dock.teach.lexicon.counts == {"nucleus": 1}


def test_where_every_correction_is_an_example_it_corrects_what_was_learned(lesson):
    lesson.teach("leaf", 0)
    lesson.teach("leaf", 1)
    lesson.dock.teach.every.click()
    lesson.settle()
    lesson.write_over(0, "nucleus")
    lesson.until(lambda: lesson.captions()[2:6] == ["nucleus", "leaf"] * 2)
    assert lesson.dock.teach.lexicon.counts == {"leaf": 1, "nucleus": 1}


def test_every_correction_is_an_example_where_that_is_switched_on(lesson):
    session, panel = lesson.dock.controller.session, lesson.dock.teach
    uids = [record.uid for record in lesson.records]
    session.edit(uids[0], "nucleus")
    session.edit(uids[1], "leaf")
    lesson.settle()
    assert lesson.sources()[2:] == ["model"] * 5
    panel.every.click()
    lesson.until(lambda: lesson.captions()[2:6] == ["nucleus", "leaf"] * 2)
    # One that was forgotten stays so.
    lesson.dock.teacher.forget(e for e in panel.lexicon.examples if e.name == "leaf")
    lesson.settle()
    assert panel.lexicon.counts == {"nucleus": 1}
    assert lesson.captions()[1] == "leaf"
    panel.every.click()
    lesson.until(lambda: lesson.dock.teach.lexicon is None)
    lesson.settle()
    assert lesson.sources()[2:] == ["model"] * 5


def test_a_region_taught_twice_has_its_last_name(lesson):
    lesson.teach("leaf", 0)
    lesson.teach("nucleus", 0)
    lesson.settle()
    assert lesson.dock.teach.lexicon.counts == {"nucleus": 1}
    the_same_name_is_at_hand_again_and_typing_goes_over_it(lesson)


def the_same_name_is_at_hand_again_and_typing_goes_over_it(lesson):
    field, message = lesson.dock.teach.name, lambda: lesson.dock.controller.message
    lesson.teach("nucleus", 0)
    assert field.text() == ""
    lesson.select(2)
    lesson.dock.image_actions.write_name()
    assert field.selectedText() == "nucleus"
    QTest.keyClick(field, Qt.Key.Key_Return)
    lesson.settle()
    assert lesson.dock.teach.lexicon.counts == {"nucleus": 2}
    lesson.select(1)
    lesson.dock.image_actions.write_name()
    sentence = "a leaf with a stalk " * 20
    QTest.keyClicks(field, sentence)
    QTest.keyClick(field, Qt.Key.Key_Return)
    lesson.settle()
    assert lesson.captions()[1] == sentence.strip()
    assert message().startswith("Learned 'a leaf with a stalk ")
    lesson.until(lambda: lesson.captions()[3] == sentence.strip())
    assert max(len(message()), len(lesson.dock.teach.judged.text())) < 250


def test_without_a_grid_it_is_learned_once_the_image_is_read(dock, drawn_boxes, qtbot, quiet):
    lesson = Class(dock, drawn_boxes[1], qtbot)
    lesson.add()
    lesson.until(lambda: len(lesson.records) == 7)
    lesson.teach("nucleus", 0)
    assert "press Start" in dock.controller.message
    lesson.teach("leaf", 1)
    qtbot.waitUntil(lambda: "2 to learn when read" in dock.teach.fold.text(), timeout=3000)
    dock.panel.progress.button.click()
    lesson.until(lambda: lesson.captions()[2:6] == ["nucleus", "leaf"] * 2)
    lesson.settle()
    assert "2 names, 2 examples" in dock.teach.fold.text()


def test_nothing_selected_or_no_name_is_said(lesson):
    controller = lesson.dock.controller
    controller.select([])
    lesson.dock.teach.name.setText("nucleus")
    lesson.dock.teach.teach.click()
    assert "Select what to teach first" in controller.message
    lesson.teach("", 0)
    assert "Type a name first" in controller.message
    controller.session.edit(lesson.records[0].uid, "nucleus")
    lesson.teach("", 0)
    lesson.settle()
    assert lesson.dock.teach.lexicon.counts == {"nucleus": 1}
    # A click without a drag shows nothing.
    lesson.layer.add([np.full((4, 2), 20.0)], shape_type="rectangle")
    lesson.until(lambda: len(lesson.records) == 8)
    lesson.teach("leaf", 7)
    lesson.settle()
    assert "could not be learned: the box has no area" in controller.message
    assert lesson.dock.teach.lexicon.counts == {"nucleus": 1}
    one_name_in_several_spellings_is_one_name(lesson)


def one_name_in_several_spellings_is_one_name(lesson):
    session, message = lesson.dock.controller.session, lambda: lesson.dock.controller.message
    counts = lambda: lesson.dock.teach.lexicon.counts  # noqa: E731
    lesson.teach("nucleus", 0)
    lesson.settle()
    lesson.teach(" NUCLEUS ", 2)
    lesson.settle()
    assert (counts(), lesson.captions()[2]) == ({"nucleus": 2}, "nucleus")
    assert "'NUCLEUS' is taught as 'nucleus'" in message()
    # What a person wrote stays as it is.
    session.edit(lesson.records[4].uid, "Nucleus")
    lesson.teach("", 4)
    lesson.settle()
    assert (counts(), lesson.captions()[4]) == ({"nucleus": 3}, "Nucleus")
    assert "'Nucleus' is taught as 'nucleus'" in message()
    # Where a person spells the name itself otherwise, that is how it is called, also where the
    # person has only agreed to it.
    agreed = next(r.uid for r in lesson.records if r.source == "taught" and r.caption == "nucleus")
    session.accept([agreed])
    lesson.dock.teacher.rename("nucleus", "NUCLEUS")
    lesson.settle()
    assert (counts(), lesson.captions()[4]) == ({"NUCLEUS": 3}, "NUCLEUS")
    assert session.records[agreed].caption == "NUCLEUS"
    assert session.records[agreed].source == "taught"
    lesson.dock.controller.undo()
    lesson.settle()
    assert (counts(), lesson.captions()[4]) == ({"nucleus": 3}, "Nucleus")


def test_what_came_of_a_correction_is_said_by_its_own_name(lesson):
    message = lambda: lesson.dock.controller.message  # noqa: E731
    lesson.dock.teach.every.click()
    lesson.teach("nucleus", 0)
    lesson.dock.controller.edit(lesson.records[1].uid, "leaf")
    lesson.until(lambda: message().startswith("Learned 'leaf' from 1 example"))
    lesson.settle()
    assert message().startswith("Learned 'leaf'")
    lesson.dock.controller.edit(lesson.records[1].uid, "petal")
    lesson.until(lambda: message().startswith("Learned 'petal' from 1 example"))
