"""The queue of captions to look at: its order, its steps, its end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.annotations import Record
from napari_patchioner.viewer.session.review import Review, doubtful
from napari_patchioner.viewer.session.session import Session

SCORES = st.one_of(st.none(), st.floats(0, 1))
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "caption": st.sampled_from(["", "a cat"]),
            "score": SCORES,
            "source": st.sampled_from(["model", "edited", "human"]),
            "reviewed": st.booleans(),
            "locked": st.booleans(),
        }
    ),
    max_size=12,
)


def session_of(*facts):
    session = Session()
    for place, given_facts in enumerate(facts):
        uid = chr(ord("a") + place)
        session.records[uid] = Record(uid, **given_facts)
    return session


def by_model(score, text="a cat"):
    return {"caption": text, "score": score, "source": "model" if text else ""}


def test_no_caption_first_then_the_lowest_score():
    session = session_of(by_model(0.9), by_model(0.2), by_model(None, ""), by_model(None))
    assert Review(session).uids == ("c", "b", "a", "d")


@given(RECORDS)
def test_nobodys_word_is_doubted(facts):
    records = list(session_of(*facts).records.values())
    queue = doubtful(records)
    assert {one.uid for one in queue} == {one.uid for one in records if not one.protected}
    empty = [not one.caption for one in queue]
    assert empty == sorted(empty, reverse=True)


@given(st.lists(SCORES, min_size=1, max_size=9), st.data())
def test_going_on_ends_and_going_back_does_not_fall_off(scores, data):
    review = Review(session_of(*map(by_model, scores)))
    for _ in range(data.draw(st.integers(0, 5))):
        review.back()
    assert (review.uid, review.position) == (review.uids[0], f"1 of {len(scores)}")
    seen = [review.uid]
    while review.forward():
        seen.append(review.uid)
    assert tuple(seen) == review.uids
    assert review.uid == ""


def test_deleted_regions_are_stepped_over_both_ways():
    session = session_of(*map(by_model, (0.1, 0.2, 0.3)))
    review = Review(session)
    del session.records["b"]
    assert review.forward() == "c"
    assert review.back() == "a"


def test_it_ends_with_a_sentence():
    session = session_of(*map(by_model, (0.1, 0.2, 0.3, 0.4)))
    review = Review(session)
    session.accept(["a"])
    session.edit("b", "my own")
    del session.records["c"]
    assert review.summary() == (
        "Reviewed 4 regions: 1 accepted, 1 written by you, 1 deleted, 1 left as they were."
    )


def test_nothing_to_review_is_said():
    review = Review(session_of({"caption": "mine", "source": "human"}))
    assert review.uid == ""
    assert review.summary() == "There is nothing to review: every caption is yours or accepted."
