"""The state machine between napari's events and the captioner.

It knows no Qt, no napari and no model. Everything is keyed by uid: napari loses, shifts and
repeats rows of the features table, so a row number does not identify a shape.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_patchioner.annotations import new_uid

from .history import History
from .record import SOURCES, Record, Request, Row, Seen, same_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized

    from napari_patchioner.decoders import Caption

    from .history import Snapshot
    from .record import Plane


# Share of their boxes that a shape and a vanished one have in common if they are the same
LEAST_OVERLAP = 0.3


def counted(number: int | Sized, noun: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "shape"), counted(3, "shape"), counted(2, "caption of a plane", "captions")
    ('1 shape', '3 shapes', '2 captions')
    """
    count = number if isinstance(number, int) else len(number)
    return f"{count} {noun}" if count == 1 else f"{count} {many or noun + 's'}"


@dataclass(slots=True)
class _Changes:
    """What has happened on a layer since it was last seen, each as a set of uids.

    A pasted shape is not among the added ones; `written` and `reviewed` are captions that were
    changed or accepted in the table; `reordered`, whether the shapes that stayed have changed
    places.
    """

    added: set[str] = field(default_factory=set)
    pasted: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    reshaped: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    reviewed: set[str] = field(default_factory=set)
    reordered: bool = False

    def note(self, uid: str, before: Seen, after: Seen) -> None:
        """Distinguish a move from a new outline, as far as napari's single precision allows."""
        if before.same_outline(after):
            return
        old, new = before.outline, after.outline
        moved = before.shape_type == after.shape_type and old.shape == new.shape
        if moved:
            steps = np.asarray(new, float) - np.asarray(old, float)
            tolerance = 1e-6 * (1 + np.abs(new).max())
            moved = np.allclose(steps, steps[0], rtol=0, atol=tolerance)
        (self.moved if moved else self.reshaped).add(uid)

    @property
    def label(self) -> str:
        """The step as a noun; empty where a person has done nothing."""
        nouns = {
            "drawing": self.added,
            "paste": self.pasted,
            "deletion": self.removed,
            "move": self.moved,
            "reshaping": self.reshaped,
        }
        done = {noun: uids for noun, uids in nouns.items() if uids}
        if done:
            noun = next(iter(done)) if len(done) == 1 else "change"
            return f"{noun} of {counted(set().union(*done.values()), 'shape')}"
        return self.caption_label or ("reordering of shapes" if self.reordered else "")

    @property
    def caption_label(self) -> str:
        """What was done to captions alone, as a noun; empty where nothing was."""
        if self.written:
            return f"edit of {counted(self.written, 'caption')}"
        return f"review of {counted(self.reviewed, 'caption')}" if self.reviewed else ""


class PendingCaptions(Protocol):
    """Saved captions of layers that are not ours, until their regions are seen again."""

    def name(
        self, layer: str, shapes: Sequence[Seen], names: Sequence[str | None]
    ) -> list[str | None]:
        """Return the uid of each shape, those that were saved among the nameless ones too."""

    def fill(self, record: Record) -> None:
        """Give a record what was saved of it."""

    def leave(self, layer: str) -> None:
        """Remember the captions of a layer, which is about to go."""


class Session:
    """The captions of one image: what is seen on the canvas, what a person and the models write.

    Attributes
    ----------
    generation : int
        Grows with each encoding of the image; answers to older requests are dropped.
    records : dict of str to Record
        Every caption by uid.
    history : History
        The steps, which only `undo` and `redo` should walk.
    changed : list of callable
        Called with nothing after anything has changed.
    pending : PendingCaptions, optional
        Asked about every region that is new on a layer of other people's making.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.records: dict[str, Record] = {}
        self.history = History()
        self.changed: list[Callable[[], None]] = []
        self.pending: PendingCaptions | None = None
        self._order: dict[str, list[str]] = {}
        self._stepping = False
        self._together = False
        # Layers whose shapes are not ours to bring back; only their captions are.
        self._foreign: set[str] = set()
        # Such layers that a person has deleted; a step back brings them back as a whole.
        self._away: set[str] = set()

    # steps

    @contextmanager
    def step(self, label: str, key: object = None) -> Iterator[None]:
        """Make one step of all that happens inside; an outer step takes in the inner ones.

        `label` says what is done, as a noun: "move of 2 shapes". Steps of the same `key` that
        follow each other are the same step: letters typed into a text.
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
            self.notify()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Notify once of all that happens inside, which is no step of its own."""
        self._together, outer = True, self._together
        try:
            yield
        finally:
            self._together = outer
            self.notify()

    def amend(self) -> bool:
        """Let what has happened since the newest step be a part of it."""
        return not self._stepping and self.history.amend(self._state())

    def undo(self) -> str:
        """Take back the newest step; return what it was, empty where there is none.

        The layers still show the shapes as they were; bindings bring both back in step.
        """
        return self._walk(self.history.back)

    def redo(self) -> str:
        """Do again what was taken back last; return what it was, empty where there is none."""
        return self._walk(self.history.forward)

    def start_history(self) -> None:
        """Begin the history here: what has been there before was opened, not done."""
        self.amend()
        self.history.clear()

    def notify(self) -> None:
        """Call everybody who listens, since something has changed."""
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
        before = self.history.now
        while label := go():
            self._restore()
            if not self._state().alike(before):
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

    # what lies on each layer

    def uids(self, layer: str) -> list[str]:
        """Return the uids of a layer's shapes, in the order of the shapes."""
        return list(self._order.get(layer, []))

    def table(self, layer: str) -> list[Row]:
        """Return the rows that the features table of a layer should have, in order."""
        return [self.records[uid].row for uid in self._order.get(layer, [])]

    def stamps(self, layer: str) -> dict[str, int]:
        """Return the stamps of a layer's records by uid: another one, and something is new."""
        return {uid: self.records[uid].stamp for uid in self._order.get(layer, [])}

    def shapes(self, layer: str) -> list[Seen]:
        """Return the shapes of a layer, in order."""
        shapes = [self.records[uid].seen for uid in self._order.get(layer, [])]
        return [seen for seen in shapes if seen is not None]

    def holds(self, layer: str) -> bool:
        """Whether the shapes of a layer are known, if it has none."""
        return layer in self._order

    def is_away(self, layer: str) -> bool:
        """Whether a layer of other people's making was deleted by a person, as a step."""
        return layer in self._away

    def observe(
        self,
        layer: str,
        shapes: Sequence[Seen],
        rows: Sequence[Row],
        *,
        replaced: bool = False,
        quiet: bool = False,
        foreign: bool = False,
    ) -> bool:
        """Take in the state of a layer; return whether its table must be rewritten with `table`.

        The shapes are the finished ones; the rows of the features table may not match them. With
        `replaced`, shapes were changed in place, so that a new count means rows have shifted; with
        `quiet`, what is new is no step of a person's; `foreign` shapes are not ours to bring back,
        so that to draw them is no step.
        """
        news = self.amend()
        fresh = layer not in self._order
        if foreign:
            self._foreign.add(layer)
            self._away.discard(layer)
        changes = self._compare(layer, shapes, rows, replaced)
        if fresh:
            state = self._state()
            self.history.rebase(lambda past: past.extended(layer, state))
        label = changes.caption_label if layer in self._foreign else changes.label
        if label and not fresh and not quiet and not self._stepping:
            news = self.history.push(self._state(), label) or news
        else:
            news = self.amend() or news
        if news:
            self.notify()
        wanted = self.table(layer)
        return len(wanted) != len(rows) or not all(map(Row.same, wanted, rows))

    def drop_layer(self, layer: str) -> None:
        """Drop the shapes of a layer that a person has deleted, as a step."""
        uids = self._order.get(layer, [])
        with self.step(f"deletion of a layer of {counted(uids, 'shape')}"):
            if layer in self._foreign:
                self._foreign.discard(layer)
                self._away.add(layer)
            self._remove_layer(layer)

    def forget(self, layer: str) -> None:
        """Drop the regions of a layer that is no longer followed, from the history too."""
        if self.pending is not None and layer in self._foreign:
            self.pending.leave(layer)
        self._foreign.discard(layer)
        self._remove_layer(layer)
        self.history.rebase(lambda past: past.without(layer))
        self.amend()
        self.notify()

    def _remove_layer(self, layer: str) -> None:
        for uid in self._order.pop(layer, []):
            del self.records[uid]
        self._refresh_groups()

    def _compare(
        self, layer: str, shapes: Sequence[Seen], rows: Sequence[Row], replaced: bool
    ) -> _Changes:
        """Bring all records of a layer up to date; return what has changed."""
        before = self._order.get(layer, [])
        order = self._names(layer, shapes, rows, replaced)
        known, current = set(before), set(order)
        changes = _Changes(removed=known - current)
        changes.reordered = order != before and (
            [uid for uid in order if uid in known] != [uid for uid in before if uid in current]
        )
        for uid in changes.removed:
            del self.records[uid]
        self._order[layer] = order
        nameless = len(rows) == len(shapes) and not any(row.uid for row in rows)
        for index, (uid, shape) in enumerate(zip(order, shapes, strict=True)):
            row = rows[index] if index < len(rows) else Row()
            if uid in self.records:
                if nameless:
                    # Somebody has put a table of their own in the place of ours.
                    self.records[uid].extras = row.extras
                self._update(uid, shape, row, changes)
            else:
                (changes.pasted if row.uid not in ("", uid) else changes.added).add(uid)
                self.records[uid] = record = _adopt(uid, layer, shape, row)
                if self.pending is not None and layer in self._foreign:
                    self.pending.fill(record)
        self._refresh_groups()
        return changes

    def _names(
        self, layer: str, shapes: Sequence[Seen], rows: Sequence[Row], replaced: bool
    ) -> list[str]:
        """Return the uid of each shape."""
        before = self._order.get(layer, [])
        if len(before) == len(shapes) == len(rows) and all(
            self.records[uid].seen is shape and row.uid == uid
            for uid, shape, row in zip(before, shapes, rows, strict=True)
        ):
            # The very shapes seen last time, each beside its own row
            return list(before)
        named = [row.uid for row in rows]
        nameless = bool(before) and not any(named)
        if nameless and len(shapes) == len(before):
            # Somebody has put another table in the place of ours; the shapes are where they were.
            named = list(before)
        known = {uid: seen for uid in before if (seen := self.records[uid].seen) is not None}
        names = identify(
            known,
            shapes,
            named,
            taken=self.records.keys() - set(before),
            shuffled=len(named) != len(shapes)
            or ((replaced or nameless) and len(shapes) != len(before)),
        )
        if self.pending is not None and layer in self._foreign:
            names = self.pending.name(layer, shapes, names)
        return [name or new_uid() for name in names]

    def _update(self, uid: str, shape: Seen, row: Row, changes: _Changes) -> None:
        """Bring one record up to date with its shape and what a person has typed into its row."""
        record = self.records[uid]
        if row.uid == uid:
            if not same_cells(record.extras, row.extras):
                record.extras = row.extras
            if row.caption is not None and row.caption != record.caption:
                record.write(row.caption)
                changes.written.add(uid)
            reviewed = bool(row.reviewed and record.caption)
            if row.reviewed is not None and reviewed != record.reviewed:
                record.reviewed = reviewed
                record.leave()
                changes.reviewed.add(uid)
        if record.seen is shape and record.fingerprint == shape.fingerprint:
            return
        if record.seen is not None:
            changes.note(uid, record.seen, shape)
        if record.seen is None or not record.seen.same(shape):
            record.seen = shape
        record.describe(shape.fingerprint)

    def _refresh_groups(self) -> None:
        """Drop groups that lost a member, ask again for those with a changed one."""
        for record in [r for r in self.records.values() if r.kind == "group"]:
            if all(map(self._is_shape, record.members)):
                record.describe(self._fingerprint(record.members))
            else:
                del self.records[record.uid]

    # what a person decides; each decision is a step

    def edit(self, uid: str, text: str) -> None:
        """Take a person's text for a record; an empty one hands it back to the models.

        Edits of the same record that follow each other are one step.
        """
        for record in self._chosen([uid]):
            with self.step("edit of 1 caption", key=("edit", uid)):
                record.write(" ".join(text.split()))

    def accept(self, uids: Iterable[str]) -> int:
        """Keep texts as they are, safe from any model; return how many have none to keep."""
        chosen = self._chosen(uids)
        kept = [record for record in chosen if record.caption]
        with self.step(f"acceptance of {counted(kept, 'caption')}"):
            for record in kept:
                record.reviewed = True
                record.leave()
        return len(chosen) - len(kept)

    def reject(self, uids: Iterable[str]) -> int:
        """Throw models' texts away; return how many were kept: a person's and locked ones.

        No model is asked again until a person asks, or moves the shape.
        """
        chosen = self._chosen(uids)
        refused = [r for r in chosen if not r.locked and r.source not in ("human", "edited")]
        with self.step(f"rejection of {counted(refused, 'caption')}"):
            for record in refused:
                record.empty()
                record.blank()
                record.leave()
                record.rejected = True
        return len(chosen) - len(refused)

    def lock(self, uids: Iterable[str], on: bool) -> None:
        """Keep all models from records, with a text or without, or let them in again."""
        chosen = [record for record in self._chosen(uids) if record.locked != on]
        with self.step(f"{'locking' if on else 'unlocking'} of {counted(chosen, 'caption')}"):
            for record in chosen:
                record.locked = on
                record.leave()

    def choose(self, uid: str, index: int) -> bool:
        """Take one of the model's alternatives, counted from 0, as accepted text.

        It changes places with the model's first caption. False where there is no such alternative.
        """
        with self.step("choice of another wording"):
            return any(record.choose(index) for record in self._chosen([uid]))

    def again(self, uids: Iterable[str]) -> int:
        """Ask for new captions; return how many were refused: a person's, accepted or locked.

        All of them are one step, and so are the answers, whenever they come.
        """
        chosen = self._chosen(uids)
        asked = [record for record in chosen if not record.protected]
        with self.step(f"writing of {counted(asked, 'caption')}"):
            for record in asked:
                record.blank()
            self._ask(asked)
        return len(chosen) - len(asked)

    def drop(self, uids: Iterable[str]) -> None:
        """Delete the captions of groups and planes; shapes are deleted on their layers."""
        chosen = [record for record in self._chosen(uids) if record.kind != "shape"]
        with self.step(f"deletion of {counted(chosen, 'caption')}"):
            for record in chosen:
                del self.records[record.uid]

    def group(self, members: Iterable[str]) -> Record | None:
        """Return the record of several shapes together, made on first use; None below two."""
        uids = tuple(sorted(uid for uid in set(members) if self._is_shape(uid)))
        if len(uids) < 2:
            return None
        record = self.find_group(uids)
        if record is None:
            record = Record(new_uid(), "group", self._fingerprint(uids), members=uids)
            with self.step(f"grouping of {counted(uids, 'shape')}"):
                self.records[record.uid] = record
        return record

    def find_group(self, members: Iterable[str]) -> Record | None:
        """Return the record of these shapes together, if there is one."""
        uids = tuple(sorted(set(members)))
        return next((r for r in self.records.values() if uids and r.members == uids), None)

    def whole(self, plane: Plane) -> Record:
        """Return the record of a whole plane, made on first use."""
        record = self.find_whole(plane)
        if record is None:
            plane = plane.upright
            uid = "-".join(["image", *map(str, plane.axes), *map(str, plane.index)])
            record = self.records[uid] = Record(uid, "image", uid, plane=plane)
        return record

    def find_whole(self, plane: Plane) -> Record | None:
        """Return the record of a whole plane, whichever way it is turned, if there is one."""
        for record in self.records.values():
            if record.plane is not None and record.plane.upright == plane.upright:
                return record
        return None

    def _fingerprint(self, members: Iterable[str]) -> str:
        return "+".join(self.records[uid].fingerprint for uid in members)

    def _is_shape(self, uid: str) -> bool:
        return uid in self.records and self.records[uid].kind == "shape"

    def _chosen(self, uids: Iterable[str]) -> list[Record]:
        return [self.records[uid] for uid in dict.fromkeys(uids) if uid in self.records]

    def _ask(self, records: Collection[Record]) -> None:
        """Want texts; from now on it is the step at hand that wants them, no earlier one."""
        self.history.answered({record.uid for record in records})
        for record in records:
            record.want()

    # what the models do

    def restart(self, *, rewrite: bool = False, model: str = "") -> int:
        """Start with a new encoding of the image, made by a model; return its generation.

        All the captions it brings are one step. Captions known to be another model's are asked for
        again, with `rewrite` all that a model wrote before.
        """
        self.generation += 1
        asked = []
        for record in self.records.values():
            outdated = bool(model and record.model) and record.model != model
            wanted = rewrite or outdated or not record.caption
            record.asked = False
            record.wanted = record.wanted and wanted
            if wanted and not record.protected and not record.rejected:
                asked.append(record)
        with self.step(f"writing of {counted(asked, 'caption')}"):
            self._ask(asked)
        return self.generation

    def take(self, ready: Callable[[Record], bool]) -> list[Request]:
        """Return requests for all wanted records that are ready, and mark them as asked."""
        chosen = [record for record in self.records.values() if record.wanted and ready(record)]
        for record in chosen:
            record.wanted, record.asked = False, True
        return [Request(record.uid, record.fingerprint, self.generation) for record in chosen]

    def give_back(self, requests: Iterable[Request]) -> None:
        """Want again what was asked but not answered."""
        for request in requests:
            record = self._current(request)
            if record is not None:
                record.want()

    def deliver(
        self,
        request: Request,
        caption: Caption,
        model: str = "",
        origin: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """Take a model's caption and what it was made from; False where it comes too late."""
        record = self._current(request)
        if record is None:
            return False
        record.leave()
        record.caption, record.score = caption.text, round(float(caption.score), 4)
        record.source = "model" if caption.text else ""
        record.model, record.details, record.problem = model, caption, ""
        record.origin = dict(origin)
        self.notify()
        return True

    def fail(self, request: Request, problem: str) -> None:
        """Note why a record has no caption."""
        record = self._current(request)
        if record is not None:
            record.leave()
            record.problem = problem
            self.notify()

    def _current(self, request: Request) -> Record | None:
        """Return the record that a request is still valid for."""
        record = self.records.get(request.uid)
        if record is None or not record.asked or record.protected:
            return None
        if request.generation != self.generation or record.fingerprint != request.fingerprint:
            return None
        return record


def _adopt(uid: str, layer: str, shape: Seen, row: Row) -> Record:
    """Return the record of a shape never seen before, with what its row brought along."""
    record = Record(uid, "shape", shape.fingerprint, layer=layer, seen=shape, extras=row.extras)
    # A row whose uid was refused is a pasted copy: its text belongs to the original.
    if row.caption and row.uid in ("", uid):
        record.caption, record.score = row.caption, row.score
        record.source = row.source if row.source in SOURCES and row.source else "human"
        record.model, record.reviewed = row.caption_model, bool(row.reviewed)
    # As files of ours say it.
    record.locked = str(row.extras.get("locked", "")).lower() == "true"
    record.wanted = not record.caption and not record.locked
    return record


# which shape is which, whatever napari did to the order of rows


def identify(
    known: Mapping[str, Seen],
    shapes: Sequence[Seen],
    rows: Sequence[str],
    *,
    taken: Collection[str] = (),
    shuffled: bool = False,
) -> list[str | None]:
    """Return the uid of each shape, None for a new one, no uid twice.

    Geometry is trusted before the table: napari moves rows against shapes (a triangle losing
    a vertex, ``layer.data = fewer``), and a paste repeats a uid, but no tool swaps outlines.

    `known` are the shapes of this layer as they were last seen, by uid; `rows` the uid in each row
    of the features table, as many or not; `taken` uids that live elsewhere. With `shuffled`, the
    rows are known not to follow the shapes.
    """
    row_uids = [rows[index] if index < len(rows) else "" for index in range(len(shapes))]
    names: list[str | None] = [None] * len(shapes)
    claimed = set(taken)
    # Shapes that have not changed get back their uid, before others those whose row says the same.
    unclaimed: dict[str, list[str]] = {}
    for uid, seen in known.items():
        if uid not in claimed:
            unclaimed.setdefault(seen.fingerprint, []).append(uid)
    candidates = [unclaimed.get(shape.fingerprint, []) for shape in shapes]
    for index, uids in enumerate(candidates):
        if row_uids[index] in uids:
            uids.remove(row_uids[index])
            names[index] = row_uids[index]
    for index, uids in enumerate(candidates):
        if names[index] is None and uids:
            names[index] = uids.pop(0)
    claimed |= {name for name in names if name is not None}
    for index, name in enumerate(names):
        if name is not None:
            continue
        uid = row_uids[index]
        if shuffled and (uid in known or not uid):
            # The missing shape that covers most of the same area
            missing = [(shapes[index].overlap(known[u]), u) for u in known if u not in claimed]
            overlap, uid = max(missing, default=(0.0, ""))
            uid = uid if overlap >= LEAST_OVERLAP else ""
        if uid and uid not in claimed:
            names[index] = uid
            claimed.add(uid)
    return names
