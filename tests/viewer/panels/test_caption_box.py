from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_patchioner.annotations import Record
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.panels.main import (
    CaptionBox,
    concepts_line,
    provenance,
    verdict_line,
)


@pytest.fixture
def box(qtbot):
    made = CaptionBox("Nothing here")
    qtbot.addWidget(made)
    made.show()
    return made


def model_record(**changes):
    details = Caption(
        "a cat", 0.6, alternatives=("the cat",), concepts=(("cat", 0.6), ("dog", 0.1))
    )
    given = {"caption": "a cat", "score": 0.6, "source": "model", "details": details}
    return Record("a", **(given | changes))


def test_nothing_selected_can_not_be_edited(box):
    assert not box.editor.isEnabled()
    assert box.editor.placeholderText() == "Nothing here"


def test_showing_a_record_is_no_edit(box, qtbot):
    with qtbot.assertNotEmitted(box.edited):
        box.show_record(model_record())
    assert box.editor.toPlainText() == "a cat"


@pytest.mark.every_qt
def test_typing_is_told_at_every_key_and_spaces_stay_while_typing(box, qtbot):
    record = model_record(caption="")
    box.show_record(record)
    told = []

    def take(uid, text):
        told.append((uid, text))
        box.show_record(record.with_text(" ".join(text.split())))

    box.edited.connect(take)
    QTest.keyClicks(box.editor, "my cat")
    assert told[-1] == ("a", "my cat")
    assert box.editor.toPlainText() == "my cat"


def test_enter_leaves_the_editor(box, qtbot):
    box.show_record(model_record())
    with qtbot.waitSignal(box.left):
        QTest.keyClick(box.editor, Qt.Key.Key_Return)
    assert box.editor.toPlainText() == "a cat"


def test_other_wordings_are_offered_by_number(box, qtbot):
    assert box.wordings.isHidden()
    box.show_record(model_record())
    assert box.wordings.texts() == ["the cat"]
    line = box.wordings.item(0)
    assert line.text() == "1  the cat"
    place = box.wordings.visualItemRect(line).center()
    with qtbot.waitSignal(box.picked) as told:
        QTest.mouseClick(box.wordings.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert told.args == ["a", 0]


def test_what_the_model_said_first_can_be_had_back(box):
    record = model_record().chosen(0)
    box.show_record(record)
    assert (record.caption, box.wordings.texts()) == ("the cat", ["a cat"])


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (model_record(), "By the model, score 0.60"),
        (
            model_record(details=Caption("", 0.1, verdict="unsure")),
            "By the model, not sure, score 0.60",
        ),
        (
            model_record(details=Caption("", 0.1, verdict="appearance")),
            "By the model: appearance only, no object named",
        ),
        (
            model_record(model="mini", details=Caption("", 0.1, familiarity=0.002)),
            "Unlike anything mini knows: do not trust the words. By the model mini, score 0.60",
        ),
        (
            model_record(details=Caption("", 0.1, verdict="appearance", familiarity=0.002)),
            "By the model: appearance only, no object named; unlike anything it knows",
        ),
        (
            model_record(score=0.98, details=Caption("", 0.98, familiarity=0.002)),
            "Unlike anything the model knows: check the words. By the model, score 0.98",
        ),
        (model_record(details=Caption("", 0.1, familiarity=0.02)), "By the model, score 0.60"),
        (
            model_record(source="human", details=Caption("", 0.1, familiarity=0.002)),
            "Written by you",
        ),
        (model_record(source="taught"), "Learned from examples, score 0.60"),
        (model_record(source="edited"), "Edited by you"),
        (model_record(source="human"), "Written by you"),
        (Record("a", wanted=True), "wait"),
        (model_record(wanted=True), "wait. This is the old caption."),
        (model_record(problem="it is outside"), "It is outside. This is the old caption."),
        (Record("a", problem="it is outside"), "It is outside"),
        (Record("a"), ""),
        (model_record(model="mini"), "By the model mini, score 0.60"),
        (model_record(reviewed=True), "By the model, score 0.60, accepted"),
        (
            model_record(source="edited", reviewed=True, locked=True),
            "Edited by you, accepted, locked",
        ),
        (
            model_record(source="edited").suggested(["cat"], "a check").chosen(0),
            "Edited by you, from a checked sentence, accepted",
        ),
        (Record("a", locked=True), "Locked"),
    ],
)
def test_the_verdict_says_who_wrote_it(record, line):
    assert verdict_line(record, "wait") == line


def test_concepts_are_shown_with_weights_that_tell_something():
    assert concepts_line(model_record()) == "cat 60% · dog 10%"
    faint = Caption("", 0.1, concepts=(("cat", 0.02), ("dog", 0.01)))
    assert concepts_line(model_record(details=faint)) == "cat · dog"
    one = Caption("", 0.9, concepts=(("cat", 0.999), ("dog", 0.0001)))
    assert concepts_line(model_record(details=one)) == "cat 100% · dog <1%"


def test_a_tip_names_the_model_and_what_it_could_not_do():
    unknown = provenance(model_record(model="clip-b16"))
    assert unknown.startswith("Written by the model clip-b16.\nHow familiar this is to clip-b16 is")
    assert unknown.endswith("models familiar clip-b16 FOLDER.")
    asked = model_record(model="llava", origin={"server": {"host": "this machine"}})
    assert provenance(asked) == "Written by the model llava."
    known = model_record(model="mini", details=Caption("", 0.1, familiarity=0.0231))
    assert provenance(known) == (
        "Written by the model mini.\n2.3% of what mini knows is as unlike the rest of it as this."
    )
    edited = model_record(model="mini", source="edited")
    assert provenance(edited) == "Edited from a draft by the model mini."
    assert provenance(model_record(source="human")) == "Who wrote the caption."
    failed = Caption("a cat", 0.6, problem="It would not say dog.")
    assert provenance(model_record(details=failed)) == "It would not say dog."
