"""Records never change: the same object says what it said before."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from napari_patchioner.annotations.project.file import read_project, write_project
from napari_patchioner.annotations.project.records import (
    Appearance,
    Plane,
    Project,
    ProjectImage,
    Record,
    Seen,
    TaughtName,
    server_host,
)
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.panels.main import verdict_line
from napari_patchioner.viewer.panels.regions import line_of
from napari_patchioner.viewer.project.restore import Snapshots
from napari_patchioner.viewer.session.session import Row, Session

SQUARE = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])
# Something else for each field that may change.
OTHER = {
    "uid": "b",
    "fingerprint": "else",
    "caption": "else",
    "score": 0.25,
    "source": "human",
    "model": "else",
    "details": Caption("else", 0.5),
    "problem": "else",
    "layer": "else",
    "seen": Seen("rectangle", SQUARE),
    "members": ("b", "c"),
    "plane": Plane((0, 1), (2,)),
    "wanted": True,
    "reviewed": True,
    "locked": True,
    "rejected": True,
    "origin": {"grid": "else"},
    "outlined": {"clicks": [[1.0, 2.0]]},
    "example": False,
    "example_name": "else",
    "extra": {"kind": "else"},
}
# What no session changes.
KEPT = {"image", "region", "written", "newer"}


def captioned():
    details = Caption("a cat", 0.5, alternatives=("a dog", "a cow"))
    return Record(
        "a", caption="a cat", score=0.5, source="model", model="mini", details=details, problem="p"
    )


def test_there_is_something_else_for_every_field():
    assert OTHER.keys() | KEPT == {field.name for field in fields(Record)}


@pytest.mark.parametrize("name", sorted(OTHER))
def test_the_history_takes_every_change_for_one(name):
    record, other = Record("a"), replace(Record("a"), **{name: OTHER[name]})
    assert record.same(Record("a"))
    assert not record.same(other)
    assert not other.same(record)
    assert record.alike(other) == (name == "extra")


def test_another_look_is_another_record_but_no_step():
    looks = [Appearance(1.0, (0.0, 0.0, 0.0, 1.0), (0.0,) * 4, z) for z in (0, 1)]
    one, other = (Record("a", seen=Seen("rectangle", SQUARE, appearance=look)) for look in looks)
    assert one.alike(other)
    assert not one.same(other)


@pytest.mark.parametrize(
    ("action", "values"),
    [
        ("asked", {"wanted": True}),
        ("left", {"wanted": False}),
        ("blanked", {"caption": "", "problem": "", "details": None}),
        ("emptied", {"caption": "", "score": None, "source": "", "model": ""}),
        (
            "with_text",
            {"caption": "mine", "score": None, "source": "edited", "model": "mini", "problem": ""},
        ),
        ("chosen", {"caption": "a cow", "score": None, "source": "model", "reviewed": True}),
    ],
)
def test_what_is_done_to_a_record_makes_another_and_leaves_the_first(action, values):
    record = replace(captioned(), wanted=action == "left")
    arguments = {"with_text": ["mine"], "chosen": [1]}.get(action, [])
    changed = getattr(record, action)(*arguments)
    assert not changed.same(record)
    assert {name: getattr(changed, name) for name in values} == values
    assert line_of(changed) != line_of(record)
    assert record.same(replace(captioned(), wanted=record.wanted, details=record.details))


def test_what_the_model_wrote_is_the_models_again_when_it_is_typed_again():
    record = replace(captioned(), problem="", reviewed=True)
    assert record.with_text("a cat zzz").with_text("a cat").same(record)
    other = record.chosen(0)
    back = other.with_text("a dog zzz").with_text("a dog")
    assert (back.source, back.score) == ("model", None), "the score was that of the first one"
    for text in ("a cow", ""):
        assert record.with_text(text).with_text("a fox").source in ("edited", "human")


def test_records_are_the_same_thing_only_if_they_are_one():
    record = captioned()
    assert record == record
    assert record != replace(record)
    assert len({record, replace(record)}) == 2
    assert record.same(replace(record))


class Followers(RuleBasedStateMachine):
    """Whoever goes by identity knows as much as whoever compares everything."""

    def __init__(self):
        super().__init__()
        self.session = Session()
        self.session.observe("regions", [], [])
        self.saved = Snapshots(self.session)
        self.lines = {}
        self.count = 0

    def some(self, numbers):
        uids = list(self.session.records)
        return {uids[number % len(uids)] for number in numbers} if uids else set()

    @rule(many=st.integers(1, 2))
    def draw(self, many):
        shapes = self.session.shapes("regions")
        for _ in range(many):
            self.count += 1
            shapes.append(Seen("rectangle", SQUARE + self.count))
        rows = [*self.session.table("regions"), *[Row()] * many]
        self.session.observe("regions", shapes, rows)

    @precondition(lambda self: self.session.uids("regions"))
    @rule(number=st.integers(0, 20), how=st.sampled_from(["move", "paint", "drop", "columns"]))
    def handle(self, number, how):
        shapes, rows = self.session.shapes("regions"), self.session.table("regions")
        place = number % len(shapes)
        self.count += 1
        one, row = shapes[place], rows[place]
        if how == "move":
            shapes[place] = Seen("rectangle", SQUARE + self.count)
        elif how == "paint":
            look = Appearance(1.0, (0.0,) * 4, (0.0,) * 4, self.count)
            shapes[place] = Seen("rectangle", one.vertices, appearance=look)
        elif how == "drop":
            del shapes[place], rows[place]
        else:
            extra = {"theirs": self.count}
            rows[place] = Row(row.uid, row.caption, row.score, row.source, extra=extra)
        self.session.observe("regions", shapes, rows)

    @rule(numbers=st.lists(st.integers(0, 20), max_size=3), on=st.booleans())
    def judge(self, numbers, on):
        self.session.accept(self.some(numbers)) if on else self.session.reject(self.some(numbers))

    @rule(numbers=st.lists(st.integers(0, 20), max_size=3), on=st.booleans())
    def lock(self, numbers, on):
        self.session.lock(self.some(numbers), on)

    @rule(numbers=st.lists(st.integers(0, 20), max_size=3))
    def ask(self, numbers):
        self.session.again(self.some(numbers))
        if record := self.session.group(self.some(numbers)):
            self.session.again([record.uid])

    @rule(numbers=st.lists(st.integers(0, 20), min_size=1, max_size=1), text=st.sampled_from("ab"))
    def edit(self, numbers, text):
        for uid in self.some(numbers):
            self.session.edit(uid, text)

    @rule(fail=st.booleans())
    def answer(self, fail):
        for request in self.session.take(lambda record: True):
            self.count += 1
            if fail:
                self.session.fail(request, f"no {self.count}")
            else:
                caption = Caption(f"text {self.count}", 0.5, alternatives=("a", "b"))
                self.session.deliver(request, caption, "m", {"grid": self.count})

    @rule(rewrite=st.booleans())
    def restart(self, rewrite):
        self.session.restart(rewrite=rewrite)

    @rule(back=st.booleans())
    def travel(self, back):
        self.session.undo() if back else self.session.redo()

    @invariant()
    def a_record_says_what_it_said(self):
        records = self.session.records
        for uid, record in records.items():
            known, line, said = self.lines.get(uid, (None, None, None))
            if known is record:
                assert (line, said) == (line_of(record), repr(record))
            self.lines[uid] = record, line_of(record), repr(record)

    @invariant()
    def the_file_says_what_the_session_says(self):
        known, anew = self.saved.take({"regions"}), Snapshots(self.session).take({"regions"})
        assert known == anew


TestFollowers = Followers.TestCase
TestFollowers.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_a_reworded_caption_keeps_what_the_model_said_first():
    once = captioned().reworded("a black cat", 0.8, "told apart from 2 others", {"others": 2})
    assert (once.caption, once.score, once.source) == ("a black cat", 0.8, "model")
    assert once.alternatives == ("a cat", "a dog", "a cow")
    assert once.reworded_by == "told apart from 2 others"
    assert once.origin["reworded"]["others"] == 2
    twice = once.reworded("the left cat", None, "with its place")
    assert (twice.alternatives, twice.score) == (("a cat", "a dog", "a cow"), None)
    assert verdict_line(once) == "By the model mini, told apart from 2 others, score 0.80"
    assert line_of(once).author == "model, told apart from 2 others"
    back = once.chosen(0)
    assert (back.caption, back.reworded_by) == ("a cat", "")
    assert back.alternatives[0] == "a black cat"


@pytest.mark.parametrize(
    "state",
    [
        {"source": "human"},
        {"source": "edited"},
        {"reviewed": True},
        {"locked": True},
        {"rejected": True},
    ],
)
def test_what_a_person_has_decided_is_not_reworded(state):
    record = replace(captioned(), **state)
    assert record.reworded("a black cat", 0.8, "told apart from 2 others") is record
    session = Session()
    session.records = {"a": record}
    assert session.reword("rewording", {"a": ("a black cat", 0.8, "told apart", {})}) == ["a"]
    assert session.records["a"] is record


def test_a_taught_name_stays_taught_in_other_words():
    taught = captioned().named(TaughtName("tom", 0.9, 5, "digest"), "mini")
    said = taught.reworded("the largest tom", 0.9, "with its place")
    assert (said.source, said.taught_name.name, said.details.text) == ("taught", "tom", "a cat")
    assert said.alternatives == ("a cat", "tom", "a dog", "a cow")
    assert said.named(TaughtName("tom", 0.95, 6, "other"), "mini").caption == "the largest tom"
    assert said.named(TaughtName("kit", 0.95, 6, "other"), "mini").caption == "kit"
    assert said.unnamed().caption == "a cat"


@pytest.mark.parametrize("source", ["human", "edited"])
def test_a_person_takes_a_suggestion_and_gets_their_own_words_back(source):
    details = captioned().details if source == "edited" else None
    theirs = replace(captioned(), caption="my tom", source=source, score=None, details=details)
    offered = theirs.suggested(["my black tom", "my tom"])
    assert (offered.caption, offered.source) == ("my tom", source)
    assert offered.alternatives[0] == "my black tom"
    taken = offered.chosen(0)
    assert (taken.caption, taken.source, taken.alternatives[0]) == (
        "my black tom",
        "edited",
        "my tom",
    )
    assert taken.chosen(0).caption == "my tom"
    assert taken.chosen(0).is_human
    assert taken.suggested_by == ""
    checked = theirs.suggested(["a tom", "my black tom"], "a check")
    assert checked.suggested_by == ""
    assert [checked.chosen(n).suggested_by for n in (0, 1)] == ["a check"] * 2
    assert checked.chosen(0).with_text("a cat").suggested_by == ""


def test_what_is_suggested_anew_replaces_what_nobody_took():
    theirs = replace(captioned(), caption="my tom", source="edited", score=None)
    others = theirs.alternatives
    first = theirs.suggested(["a tom", others[0]], "a check")
    assert first.alternatives == ("a tom", *others)
    second = first.suggested(["my black tom"], "a check")
    # What the model offers as well is still there.
    assert second.alternatives == ("my black tom", *others)
    assert second.suggested([], "a check").alternatives == others
    assert second.suggested([], "a check").suggested_by == ""
    taken = second.chosen(0)
    again = taken.suggested(["a fine tom"], "a check")
    assert again.alternatives == ("a fine tom", "my tom", *others)
    assert again.suggested_by == "a check"
    # What was taken once is not thrown away when something else is taken.
    assert again.chosen(0).suggested(["a tom"], "a check").alternatives[:2] == (
        *("a tom", "my black tom"),
    )
    assert theirs.suggested([], "a check") is theirs
    assert first.suggested(["a black cat"], "").alternatives == ("a black cat", "a tom", *others)


def test_rewording_and_suggesting_are_each_one_step():
    session = Session()
    with session.step("drawing"):
        session.records = {"a": captioned(), "b": replace(captioned(), uid="b")}
    texts = {uid: (f"black cat {uid}", 0.8, "told apart from 1 other", {}) for uid in "ab"}
    assert session.reword("rewording of 2 captions", texts) == []
    assert session.undo() == "rewording of 2 captions"
    assert {r.caption for r in session.records.values()} == {"a cat"}
    assert session.redo()
    session.suggest("suggestion for 1 caption", {"a": ["a tabby"]})
    assert session.records["a"].alternatives[0] == "a tabby"
    assert session.undo() == "suggestion for 1 caption"
    assert session.records["a"].alternatives[0] == "a cat"


ORIGIN = {"server": {"host": "127.0.0.1:8080", "model": "llava", "prompt": "What is it?"}}


def test_a_description_is_the_servers_and_keeps_what_the_model_said():
    said = captioned().described("a black cat on a sofa", "llava", ORIGIN)
    assert (said.caption, said.source, said.model, said.score) == (
        "a black cat on a sofa",
        "model",
        "llava",
        None,
    )
    assert said.alternatives == ("a cat", "a dog", "a cow")
    assert (said.server_host, said.reviewed) == ("127.0.0.1:8080", False)
    assert verdict_line(said) == "By the model llava on 127.0.0.1:8080"
    assert said.described("a cat", "llava", ORIGIN, accepted=True).reviewed
    # Examples do not take the place of what a person has asked for.
    assert said.named(TaughtName("tom", 0.9, 5, "digest"), "mini") is said
    assert captioned().described("", "llava", ORIGIN).caption == "a cat"


@pytest.mark.parametrize(
    "state",
    [{"source": "human"}, {"source": "edited"}, {"reviewed": True}, {"locked": True}],
)
def test_what_a_person_has_decided_is_only_offered_a_description(state):
    session = Session()
    session.records = {"a": replace(captioned(), **state)}
    assert session.describe("description", {"a": "a tom"}, "llava", ORIGIN) == ["a"]
    record = session.records["a"]
    assert (record.caption, record.alternatives[0]) == ("a cat", "a tom")


@pytest.mark.parametrize("state", [{}, {"source": "human", "caption": "my tom", "model": ""}])
def test_a_wording_that_is_chosen_is_of_whoever_made_it(state, tmp_path):
    own = replace(captioned(), origin={"grid": "g"}, **state)
    session = Session()
    session.records = {"a": replace(own, seen=Seen("rectangle", SQUARE), layer="regions")}
    session.describe("description", {"a": "a black cat"}, "llava", ORIGIN)
    if state:
        # It is offered only, and a person's text it takes the place of.
        session.choose("a", 0)
    said = session.records["a"]
    assert (said.caption, said.model, said.origin["server"]) == (
        "a black cat",
        "llava",
        ORIGIN["server"],
    )
    path = tmp_path / "saved.json"
    write_project(path, Project(ProjectImage("image", (9, 9), "uint8"), (said,)))
    [said] = read_project(path).records
    taken = said.chosen(said.alternatives.index("a dog"))
    assert (taken.caption, taken.reviewed) == ("a dog", True)
    if not state:
        assert (taken.model, taken.server_host, taken.origin["grid"]) == ("mini", "", "g")
        assert verdict_line(taken) == "By the model mini, accepted"
    back = taken.chosen(taken.alternatives.index("a black cat"))
    assert (back.model, server_host(back.origin)) == ("llava", "127.0.0.1:8080")
    again = back.chosen(back.alternatives.index("a dog"))
    assert (again.model, server_host(again.origin)) == (taken.model, "")
    if state:
        mine = back.chosen(back.alternatives.index("my tom"))
        assert (mine.source, mine.model) == ("human", "")


def test_what_another_model_says_in_other_words_is_its_own():
    said = captioned().described("a black cat", "llava", ORIGIN)
    put = said.reworded("a cat", None, "ranked", {"model": "mini"})
    assert (put.model, put.server_host) == ("mini", "")
    new = said.reworded("a tom", None, "told apart", {"model": "mini"})
    assert (new.model, new.server_host) == ("mini", "")
    longer = said.reworded("a black cat, on the left", None, "told apart", {"model": "mini"})
    assert (longer.model, longer.server_host) == ("llava", "127.0.0.1:8080")
    for record in (put, new):
        back = record.chosen(record.alternatives.index("a black cat"))
        assert (back.model, back.server_host) == ("llava", "127.0.0.1:8080")


@pytest.mark.parametrize("wordings", [1, [1], [{"texts": "a dog"}], [{"texts": ["a dog"]}]])
def test_makers_that_make_no_sense_are_left_out(wordings):
    record = replace(captioned(), origin={"wordings": wordings})
    assert record.chosen(0).model == "mini"


def test_what_was_asked_for_stays_with_a_shape_that_is_moved_and_is_outdated():
    record = replace(captioned(), fingerprint="here")
    described = record.described("a black cat", "llava", ORIGIN)
    for said in (described, record.reworded("a tabby", 0.4, "told apart from 1 other")):
        moved = said.about("there")
        assert (moved.caption, moved.model, moved.wanted) == (said.caption, said.model, False)
        assert moved.alternatives == said.alternatives
        assert moved.is_outdated
        assert "outdated" in verdict_line(moved)
        assert "outdated" in line_of(moved).author
        assert not moved.about("elsewhere").about("here").is_outdated
        assert not moved.described("a tom", "llava", ORIGIN).is_outdated
    # What nobody has asked for is made anew.
    assert record.about("there").wanted


def test_another_model_leaves_a_description():
    session = Session()
    session.records = {
        "a": captioned().described("a tom", "llava", ORIGIN),
        "b": replace(captioned(), uid="b"),
    }
    session.restart(rewrite=True, model="mini")
    assert not session.records["a"].wanted
    assert session.records["b"].wanted


@pytest.mark.parametrize(
    ("outlined", "clicks", "said"),
    [
        ({}, ([], []), ""),
        ({"clicks": [[1, 2.5]]}, ([(1.0, 2.5)], []), "grown from 1 click"),
        (
            {"clicks": [[1, 2], [3, 4]], "negative": [[5, 6]]},
            ([(1, 2), (3, 4)], [(5, 6)]),
            "grown from 3 clicks",
        ),
        ({"proposed": 0.4}, ([], []), "proposed"),
        # As somebody else may have written it
        ({"clicks": "many"}, ([], []), ""),
        ({"clicks": [[1, 2, 3]]}, ([], []), ""),
        ({"clicks": [["a", True]]}, ([], []), ""),
    ],
)
def test_how_an_outline_came_about_is_said(outlined, clicks, said):
    record = Record("a", outlined=outlined, origin={"grid": "g"})
    assert record.clicks == clicks
    assert record.outlined_by == said
    assert record.made_from == {"grid": "g", **({"outlined": outlined} if outlined else {})}
    assert record.grown_size == 0
    assert replace(record, outlined={**outlined, "size": -2}).grown_size == -2
    assert replace(record, outlined={**outlined, "size": "x"}).grown_size == 0
    # It is about the region, and not about its text.
    assert record.emptied().outlined == record.with_text("mine").outlined == outlined
