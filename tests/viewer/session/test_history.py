"""Steps back and forth, on plain records."""

from __future__ import annotations

import sys
from dataclasses import replace
from gc import get_referents

import numpy as np
import pytest

from napari_patchioner.annotations.project.records import Appearance, Plane, Record, Seen, SeenMask
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.session.history import History, Snapshot
from napari_patchioner.viewer.session.session import Row, Session

SQUARE = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])


def box(place):
    return Seen("rectangle", SQUARE + place)


def see(session, *places, rows=None):
    rows = [Row()] * len(places) if rows is None else rows
    session.observe("regions", [box(place) for place in places], rows)


def drawn(*places):
    """A session in which the shapes were drawn one by one."""
    session = Session()
    see(session)
    for number in range(len(places)):
        see(session, *places[: number + 1], rows=session.table("regions"))
    return session


def answer(session, text="a caption"):
    for request in session.take(lambda record: True):
        assert session.deliver(request, Caption(text, 0.5, alternatives=("other", "third")), "m")


def captions(session):
    return [row.caption for row in session.table("regions")]


def test_what_is_there_at_first_was_not_drawn():
    session = Session()
    see(session, 0, 20, rows=[Row("a", "one", 0.5, "model"), Row("b")])
    assert session.undo() == ""
    assert session.uids("regions") == ["a", "b"]


def test_drawing_moving_and_deleting_are_steps_with_names():
    session = drawn(0, 20)
    see(session, 3, 23, rows=session.table("regions"))
    see(session, 3, rows=session.table("regions")[:1])
    steps = [session.undo() for _ in range(5)]
    assert steps == [
        "deletion of 1 shape",
        "move of 2 shapes",
        "drawing of 1 shape",
        "drawing of 1 shape",
        "",
    ]
    assert [session.redo() for _ in range(5)] == [*steps[3::-1], ""]


def test_another_outline_is_no_move():
    session = drawn(0)
    wider = Seen("rectangle", SQUARE * 2)
    session.observe("regions", [wider], session.table("regions"))
    assert session.undo() == "reshaping of 1 shape"


def test_an_answer_belongs_to_the_step_that_asked():
    session = drawn(0, 20)
    answer(session)
    assert session.undo() == "drawing of 1 shape"
    assert captions(session) == ["a caption"]
    assert session.redo() == "drawing of 1 shape"
    assert captions(session) == ["a caption", "a caption"]


def test_captions_asked_for_together_are_one_step():
    session = drawn(0, 20)
    answer(session, "first")
    session.again(session.uids("regions"))
    answer(session, "second")
    assert captions(session) == ["second", "second"]
    assert session.undo() == "writing of 2 captions"
    assert captions(session) == ["first", "first"]
    session.redo()
    assert captions(session) == ["second", "second"]


def test_other_options_that_change_no_caption_are_no_step():
    session = drawn(0, 20)
    answer(session, "first")
    uids = session.uids("regions")
    session.again(uids, by_options=True)
    assert session.take_revision() is None
    answer(session, "first")
    assert session.take_revision() is False
    assert session.take_revision() is None
    # What comes next is the newest step.
    session.edit(uids[0], "mine")
    session.finish_edit()
    assert session.undo() == "edit of 1 caption"
    assert session.undo() == "drawing of 1 shape"


def test_other_options_that_change_one_caption_are_a_step():
    session = drawn(0, 20)
    answer(session, "first")
    session.again(session.uids("regions"), by_options=True)
    for request, text in zip(session.take(lambda _: True), ("first", "second"), strict=True):
        session.deliver(request, Caption(text, 0.7), "m")
    assert session.take_revision() is True
    assert session.undo() == "writing of 2 captions"
    assert captions(session) == ["first", "first"]
    # What was made anew and says the same is what it is by now.
    assert [record.score for record in session.records.values()] == [0.7, 0.5]
    session.redo()
    assert captions(session) == ["first", "second"]


def test_a_start_is_one_step_and_undone_is_not_asked_for_again():
    session = drawn(0, 20)
    session.restart()
    answer(session)
    assert session.undo() == "writing of 2 captions"
    assert captions(session) == ["", ""]
    assert session.take(lambda record: True) == []


def test_what_was_asked_for_twice_is_undone_once():
    session = drawn(0)
    for _ in range(3):
        session.restart()
        session.take(lambda record: True)
    assert [session.undo() for _ in range(3)] == ["writing of 1 caption", "drawing of 1 shape", ""]
    assert [session.redo() for _ in range(3)] == ["drawing of 1 shape", "writing of 1 caption", ""]
    assert [record.wanted for record in session.records.values()] == [True]


def test_asking_again_and_again_pushes_no_step_out_of_the_history():
    session = drawn(0)
    for _ in range(300):
        session.restart()
    session.undo()
    assert session.undo() == "drawing of 1 shape"


def test_a_wish_is_taken_back_and_made_again_with_its_step():
    session = drawn(0)
    answer(session, "first")
    session.again(session.uids("regions"))
    assert [record.wanted for record in session.records.values()] == [True]
    session.undo()
    assert [record.wanted for record in session.records.values()] == [False]
    session.redo()
    assert [record.wanted for record in session.records.values()] == [True]


@pytest.mark.parametrize("taken", [False, True])
def test_what_a_model_has_in_hand_is_owed_like_what_it_has_not(taken):
    session = drawn(0)
    if taken:
        session.take(lambda record: True)
    state = session.history.now
    assert not session.amend()
    assert session.history.now is state


def repainted(session, colour):
    """See the shapes again in another colour."""
    look = Appearance(1.0, colour, (0.0,) * 4, 0)
    seen = [
        Seen(one.shape_type, one.vertices, appearance=look) for one in session.shapes("regions")
    ]
    session.observe("regions", seen, session.table("regions"))


def test_another_colour_is_no_step_and_makes_none_of_what_is_none():
    session = drawn(0)
    session.restart()
    repainted(session, (1.0, 0.0, 0.0, 1.0))
    session.restart()
    repainted(session, (0.0, 0.0, 1.0, 1.0))
    steps = ["writing of 1 caption", "drawing of 1 shape"]
    assert [session.undo(), session.undo(), session.undo()] == [*steps, ""]
    assert [session.redo(), session.redo(), session.redo()] == [*steps[::-1], ""]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_corner_that_is_nowhere_is_not_moved_by_every_look():
    session = Session()
    see(session)
    corners = np.array([[0.0, 0.0], [np.nan, 9.0], [9.0, 9.0]])
    for _ in range(3):
        session.observe("regions", [Seen("path", corners.copy())], session.table("regions"))
    assert [session.undo(), session.undo()] == ["drawing of 1 shape", ""]


def test_late_answers_for_what_was_undone_are_dropped():
    session = drawn(0)
    answer(session, "first")
    [uid] = session.uids("regions")
    session.again([uid])
    [request] = session.take(lambda record: True)
    session.undo()
    assert not session.deliver(request, Caption("late", 0.5))
    assert captions(session) == ["first"]
    session.redo()
    [again] = session.take(lambda record: True)
    assert session.deliver(again, Caption("second", 0.5))


def test_a_deleted_shape_comes_back_wanting_the_caption_it_never_got():
    session = drawn(0)
    [request] = session.take(lambda record: True)
    see(session)
    session.undo()
    assert not session.deliver(request, Caption("late", 0.5))
    assert [wanted.uid for wanted in session.take(lambda record: True)] == [request.uid]


def test_letters_typed_one_after_the_other_are_one_step():
    session = drawn(0, 20)
    answer(session)
    first, second = session.uids("regions")
    for text in ("m", "mi", "mine"):
        session.edit(first, text)
    session.edit(second, "too")
    session.undo()
    assert captions(session) == ["mine", "a caption"]
    session.undo()
    assert captions(session) == ["a caption", "a caption"]
    session.redo()
    assert session.records[first].source == "edited"


def test_an_edit_after_one_that_was_finished_is_a_step_of_its_own():
    session = drawn(0)
    [uid] = session.uids("regions")
    session.edit(uid, "one")
    session.finish_edit()
    session.edit(uid, "two")
    session.undo()
    assert captions(session) == ["one"]


def test_typing_back_to_where_it_began_is_no_step():
    session = drawn(0)
    answer(session, "x")
    [uid] = session.uids("regions")
    session.edit(uid, "y")
    session.history.seal()
    session.edit(uid, "yz")
    session.edit(uid, "y")
    assert session.undo() == "edit of 1 caption"
    assert captions(session) == ["x"]


def test_judging_is_undone():
    session = drawn(0, 20)
    answer(session)
    uids = session.uids("regions")
    session.accept(uids)
    session.lock(uids[:1], True)
    session.choose(uids[1], 1)
    session.reject(uids)
    assert captions(session) == ["a caption", ""]
    assert session.undo() == "rejection of 1 caption"
    assert session.undo() == "choice of another wording"
    assert session.undo() == "locking of 1 caption"
    assert session.undo() == "acceptance of 2 captions"
    assert not any(record.protected for record in session.records.values())


def test_groups_and_planes_are_undone_with_their_captions():
    session = drawn(0, 20)
    with session.step("caption of 2 shapes together"):
        group = session.group(session.uids("regions"))
        session.again([group.uid])
    with session.step("caption of the whole image"):
        session.again([session.whole(Plane()).uid])
    answer(session)
    assert session.undo() == "caption of the whole image"
    assert session.find_whole(Plane()) is None
    see(session, 0, rows=session.table("regions")[:1])
    assert session.find_group(group.members) is None
    session.undo()
    assert session.find_group(group.members).caption == "a caption"
    assert session.undo() == "caption of 2 shapes together"
    assert session.find_group(group.members) is None


def test_a_new_step_ends_what_could_be_done_again():
    session = drawn(0, 20)
    session.undo()
    see(session, 0, 40, rows=session.table("regions"))
    assert session.redo() == ""


def test_an_answer_does_not_end_what_could_be_done_again():
    session = drawn(0, 20)
    session.undo()
    answer(session)
    assert session.redo() == "drawing of 1 shape"
    assert captions(session) == ["a caption", ""]


def test_a_layer_that_is_gone_is_gone_from_all_steps():
    session = drawn(0, 20)
    session.observe("traces", [], [])
    session.observe("traces", [Seen("path", SQUARE)], [Row()])
    session.forget("regions")
    assert session.undo() == "drawing of 1 shape"
    assert session.records == {}
    assert session.undo() == ""


def test_a_layer_that_comes_later_stays_when_older_steps_are_undone():
    session = drawn(0)
    session.observe("traces", [Seen("path", SQUARE)], [Row("t", "kept", 0.5, "human")])
    session.undo()
    assert session.uids("regions") == []
    assert session.table("traces")[0].caption == "kept"


def test_other_peoples_columns_are_not_undone_but_come_back_with_their_shape():
    session = Session()
    see(session)
    see(session, 0)
    [row] = session.table("regions")
    see(session, 0, rows=[Row(row.uid, extra={"kind": "cat"})])
    session.edit(row.uid, "mine")
    mine = session.table("regions")[0]
    see(session, 0, rows=[Row(mine.uid, "mine", mine.score, "human", extra={"kind": "dog"})])
    session.undo()
    assert session.table("regions")[0].extra == {"kind": "dog"}
    see(session)
    session.undo()
    assert session.table("regions")[0].extra == {"kind": "dog"}


def test_a_layer_that_was_pushed_aside_is_no_step():
    session = Session()
    session.observe("regions", [], [])
    session.observe("regions", [Seen("rectangle", SQUARE, drawn=SQUARE)], [Row()])
    aside = Seen("rectangle", SQUARE + 5, drawn=SQUARE)
    session.observe("regions", [aside], session.table("regions"))
    assert session.undo() == "drawing of 1 shape"


def test_everybody_is_told_of_what_a_person_and_a_model_do_and_of_nothing_else():
    session, told = Session(), []
    session.changed.append(lambda: told.append(len(session.records)))
    see(session)
    see(session, 0)
    count = len(told)
    see(session, 0, rows=session.table("regions"))
    assert len(told) == count
    answer(session)
    session.accept(session.uids("regions"))
    assert len(told) == count + 2


def test_only_so_many_steps_are_kept():
    history = History(depth=3)
    for number in range(10):
        record = Record("a", caption=str(number))
        history.push(history.now.taken([record], {}), f"step {number}")
    labels = [history.back() for _ in range(4)]
    assert labels == ["step 9", "step 8", "step 7", ""]
    assert history.now.records[0].caption == "6"


def test_the_undo_is_two_hundred_steps_deep():
    session = drawn(0)
    [uid] = session.uids("regions")
    for number in range(250):
        session.edit(uid, str(number))
        session.history.seal()
    assert sum(bool(session.undo()) for _ in range(300)) == 200
    assert captions(session) == ["49"]
    assert sum(bool(session.redo()) for _ in range(300)) == 200
    assert captions(session) == ["249"]


def test_five_hundred_shapes_and_two_hundred_steps_stay_small():
    session = Session()
    see(session)
    see(session, *range(500))
    answer(session)
    before = weight(session.history)
    for number, uid in enumerate(session.uids("regions")[:200]):
        session.edit(uid, f"text {number}")
    assert weight(session.history) - before < 4_000_000


def weight(thing):
    """Bytes of all that is reachable from a thing and is no type, function or module."""
    seen, waiting, total = set(), [thing], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (type, type(sys), type(weight))):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting.extend(get_referents(one))
    return total


def test_snapshots_share_what_has_not_changed():
    one, two = Record("a", caption="one"), Record("b", caption="two")
    first = Snapshot().taken([one, two], {"x": ["a", "b"]})
    changed = replace(two, caption="changed")
    second = first.taken([one, changed], {"x": ["a", "b"]})
    assert second.records[0] is first.records[0]
    assert second.order["x"] is first.order["x"]
    assert first.records[1].caption == "two"
    assert second.taken([one, replace(changed)], {"x": ["a", "b"]}) is second


@pytest.mark.parametrize("change", ["reviewed", "locked", "rejected"])
def test_every_mark_makes_a_difference(change):
    record = Record("a")
    state = Snapshot().taken([record], {})
    changed = replace(record, **{change: True})
    assert state.taken([changed], {}) is not state


def see_points(session, *places, rows=None):
    points = [Seen("point", np.array([[5.0, place]])) for place in places]
    rows = session.table("points") if rows is None else rows
    session.observe("points", points, rows, foreign=True)


def pointed(*places):
    """A session with captioned points on somebody else's layer."""
    session = Session()
    see_points(session, *places, rows=[Row()] * len(places))
    answer(session, "first")
    return session


def texts(session):
    return [row.caption for row in session.table("points")]


def test_a_text_is_undone_on_a_point_that_was_moved_meanwhile_but_no_old_one_comes_back():
    session = pointed(0, 10)
    one, two = session.uids("points")
    session.edit(one, "mine")
    session.history.seal()
    session.edit(one, "all mine")
    session.edit(two, "yours")
    see_points(session, 1, 10)
    assert (session.undo(), texts(session)) == ("edit of 1 caption", ["all mine", "first"])
    assert (session.undo(), texts(session)) == ("edit of 1 caption", ["mine", "first"])
    assert (session.undo(), texts(session)) == ("edit of 1 caption", ["", "first"])
    assert [request.uid for request in session.take(lambda record: True)] == [one]
    assert [session.redo() for _ in range(3)] == ["edit of 1 caption"] * 3
    assert texts(session) == ["all mine", "yours"]
    assert session.shapes("points")[0].vertices.tolist() == [[5.0, 1.0]]


def test_what_a_move_has_overtaken_is_not_said_to_be_undone():
    session = pointed(0, 10)
    one, two = session.uids("points")
    session.edit(two, "mine")
    session.again([one])
    see_points(session, 1, 10)
    assert (session.undo(), texts(session)) == ("edit of 1 caption", ["", "first"])
    assert session.undo() == ""
    assert session.redo() == "edit of 1 caption"
    assert (session.redo(), texts(session)) == ("", ["", "mine"])


def test_the_number_of_a_label_is_never_undone():
    pixels = np.ones((2, 3), bool)
    labels = [SeenMask.of(pixels, np.zeros(2), (0, 1), value) for value in (3, 4)]
    session = Session()
    session.observe("labels", labels[:1], [Row()], foreign=True)
    [uid] = session.uids("labels")
    session.edit(uid, "mine")
    session.observe("labels", labels[1:], session.table("labels"), foreign=True)
    session.undo()
    assert session.shapes("labels")[0].value == 4
    assert session.records[uid].caption == ""
