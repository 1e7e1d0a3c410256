"""The list tells of rows that have changed and of no others, and is never behind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from qtpy.QtCore import Qt

from napari_patchioner.annotations import Plane, Seen
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.panels.regions import (
    COLUMNS,
    ONLY,
    PLANE,
    RegionFilter,
    RegionTableModel,
)
from napari_patchioner.viewer.session.session import Row, Session

SQUARE = np.array([[0.0, 0, 0], [0, 0, 9], [0, 9, 9], [0, 9, 0]])
ROLES = (
    Qt.ItemDataRole.DisplayRole,
    Qt.ItemDataRole.EditRole,
    Qt.ItemDataRole.ToolTipRole,
    Qt.ItemDataRole.FontRole,
)


def cells(model, row):
    return [
        [model.data(model.index(row, column), role) for role in ROLES]
        for column in range(len(COLUMNS))
    ]


class View:
    """Remembers what it was told to look at anew, as a table on the screen does."""

    def __init__(self, model):
        self.model = model
        self.resets = 0
        self.messaged = []
        model.modelReset.connect(self.on_reset)
        model.rowsInserted.connect(self.on_inserted)
        model.dataChanged.connect(self.on_changed)
        self.on_reset()

    def on_reset(self):
        self.resets += 1
        self.rows = [cells(self.model, row) for row in range(self.model.rowCount())]

    def on_inserted(self, _parent, first, last):
        assert first == len(self.rows)
        self.rows += [cells(self.model, row) for row in range(first, last + 1)]

    def on_changed(self, first, last):
        assert (first.column(), last.column()) == (0, len(COLUMNS) - 1)
        for row in range(first.row(), last.row() + 1):
            self.messaged.append(row)
            self.rows[row] = cells(self.model, row)


def drawn(count):
    """Return a session of boxes on a stack, its list, and who looks at that."""
    session = Session()
    shapes = [Seen("rectangle", SQUARE + np.array((0, place, place))) for place in range(count)]
    session.observe("regions", shapes, [Row()] * count)
    model = RegionTableModel()
    model.show_session(session, (1, 2))
    return session, model, View(model)


def move(session, number, step=(0, 1, 1)):
    shapes = session.shapes("regions")
    shapes[number] = Seen("rectangle", shapes[number].vertices + step)
    session.observe("regions", shapes, session.table("regions"))


@pytest.fixture(autouse=True)
def application(qapp):
    """Fonts and models need one."""


def test_only_changed_rows_are_told_of():
    session, model, view = drawn(6)
    for number in (1, 2, 4):
        session.edit(session.uids("regions")[number], "mine")
    model.refresh()
    assert (view.resets, view.messaged) == (1, [1, 2, 4])
    model.refresh()
    assert (view.resets, view.messaged) == (1, [1, 2, 4])


def test_rows_that_follow_each_other_are_told_of_at_once():
    session, model, _ = drawn(6)
    spans = []
    model.dataChanged.connect(lambda first, last: spans.append((first.row(), last.row())))
    for number in (0, 1, 2, 5):
        session.edit(session.uids("regions")[number], "mine")
    model.refresh()
    assert spans == [(0, 2), (5, 5)]


def test_who_has_a_caption_in_hand_makes_no_difference_to_the_list():
    session, model, view = drawn(3)
    session.take(lambda record: True)
    model.refresh()
    assert (view.resets, view.messaged) == (1, [])
    assert cells(model, 0)[1][0] == "waiting for the model"


def test_a_move_to_another_plane_is_told_of():
    session, model, view = drawn(3)
    move(session, 1, (4, 0, 0))
    model.refresh()
    assert (view.resets, view.messaged) == (1, [1])
    assert cells(model, 1)[PLANE][0] == "4"


def test_together_changes_plane_with_its_members():
    session, model, view = drawn(3)
    session.group(session.uids("regions")[:2])
    model.refresh()
    assert view.rows[3][PLANE][0] == "0"
    move(session, 0, (4, 0, 0))
    model.refresh()
    assert view.rows[3][PLANE][0] == "several"
    assert 3 in view.messaged


def test_fewer_rows_are_a_new_table_and_more_are_the_same_grown_longer():
    session, model, view = drawn(3)
    session.whole(Plane((1, 2), (0,)))
    model.refresh()
    assert (view.resets, len(view.rows)) == (1, 4)
    session.drop([record.uid for record in session.records.values() if record.subject == "image"])
    model.refresh()
    assert (view.resets, len(view.rows)) == (2, 3)


numbers = st.lists(st.integers(0, 30), max_size=3)


class Lists(RuleBasedStateMachine):
    """A list that lives on is worth as much as one made just now."""

    def __init__(self):
        super().__init__()
        self.session, self.model, self.view = drawn(3)
        self.axes = (1, 2)
        self.sorted = None
        self.count = 10

    def some(self, numbers):
        uids = list(self.session.records)
        return [uids[number % len(uids)] for number in numbers] if uids else []

    @rule()
    def draw(self):
        self.count += 1
        shapes = [*self.session.shapes("regions"), Seen("rectangle", SQUARE + self.count)]
        self.session.observe("regions", shapes, [*self.session.table("regions"), Row()])

    @precondition(lambda self: self.session.uids("regions"))
    @rule(number=st.integers(0, 30), away=st.booleans())
    def move(self, number, away):
        self.count += 1
        place = number % len(self.session.uids("regions"))
        move(self.session, place, (self.count % 5 if away else 0, 1, 1))

    @precondition(lambda self: self.session.uids("regions"))
    @rule(number=st.integers(0, 30))
    def delete(self, number):
        shapes, rows = self.session.shapes("regions"), self.session.table("regions")
        place = number % len(shapes)
        del shapes[place], rows[place]
        self.session.observe("regions", shapes, rows)

    @rule(numbers=numbers, action=st.sampled_from(["accept", "reject", "again", "group"]))
    def judge(self, numbers, action):
        getattr(self.session, action)(self.some(numbers))

    @rule(numbers=numbers, on=st.booleans())
    def lock(self, numbers, on):
        self.session.lock(self.some(numbers), on)

    @rule(numbers=numbers, text=st.sampled_from(["", "a", "b 10", "b 9"]))
    def edit(self, numbers, text):
        for uid in self.some(numbers):
            self.session.edit(uid, text)

    @rule(index=st.integers(0, 2))
    def whole(self, index):
        self.session.again([self.session.whole(Plane((1, 2), (index,))).uid])

    @rule(every=st.integers(1, 3), fail=st.booleans())
    def answer(self, every, fail):
        for number, request in enumerate(self.session.take(lambda record: True)):
            self.count += 1
            if number % every:
                self.session.give_back([request])
            elif fail:
                self.session.fail(request, f"no {self.count}")
            else:
                self.session.deliver(request, Caption(f"a {self.count}", self.count % 7 / 7), "m")

    @rule(back=st.booleans())
    def travel(self, back):
        self.session.undo() if back else self.session.redo()

    @rule(column=st.integers(-1, len(COLUMNS) - 1), order=st.sampled_from(list(Qt.SortOrder)))
    def sort(self, column, order):
        self.sorted = column, order
        self.model.sort(column, order)

    @rule(text=st.sampled_from(["", "a", "b"]), only=st.sampled_from(list(ONLY)))
    def search(self, text, only):
        self.model.filter = RegionFilter(text, only=only)

    @rule(axes=st.sampled_from([(1, 2), (0, 2)]))
    def turn(self, axes):
        self.axes = axes
        self.model.show_session(self.session, axes)

    @invariant()
    def what_is_shown_is_what_a_new_list_would_show(self):
        before, resets = [row[:] for row in self.view.rows], self.view.resets
        self.view.messaged.clear()
        self.model.refresh()
        anew = RegionTableModel()
        anew.filter = self.model.filter
        if self.sorted:
            anew.sort(*self.sorted)
        anew.show_session(self.session, self.axes)
        assert self.model.lines == anew.lines
        assert self.view.rows == [cells(anew, row) for row in range(anew.rowCount())]
        if self.view.resets == resets:
            differ = [row for row, old in enumerate(before) if old != self.view.rows[row]]
            assert set(differ) <= set(self.view.messaged)
        assert len(self.view.messaged) == len(set(self.view.messaged))


TestLists = Lists.TestCase
TestLists.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
