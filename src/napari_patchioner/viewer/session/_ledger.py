"""The captions of one image, and how every change of them becomes a step."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from .history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from .history import Snapshot
    from .record import Record
    from .seen import Seen


class Waiting(Protocol):
    """Saved captions of layers that are not ours, until their regions are seen again."""

    def name(
        self, layer: str, shapes: Sequence[Seen], names: Sequence[str | None]
    ) -> list[str | None]:
        """Return the uid of each shape, those that were saved among the nameless ones too."""

    def fill(self, record: Record) -> None:
        """Give a record what was saved of it."""

    def leave(self, layer: str) -> None:
        """Remember the captions of a layer, which is about to go."""


class Ledger:
    """All records by uid, with the steps that led to them.

    Attributes
    ----------
    generation : int
        Grows with each reading of the image; answers to older requests are dropped.
    records : dict of str to Record
        Every caption by uid.
    history : History
        The steps, which only `undo` and `redo` should walk.
    changed : list of callable
        Called with nothing after anything has changed.
    waiting : Waiting, optional
        Asked about every region that is new on a layer of other people's making.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.records: dict[str, Record] = {}
        self.history = History()
        self.changed: list[Callable[[], None]] = []
        self.waiting: Waiting | None = None
        self._order: dict[str, list[str]] = {}
        self._stepping = False
        self._together = False
        # Layers whose shapes are not ours to bring back; only their captions are.
        self._foreign: set[str] = set()
        # Such layers that a person has deleted; a step back brings them back as a whole.
        self._away: set[str] = set()

    @contextmanager
    def step(self, label: str, key: object = None) -> Iterator[None]:
        """Make one step of all that happens inside; an outer step takes in the inner ones.

        Parameters
        ----------
        label : str
            What is done, as a noun: "move of 2 shapes".
        key : object, optional
            Steps of the same key that follow each other are one: letters typed into a text.
        """
        if self._stepping:
            yield
            return
        self.amend()
        self._stepping = True
        try:
            yield
        finally:
            self._stepping = False
            self.history.push(self._state(), label, key)
            self.tell()

    def amend(self) -> bool:
        """Let what has happened since the newest step be a part of it."""
        return not self._stepping and self.history.amend(self._state())

    def undo(self) -> str:
        """Take back the newest step; return what it was, empty where there is none.

        The layers still show the shapes as they were: `travel` brings both back in step.
        """
        return self._walk(self.history.back)

    def redo(self) -> str:
        """Do again what was taken back last; return what it was, empty where there is none."""
        return self._walk(self.history.forward)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Tell once of all that happens inside, which is no step of its own."""
        self._together, outer = True, self._together
        try:
            yield
        finally:
            self._together = outer
            self.tell()

    def start_history(self) -> None:
        """Begin the history here: what is there now was opened, not done."""
        self.amend()
        self.history.clear()

    def uids(self, layer: str) -> list[str]:
        """Return the uids of a layer's shapes, in the order of the shapes."""
        return list(self._order.get(layer, []))

    def holds(self, layer: str) -> bool:
        """Whether the shapes of a layer are known, if it has none."""
        return layer in self._order

    def is_away(self, layer: str) -> bool:
        """Whether a layer of other people's making was deleted by a person, as a step."""
        return layer in self._away

    def tell(self) -> None:
        """Tell everybody who listens that something has changed."""
        if not self._stepping and not self._together:
            for listener in list(self.changed):
                listener()

    def _state(self) -> Snapshot:
        return self.history.now.taken(self.records.values(), self._order)

    def _walk(self, go: Callable[[], str]) -> str:
        """Go to the next state that differs from how things are; return the step between.

        What was done to a region of other people's making may be without effect by now.
        """
        self.amend()
        here = self.history.now
        while label := go():
            self._restore()
            if not self._state().alike(here):
                break
            self.amend()
        return label

    def _restore(self) -> None:
        """Take over the newest state of the history, except for what is so already.

        An answer that a model still owes to a record that was changed comes too late: such a
        record is not the one that was asked about.
        """
        state, live = self.history.now, self.records
        self.records = {}
        back = self._away & state.order.keys()
        away = (self._foreign & self._order.keys()) - state.order.keys()
        self._foreign -= away
        for kept in state.records:
            record = live.get(kept.uid)
            if kept.layer in self._foreign:
                if record is None:
                    continue
                record = kept.moved_to(record)
            elif record is None or not kept.same(record):
                extras = kept.extras if record is None else record.extras
                record = kept.thawed()
                record.extras = extras
            self.records[kept.uid] = record
        for uid, record in live.items():
            if record.layer in self._foreign:
                self.records.setdefault(uid, record)
        order = {k: list(uids) for k, uids in state.order.items() if k not in self._foreign}
        self._order = order | {k: self._order[k] for k in self._foreign if k in self._order}
        self._foreign |= back
        self._away = (self._away - back) | away

    def _chosen(self, uids: Iterable[str]) -> list[Record]:
        return [self.records[uid] for uid in dict.fromkeys(uids) if uid in self.records]

    def _ask(self, records: Collection[Record]) -> None:
        """Want texts; from now on it is the step at hand that wants them, no earlier one."""
        self.history.answered({record.uid for record in records})
        for record in records:
            record.want()
