"""The steps of the work on one image, back and forth."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from napari_patchioner.annotations import Record

DEPTH = 200


@dataclass(frozen=True, eq=False, slots=True)
class Snapshot:
    """Everything as it was at some moment; snapshots share all records that did not change."""

    records: tuple[Record, ...] = ()
    # The uids on each layer, in the order of its shapes
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # What captions are made with, and a person has chosen; of any type that can be compared
    vocabulary: object = None
    # What a person has put aside, of any type that can be compared
    aside: tuple[object, ...] = ()

    def taken(
        self,
        records: Iterable[Record],
        order: Mapping[str, Iterable[str]],
        vocabulary: object = None,
        aside: tuple[object, ...] = (),
    ) -> Snapshot:
        """Return a snapshot of the records there are now; this one where it says the same."""
        uids = {layer: tuple(uids) for layer, uids in order.items()}
        shared = {k: self.order[k] if self.order.get(k) == v else v for k, v in uids.items()}
        made = Snapshot(tuple(records), shared, vocabulary, aside)
        return self if self.same(made) else made

    def same(self, other: Snapshot) -> bool:
        """Whether both say the same, down to the colours."""
        return (
            len(self.records) == len(other.records)
            and self.order == other.order
            and self.vocabulary == other.vocabulary
            and self.aside == other.aside
            and (
                all(map(operator.is_, self.records, other.records))
                or all(map(Record.same, self.records, other.records))
            )
        )

    def alike(self, other: Snapshot) -> bool:
        """Whether no step lies between both."""
        if not (
            len(self.records) == len(other.records)
            and self.order == other.order
            and self.vocabulary == other.vocabulary
            and self.aside == other.aside
        ):
            return False
        own = {record.uid: record for record in self.records}
        pairs = ((record, own.get(record.uid)) for record in other.records)
        return all(mine is its or (mine is not None and its.alike(mine)) for its, mine in pairs)

    def swapped(self, new: Mapping[Record, Record]) -> Snapshot:
        """Return this snapshot with new records in the place of old ones."""
        if new.keys().isdisjoint(self.records):
            return self
        return replace(self, records=tuple(new.get(record, record) for record in self.records))

    def without(self, layer: str) -> Snapshot:
        """Return this snapshot without the shapes of a layer and the groups they belong to."""
        gone = {record.uid for record in self.records if record.layer == layer}
        records = (r for r in self.records if r.uid not in gone and gone.isdisjoint(r.members))
        order = {k: v for k, v in self.order.items() if k != layer}
        return replace(self, records=tuple(records), order=order)

    def extended(self, layer: str, other: Snapshot) -> Snapshot:
        """Return this snapshot with what another one says of a layer, if it says nothing itself."""
        if layer in self.order:
            # It was deleted and made anew.
            return self
        new = tuple(record for record in other.records if record.layer == layer)
        order = {**self.order, layer: other.order[layer]}
        return replace(self, records=self.records + new, order=order)


class History:
    """What was done to shapes, texts and marks, and what it led to; `depth` steps can be undone."""

    def __init__(self, depth: int = DEPTH) -> None:
        self.depth = depth
        # Each state with what was done to get there
        self._steps = [(Snapshot(), "")]
        self._position = 0
        self._key: object = None

    @property
    def now(self) -> Snapshot:
        """The state of the newest step that is not undone."""
        return self._steps[self._position][0]

    def push(self, state: Snapshot, label: str, key: object = None) -> bool:
        """Take a new state as a step, named by a noun; return whether anything is new.

        Steps of the same `key` that follow each other are the same step, until `seal`.
        """
        if state.alike(self.now):
            return self.amend(state)
        before = self._position - 1
        if before >= 0 and self.now.alike(self._steps[before][0]):
            # Nothing is left of the newest step: all it wanted is wanted anew.
            self._steps[before] = self.now, self._steps[before][1]
            del self._steps[self._position]
            self._position = before
            self.seal()
        joined = key is not None and key == self._key and self._position == len(self._steps) - 1
        del self._steps[self._position + 1 :]
        if joined:
            self._steps[-1] = state, self._steps[-1][1]
        else:
            self._steps.append((state, label))
        if joined and state.alike(self._steps[-2][0]):
            del self._steps[-1]
            key = None
        del self._steps[: -self.depth - 1]
        self._position, self._key = len(self._steps) - 1, key
        return True

    def seal(self) -> None:
        """Let whatever comes next be a step of its own."""
        self._key = None

    def amend(self, state: Snapshot) -> bool:
        """Take a new state as a part of the newest step; return whether anything is new."""
        if state.same(self.now):
            return False
        # What it changes is changed in all neighbouring states that share it: an answer of a model
        # belongs to the step that asked for it, and to all that came after.
        new = {record.uid: record for record in state.records}
        changed = {
            record: new[record.uid]
            for record in self.now.records
            if new.get(record.uid, record) is not record
        }
        later = range(self._position + 1, len(self._steps))
        for positions in (range(self._position - 1, -1, -1), later):
            for position in positions:
                before, label = self._steps[position]
                swapped = before.swapped(changed)
                if swapped is before:
                    break
                self._steps[position] = swapped, label
        self._steps[self._position] = state, self._steps[self._position][1]
        return True

    def adopt(self, answers: Mapping[str, tuple[Record, Record]]) -> None:
        """Let records, by uid as they were and are, be so in all steps back to where they differed.

        What they say is the same, and how it came about is no step.
        """
        for position in range(self._position - 1, -1, -1):
            state, label = self._steps[position]
            asked = ((r, answers[r.uid]) for r in state.records if r.uid in answers)
            same = {r: now for r, (before, now) in asked if r.left().alike(before.left())}
            if not same:
                break
            self._steps[position] = state.swapped(same), label

    def answered(self, uids: Collection[str]) -> None:
        """Note that what was wanted of records so far is wanted of the next step instead."""
        left = (record.left() if record.uid in uids else record for record in self.now.records)
        self.amend(replace(self.now, records=tuple(left)))

    def rebase(self, change: Callable[[Snapshot], Snapshot]) -> None:
        """Change all states: what came or went with a layer is no step of anybody."""
        self._steps = [(change(state), label) for state, label in self._steps]

    def clear(self) -> None:
        """Begin anew with the state of now."""
        self._steps, self._position = [(self.now, "")], 0
        self.seal()

    def back(self) -> str:
        """Go back one step and return what it was; empty where there is none."""
        return self._go(range(self._position - 1, -1, -1), 1)

    def forward(self) -> str:
        """Go forward one step and return what it was; empty where there is none."""
        return self._go(range(self._position + 1, len(self._steps)), 0)

    def _go(self, positions: Iterable[int], named_by: int) -> str:
        """Go to the next state that a step lies before, named by it or by the one after it."""
        for position in positions:
            before, self._position = self.now, position
            self.seal()
            if not self.now.alike(before):
                return self._steps[position + named_by][1]
        return ""
