"""A stamp that was there before says what it said then."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.panels.regions import line_of
from napari_patchioner.viewer.project.snapshot import Snapshots
from napari_patchioner.viewer.session.record import Appearance, Plane, Record, Row, Seen
from napari_patchioner.viewer.session.session import Session

SQUARE = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])
# Something else for each field that may change.
OTHER = {
    "uid": "b",
    "kind": "group",
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
    "asked": True,
    "reviewed": True,
    "locked": True,
    "rejected": True,
    "origin": {"grid": "else"},
    "extras": {"kind": "else"},
}


def captioned():
    details = Caption("a cat", 0.5, alternatives=("a dog", "a cow"))
    return Record(
        "a", caption="a cat", score=0.5, source="model", model="mini", details=details, problem="p"
    )


def fresh_row(record):
    return Row(
        record.uid,
        record.caption,
        record.score,
        record.source,
        record.model,
        record.reviewed,
        record.extras,
    )


def test_there_is_something_else_for_every_field():
    assert OTHER.keys() == {one.name for one in fields(Record) if one.init}


@pytest.mark.parametrize("name", OTHER)
def test_every_change_gives_a_stamp_never_seen_before(name):
    record = Record("a")
    seen = {record.stamp}
    before = getattr(record, name)
    for value in (OTHER[name], before, OTHER[name]):
        setattr(record, name, value)
        assert record.stamp not in seen
        seen.add(record.stamp)
    setattr(record, name, OTHER[name])
    assert record.stamp in seen


@pytest.mark.parametrize("name", sorted(OTHER.keys() - {"asked", "kind"}))
def test_the_history_takes_every_change_for_one(name):
    record, other = Record("a"), Record("a")
    assert record.same(other)
    setattr(other, name, OTHER[name])
    assert not record.same(other)
    assert not other.same(record)
    assert record.alike(other) == (name == "extras")


def test_another_look_is_another_record_but_no_step():
    looks = [Appearance(1.0, (0.0, 0.0, 0.0, 1.0), (0.0,) * 4, z) for z in (0, 1)]
    one, other = (Record("a", seen=Seen("rectangle", SQUARE, appearance=look)) for look in looks)
    assert one.alike(other)
    assert not one.same(other)


DEEDS = {
    "want": lambda record: record.want(),
    "leave": lambda record: record.leave(),
    "blank": lambda record: record.blank(),
    "empty": lambda record: record.empty(),
    "write": lambda record: record.write("mine"),
    "choose": lambda record: record.choose(1),
}


@pytest.mark.parametrize("action", DEEDS)
def test_what_is_done_to_a_record_shows_in_its_row_and_line(action):
    record = captioned()
    record.wanted = action == "leave"
    row, line, stamp = record.row, line_of(record), record.stamp
    DEEDS[action](record)
    assert record.stamp != stamp
    assert record.row == fresh_row(record)
    assert (record.row, line_of(record)) != (row, line)


def test_a_copy_for_the_history_lives_on_its_own():
    record = captioned()
    kept = record.frozen()
    stamp = kept.stamp
    assert kept.stamp == record.stamp
    record.write("mine")
    assert (kept.caption, kept.stamp, kept.row.caption) == ("a cat", stamp, "a cat")
    assert kept.stamp != record.stamp
    assert not kept.same(record)


def test_what_comes_back_is_nothing_anybody_has_seen():
    record = captioned()
    back = record.frozen().thawed()
    assert back.stamp != record.stamp
    assert back.same(record)
    assert back.row == record.row


class Followers(RuleBasedStateMachine):
    """Whoever goes by stamps knows as much as whoever looks at everything."""

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
            extras = {"theirs": self.count}
            rows[place] = Row(row.uid, row.caption, row.score, row.source, extras=extras)
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
    def who_goes_by_stamps_knows_everything(self):
        records = self.session.records
        for uid, record in records.items():
            stamp, line, row = self.lines.get(uid, (0, None, None))
            if stamp == record.stamp:
                assert (line, row) == (line_of(record), fresh_row(record))
            self.lines[uid] = record.stamp, line_of(record), fresh_row(record)
            assert record.row == fresh_row(record)

    @invariant()
    def the_file_says_what_a_first_look_would_say(self):
        known, anew = self.saved.take({"regions"}), Snapshots(self.session).take({"regions"})
        assert [str(one) for one in known] == [str(one) for one in anew]


TestFollowers = Followers.TestCase
TestFollowers.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
