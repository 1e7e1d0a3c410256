"""Which regions are listed, in which order and in which words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.annotations import Plane, Record, Seen
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.panels.regions import (
    FilterError,
    RegionFilter,
    line_of,
    low_bar,
    ordered,
)

RECORDS = [
    Record("a", caption="A cat", score=0.9, source="model"),
    Record("b", caption="a dog", score=0.1, source="model", reviewed=True),
    Record("c"),
    Record("d", caption="two cats (mine)", source="human"),
    Record(
        "e",
        caption="a rat",
        source="edited",
        locked=True,
        details=Caption("a bat", 0.5, familiarity=0.001),
    ),
]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({}, "abcde"),
        ({"text": "CAT"}, "ad"),
        ({"text": "(mine"}, "d"),
        ({"text": "^a (c|r)at$", "pattern": True}, "ae"),
        ({"only": "Without a caption"}, "c"),
        ({"only": "Written by a person"}, "de"),
        ({"only": "Written by the model"}, "ab"),
        ({"only": "Low score"}, "b"),
        ({"only": "Not reviewed"}, "acde"),
        ({"only": "Locked"}, "e"),
        ({"only": "Unlike what the model knows"}, "e"),
        ({"text": "cat", "only": "Written by the model"}, "a"),
    ],
)
def test_only_what_is_asked_for_is_kept_in_its_order(asked, kept):
    assert RegionFilter(**asked).keep(RECORDS) == list(kept)


def test_a_bad_expression_is_told_where_it_goes_wrong():
    with pytest.raises(FilterError, match=r"No regular expression: .* at character 2\."):
        RegionFilter("a(", pattern=True)


@given(st.text(max_size=6), st.text(max_size=12))
def test_plain_text_is_never_taken_for_an_expression(text, caption):
    kept = RegionFilter(text).keep([Record("a", caption=caption)])
    assert bool(kept) == (text.casefold() in caption.casefold())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True))
def test_low_is_about_a_quarter(scores):
    records = [Record(str(place), score=s, source="model") for place, s in enumerate(scores)]
    assert sum(score <= low_bar(records) for score in scores) == math.ceil(len(scores) / 4)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=20), st.booleans())
def test_those_without_a_score_come_last_either_way(scores, descending):
    lines = [line_of(Record(str(place), score=score)) for place, score in enumerate(scores)]
    found = [line.score for line in ordered(lines, "score", descending=descending)]
    known = [score for score in found if score == score]
    assert known == sorted(known, reverse=descending)
    assert all(score != score for score in found[len(known) :])


def test_planes_are_sorted_by_number():
    lines = [line_of(Record(str(place)), plane) for place, plane in enumerate(["10", "9", "10, 2"])]
    assert [line.plane for line in ordered(lines, "plane")] == ["9", "10", "10, 2"]


def test_equals_stay_in_the_order_of_drawing():
    lines = [line_of(record) for record in RECORDS]
    assert ordered(lines, "") == lines
    same = [line_of(Record(uid, score=0.5)) for uid in "xyz"]
    assert [line.uid for line in ordered(same, "score")] == ["x", "y", "z"]
    assert [line.uid for line in ordered(same, "score", descending=True)] == ["x", "y", "z"]


def test_kinds_are_said_in_words():
    box = Record("a", seen=Seen("rectangle", np.zeros((4, 2))))
    assert line_of(box).kind == "box"
    assert line_of(Record("b", members=("a", "c"))).kind == "2 together"
    assert line_of(Record("c", plane=Plane())).kind == "whole image"
