from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_patchioner.annotations import Plane, Seen
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.session.session import Row, Session, same_row

SQUARE = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])


def box(place):
    return Seen("rectangle", SQUARE + place)


def drawn(*places):
    session = Session()
    session.observe("regions", [box(place) for place in places], [Row()] * len(places))
    return session


def ask_all(session):
    return session.take(lambda record: True)


def test_new_shapes_get_uids_and_are_wanted():
    session = drawn(0, 20)
    uids = session.uids("regions")
    assert len(set(uids)) == 2
    assert [request.uid for request in ask_all(session)] == uids
    assert ask_all(session) == []


def test_an_answer_reaches_its_shape_after_the_rows_have_moved():
    session = drawn(0, 20)
    _first, second = session.uids("regions")
    requests = ask_all(session)
    session.observe("regions", [box(20)], session.table("regions")[1:])
    assert not session.deliver(requests[0], Caption("first", 0.5))
    assert session.deliver(requests[1], Caption("second", 0.5))
    assert [row.caption for row in session.table("regions")] == ["second"]
    assert session.uids("regions") == [second]


def test_an_answer_about_another_place_is_dropped():
    session = drawn(0)
    [request] = ask_all(session)
    session.observe("regions", [box(3)], session.table("regions"))
    assert not session.deliver(request, Caption("old place", 0.5))
    [request] = ask_all(session)
    assert session.deliver(request, Caption("new place", 0.5))


def test_an_answer_of_an_earlier_reading_is_dropped():
    session = drawn(0)
    [request] = ask_all(session)
    session.restart()
    assert not session.deliver(request, Caption("old model", 0.5))
    assert len(ask_all(session)) == 1


def test_captions_known_to_be_another_models_are_asked_for_again():
    session = drawn(0, 20)
    first, second = ask_all(session)
    session.deliver(first, Caption("by one", 0.5), "one")
    session.deliver(second, Caption("by two", 0.5), "two")
    session.restart(model="two")
    assert [request.uid for request in ask_all(session)] == [first.uid]


def test_captions_of_unknown_origin_are_kept_until_rewriting_is_meant():
    session = Session()
    session.observe("regions", [box(0)], [Row("a", "by a model", 0.4, "model")])
    session.restart(model="two")
    assert ask_all(session) == []
    session.restart(model="two", rewrite=True)
    assert [request.uid for request in ask_all(session)] == ["a"]


def test_an_old_caption_stays_until_the_new_one_is_there_and_a_start_asks_for_it_still():
    session, [uid] = answered(0)
    before = session.records[uid].caption
    session.again([uid])
    [request] = ask_all(session)
    assert session.records[uid].caption == before
    session.give_back([request])
    session.restart()
    [request] = ask_all(session)
    assert session.stop([request], "cancelled") == (1, 0)
    now = session.records[uid]
    assert (now.caption, now.problem, now.wanted) == (before, "", False)
    session.restart()
    assert ask_all(session) == []


def test_human_text_survives_everything():
    session = drawn(0)
    [request] = ask_all(session)
    [uid] = session.uids("regions")
    session.edit(uid, "my own words")
    assert not session.deliver(request, Caption("the model's", 0.9))
    assert session.again([uid]) == 1
    session.restart(rewrite=True)
    session.observe("regions", [box(40)], session.table("regions"))
    assert ask_all(session) == []
    assert same_row(session.table("regions")[0], Row(uid, "my own words", source="human"))


def test_editing_a_models_caption_makes_it_the_persons():
    session = drawn(0)
    [request] = ask_all(session)
    session.deliver(request, Caption("a cat", 0.5), "mini")
    session.edit(request.uid, "a grey cat")
    record = session.records[request.uid]
    assert (record.source, record.model, record.protected) == ("edited", "mini", True)
    session.edit(request.uid, "")
    record = session.records[request.uid]
    assert (record.source, record.protected) == ("", False)


def test_a_letter_typed_and_taken_back_is_no_step_and_leaves_the_caption_to_the_model():
    session, [uid] = answered(0)
    before = session.records[uid]
    for text in ("a catz", "a cat"):
        session.edit(uid, text)
    assert session.records[uid].same(before)
    row = session.table("regions")[0]
    session.observe("regions", [box(0)], [replace(row, caption="a lynx")])
    session.observe("regions", [box(0)], [replace(row, caption="a cat")])
    assert session.records[uid].same(before)


def test_an_edit_in_the_features_table_counts_as_a_persons():
    session = drawn(0)
    [row] = session.table("regions")
    changed = Row(row.uid, "typed in the table", row.score, row.source)
    assert session.observe("regions", [box(0)], [changed])
    assert session.table("regions")[0].source == "human"


def test_a_pasted_copy_becomes_a_shape_of_its_own():
    session = drawn(0)
    [uid] = session.uids("regions")
    session.edit(uid, "mine")
    row = session.table("regions")[0]
    assert session.observe("regions", [box(0), box(0)], [row, row])
    rows = session.table("regions")
    assert rows[0].uid == uid
    assert (rows[1].uid != uid, rows[1].caption) == (True, "")


def test_a_row_too_many_is_dropped_and_the_next_shape_starts_blank():
    session = drawn(0)
    [uid] = session.uids("regions")
    rows = [*session.table("regions"), Row("", "stale")]
    assert session.observe("regions", [box(0)], rows)
    assert session.uids("regions") == [uid]


def test_rows_that_no_longer_follow_the_shapes_are_put_right():
    session = drawn(0, 20, 40)
    _first, second, third = session.uids("regions")
    for uid in session.uids("regions"):
        session.edit(uid, f"about {uid}")
    rows = session.table("regions")
    assert session.observe("regions", [box(20), box(40)], rows, replaced=True)
    assert [row.caption for row in session.table("regions")] == [
        f"about {second}",
        f"about {third}",
    ]


def test_fewer_shapes_given_at_once_keep_their_captions():
    session = drawn(0, 20, 40)
    _first, second, third = session.uids("regions")
    for uid in session.uids("regions"):
        session.edit(uid, f"about {uid}")
    rows = session.table("regions")[:2]
    session.observe("regions", [box(41), box(20)], rows, replaced=True)
    assert session.uids("regions") == [third, second]
    assert session.table("regions")[0].caption == f"about {third}"


def test_a_saved_layer_is_taken_over_with_its_captions():
    session = Session()
    rows = [
        Row("a", "by a model", 0.4, "model"),
        Row("b", "by a person", None, "human"),
        Row("c"),
    ]
    assert not session.observe("regions", [box(0), box(20), box(40)], rows)
    session.restart()
    assert [request.uid for request in ask_all(session)] == ["c"]


def test_text_in_a_row_without_uid_is_a_persons():
    session = Session()
    assert session.observe("regions", [box(0)], [Row("", "came along")])
    assert session.table("regions")[0].source == "human"


def test_both_layers_never_share_a_uid():
    session = drawn(0)
    row = session.table("regions")[0]
    session.observe("traces", [Seen("path", SQUARE)], [row])
    assert session.uids("traces") != session.uids("regions")


def test_a_group_is_captioned_again_when_a_member_moves_and_ends_with_it():
    session = drawn(0, 20)
    ask_all(session)
    group = session.group(session.uids("regions"))
    session.again([group.uid])
    [request] = ask_all(session)
    assert session.deliver(request, Caption("both", 0.5))
    session.observe("regions", [box(1), box(20)], session.table("regions"))
    assert {request.uid for request in ask_all(session)} == {group.uid, session.uids("regions")[0]}
    session.observe("regions", [box(1)], session.table("regions")[:1])
    assert group.uid not in session.records


def test_the_whole_image_has_a_caption_per_plane():
    session = Session()
    first, second = session.whole(Plane((1, 2), (0,))), session.whole(Plane((1, 2), (1,)))
    assert first is not second
    assert session.whole(Plane((1, 2), (0,))) is first


def test_requests_given_back_are_wanted_again():
    session = drawn(0)
    requests = ask_all(session)
    session.give_back(requests)
    assert ask_all(session) == requests


def test_a_problem_is_kept_and_cleared_by_the_next_move():
    session = drawn(0)
    [request] = ask_all(session)
    session.fail(request, "outside")
    assert session.records[request.uid].problem == "outside"
    session.observe("regions", [box(5)], session.table("regions"))
    assert session.records[request.uid].problem == ""


def test_extra_columns_travel_with_their_shape():
    session = Session()
    rows = [Row("a", extra={"class": "cat"}), Row("b", extra={"class": "dog"})]
    session.observe("regions", [box(0), box(20)], rows)
    session.observe("regions", [box(20)], rows[:1], replaced=True)
    assert session.table("regions")[0].extra == {"class": "dog"}


def answered(*places):
    session = drawn(*places)
    for request in ask_all(session):
        caption = Caption("a cat", 0.5, alternatives=("a dog", "a fox"))
        session.deliver(request, caption, "mini")
    return session, session.uids("regions")


def test_an_accepted_text_is_safe_from_models_and_moves():
    session, [uid] = answered(0)
    assert session.accept([uid]) == 0
    assert session.again([uid]) == 1
    session.restart(rewrite=True, model="other")
    session.observe("regions", [box(5)], session.table("regions"))
    assert ask_all(session) == []
    row = Row(uid, "a cat", 0.5, "model", "mini", True)
    assert same_row(session.table("regions")[0], row)


def test_there_is_nothing_to_accept_where_there_is_no_text():
    session = drawn(0)
    assert session.accept(session.uids("regions")) == 1
    assert not session.records[session.uids("regions")[0]].protected
    assert len(ask_all(session)) == 1


def test_a_rejected_text_is_not_asked_for_until_a_person_asks():
    session, uids = answered(0, 20)
    session.edit(uids[1], "mine")
    assert session.reject(uids) == 1
    session.restart(rewrite=True, model="other")
    assert ask_all(session) == []
    assert [row.caption for row in session.table("regions")] == ["", "mine"]
    session.again(uids)
    assert [request.uid for request in ask_all(session)] == uids[:1]


def test_a_rejected_shape_that_is_moved_is_asked_for():
    session, [uid] = answered(0)
    session.reject([uid])
    session.observe("regions", [box(5)], session.table("regions"))
    assert len(ask_all(session)) == 1


@pytest.mark.parametrize("action", ["reject", "accept", "lock"])
def test_an_answer_on_its_way_comes_too_late_for_what_was_judged(action):
    session, [uid] = answered(0)
    session.restart(rewrite=True)
    [request] = ask_all(session)
    getattr(session, action)([uid], *([True] if action == "lock" else []))
    assert not session.deliver(request, Caption("late", 0.9))
    assert "late" not in session.records[uid].caption


def test_a_locked_shape_stays_empty_until_it_is_unlocked():
    session = drawn(0)
    uids = session.uids("regions")
    session.lock(uids, True)
    session.restart()
    session.observe("regions", [box(9)], session.table("regions"))
    assert session.again(uids) == 1
    assert ask_all(session) == []
    session.lock(uids, False)
    assert session.again(uids) == 0
    assert len(ask_all(session)) == 1


def test_a_locked_text_is_not_rejected_but_may_be_edited():
    session, [uid] = answered(0)
    session.lock([uid], True)
    assert session.reject([uid]) == 1
    session.edit(uid, "a lynx")
    assert session.records[uid].caption == "a lynx"


def test_another_wording_changes_places_with_the_first():
    session, [uid] = answered(0)
    assert session.choose(uid, 1)
    record = session.records[uid]
    assert (record.caption, record.source, record.reviewed) == ("a fox", "model", True)
    assert record.details.alternatives == ("a dog", "a cat")
    assert session.choose(uid, 1)
    assert session.records[uid].caption == "a cat"
    assert not session.choose(uid, 2)
    assert not session.choose("nobody", 0)


def test_a_text_that_is_emptied_is_no_longer_accepted():
    session, [uid] = answered(0)
    session.accept([uid])
    session.edit(uid, "")
    assert not session.records[uid].protected


def test_a_tick_in_the_table_accepts():
    session, [uid] = answered(0)
    row = session.table("regions")[0]
    ticked = Row(uid, row.caption, row.score, row.source, row.model, True)
    session.observe("regions", [box(0)], [ticked])
    assert session.records[uid].protected


def test_missing_cells_are_no_edits():
    session, [uid] = answered(0)
    session.accept([uid])
    assert session.observe("regions", [box(0)], [Row(uid, None, reviewed=None)])
    assert session.table("regions")[0].caption == "a cat"
    assert session.records[uid].reviewed


def test_saved_reviews_are_taken_over():
    session = Session()
    saved = Row("a", "by a model", 0.4, "model", "mini", True)
    assert not session.observe("regions", [box(0)], [saved])
    assert session.records["a"].model == "mini"
    assert session.again(["a"]) == 1


def test_shapes_that_are_not_ours_are_not_undone_but_their_captions_are():
    session = Session()
    session.observe("points", [], [], foreign=True)
    session.observe("points", [box(0)], [Row()], foreign=True)
    [uid] = session.uids("points")
    session.edit(uid, "mine")
    session.observe("points", [box(0), box(9)], [*session.table("points"), Row()], foreign=True)
    assert session.undo() == "edit of 1 caption"
    assert session.undo() == ""
    assert len(session.uids("points")) == 2
    assert session.records[uid].caption == ""
    session.redo()
    assert session.records[uid].caption == "mine"


def test_what_is_asked_anew_while_it_is_written_is_one_step():
    session, [first, second] = answered(0, 40)
    before = [record.caption for record in session.records.values()]
    assert all(before)
    session.again([first, second])
    requests = ask_all(session)
    session.deliver(requests[0], Caption("a dog", 0.5))
    # Other options, before the second is written
    session.again([first, second])
    assert session.undo() == "writing of 2 captions"
    assert [record.caption for record in session.records.values()] == before
    assert session.redo() == "writing of 2 captions"
    for request in ask_all(session):
        session.deliver(request, Caption("a cow", 0.5))
    assert {record.caption for record in session.records.values()} == {"a cow"}
    # Once it is written, asking again is a step of its own.
    session.again([first])
    [request] = ask_all(session)
    session.deliver(request, Caption("a hen", 0.5))
    session.undo()
    assert session.records[first].caption == "a cow"
    session.undo()
    assert [record.caption for record in session.records.values()] == before
