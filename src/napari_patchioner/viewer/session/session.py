"""The state machine between napari's events and the captioner; knows no Qt, napari or model.

Everything is keyed by uid: napari loses, shifts and repeats rows of the features table.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import numpy as np

from napari_patchioner.annotations import SOURCES, Plane, Record, Seen, Source, new_uid
from napari_patchioner.annotations.project.records import (
    FOUND_BY,
    Maker,
    TaughtName,
    same_cells,
    score_of,
)
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import counted

from .history import History, Snapshot

# Share of their boxes that a shape and a vanished one have in common if they are the same
LEAST_OVERLAP = 0.3
EVERY = "every_caption"
"""Where a project says that every caption which a person vouches for is taught."""


def learned_from(record: Record) -> str:
    """Return who is the author of a name that examples gave: "learned from 5 examples"."""
    taught = record.taught_name
    return f"learned from {counted(taught.examples, 'example') if taught else 'examples'}"


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of a layer's features table says, named as in a record."""

    uid: str = ""
    # None where the table has no text, not even an empty one
    caption: str | None = ""
    score: float | None = None
    source: str = ""
    model: str = ""
    # None where the table says neither yes nor no
    reviewed: bool | None = False
    # Columns that belong to other people; kept untouched
    extra: Mapping[str, Any] = field(default_factory=dict)


row_texts = attrgetter("uid", "caption", "score", "source", "model", "reviewed")


def same_row(row: Row | Record, other: Row | Record) -> bool:
    """Whether two rows say the same in the columns that are ours."""
    return row is other or bool(row_texts(row) == row_texts(other))


@dataclass(frozen=True, slots=True)
class Request:
    """One caption asked of a model; the answer counts only while nothing about it has changed."""

    uid: str
    fingerprint: str
    generation: int


Rows: TypeAlias = Sequence[Row | Record]
# The uid of each shape; None for a new one.
Names: TypeAlias = list[str | None]
# What has happened on a layer since it was last seen: uids by what was done, as a noun.
_Changes: TypeAlias = defaultdict[str, set[str]]
_DONE_TO_SHAPES = ("drawing", "paste", "deletion", "move", "reshaping")


def _how_changed(before: Seen, after: Seen) -> str:
    """Distinguish a move from a new outline, as far as napari's single precision allows."""
    old, new = before.outline, after.outline
    if before.shape_type == after.shape_type and old.shape == new.shape:
        steps = np.asarray(new, float) - np.asarray(old, float)
        tolerance = 1e-6 * (1 + np.abs(new).max())
        if np.allclose(steps, steps[0], rtol=0, atol=tolerance):
            return "move"
    return "reshaping"


def _label(changes: _Changes, *, only_captions: bool) -> str:
    """Return the step that changes are, as a noun; empty where a person has done nothing."""
    done = {noun: changes[noun] for noun in _DONE_TO_SHAPES if changes[noun] and not only_captions}
    if done:
        noun = next(iter(done)) if len(done) == 1 else "change"
        return f"{noun} of {counted(set().union(*done.values()), 'shape')}"
    for noun in ("edit", "review"):
        if changes[noun]:
            return f"{noun} of {counted(changes[noun], 'caption')}"
    return "reordering of shapes" if changes["reordering"] and not only_captions else ""


class PendingCaptions:
    """Saved captions of layers that are not ours, until their regions are seen; none here."""

    def name(self, layer: str, shapes: Sequence[Seen], names: Names) -> Names:
        """Return the uid of each shape, those that were saved among the nameless ones too."""
        return names

    def fill(self, record: Record) -> Record:
        """Return a record with what was saved of it."""
        return record

    def leave(self, layer: str) -> None:
        """Remember the captions of a layer, which is about to go."""


class Session:
    """The captions of one image: what is seen on the canvas, what a person and the models write."""

    def __init__(self) -> None:
        # Grows with each encoding of the image; answers to older requests are dropped.
        self.generation = 0
        self.records: dict[str, Record] = {}
        # Only `undo` and `redo` should walk it.
        self.history = History()
        # The memory that captions are made with, if one was chosen; see `choose_vocabulary`
        self.vocabulary: object = None
        # Proposals that are not wanted, as `put_aside` has left it
        self.aside: tuple[object, ...] = ()
        self.changed: list[Callable[[], None]] = []
        # Asked about every region that is new on a layer of other people's making
        self.pending = PendingCaptions()
        # Whether what the model says follows a name that examples give.
        self.joined = False
        # What a project says of teaching besides its records, as plain values.
        self.teaching: dict[str, Any] = {}
        # What is taught, and waits for its plane to be encoded.
        self.awaited: set[str] = set()
        # By uid, how well a text agrees with its region, after the text, the geometry and the
        # model that this is true of; it follows from them, so that no step takes it back
        self._agreements: dict[str, tuple[str, str, str, float]] = {}
        # What was seen of a region last, where its row said the same as its record then
        self._observed: dict[str, tuple[Record, Seen, Row | Record]] = {}
        # What the models are at, by uid
        self._requests: dict[str, Request] = {}
        # What was asked of them last, by the key of that step
        self._asked: set[str] = set()
        self._asking: object = None
        # Those of them that other options have no answer to yet, and whether any says another thing
        self._revised: set[str] = set()
        self._revision: bool | None = None
        # Those that say the same, as they were and are
        self._confirmed: dict[str, tuple[Record, Record]] = {}
        self._order: dict[str, list[str]] = {}
        # How many edits were finished: those that follow each other until then are one step
        self._edits = 0
        self._stepping = False
        self._together = False
        # Layers whose shapes are not ours to bring back; only their captions are.
        self._foreign: set[str] = set()
        # Such layers that a person has deleted; a step back brings them back as a whole.
        self._away: set[str] = set()

    # steps

    @contextmanager
    def step(self, label: str, key: object = None) -> Iterator[None]:
        """Make one step of all inside, named by a noun; those of one key that follow are one."""
        # An outer step takes in the inner ones.
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
            self._adopt()
            self.notify()

    def amend(self) -> bool:
        """Let what has happened since the newest step be a part of it."""
        return not self._stepping and self.history.amend(self._state())

    def undo(self) -> str:
        """Take back the newest step; return what it was, empty where there is none."""
        return self._walk(self.history.back)

    def redo(self) -> str:
        """Do again what was taken back last; return what it was, empty where there is none."""
        return self._walk(self.history.forward)

    def choose_vocabulary(self, choice: object, outdated: Iterable[str]) -> None:
        """Have captions made with another memory, as a step; those that are outdated anew."""
        with self.step("choice of a vocabulary"):
            self.vocabulary = choice
            self.again(outdated)

    def put_aside(self, things: Iterable[object], label: str) -> None:
        """Have just these things put aside, as a step."""
        with self.step(label):
            self.aside = tuple(things)

    def open_vocabulary(self, choice: object) -> None:
        """Go on with the memory that was chosen when the work was saved; that is no step."""
        self.vocabulary = choice
        self.history.rebase(lambda past: replace(past, vocabulary=choice))

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
        records = self.records.values()
        return self.history.now.taken(records, self._order, self.vocabulary, self.aside)

    def _walk(self, go: Callable[[], str]) -> str:
        """Go to the next state that differs from how things are; return the step between."""
        self.amend()
        before = self.history.now
        while label := go():
            self._restore()
            if not self._state().alike(before):
                break
            # What was done to a region of other people's making has no effect by now.
            self.amend()
        return label

    def _restore(self) -> None:
        """Take over the newest state of the history, except for what is so already."""
        state, live = self.history.now, self.records
        self.vocabulary, self.aside = state.vocabulary, state.aside
        self.records = {}
        back = self._away & state.order.keys()
        away = (self._foreign & self._order.keys()) - state.order.keys()
        self._foreign -= away
        for record in state.records:
            before = live.get(record.uid)
            if before is not None and before is not record:
                # Other people's columns are as they are, and so are their shapes.
                record = replace(record, extra=before.extra)
                if record.layer in self._foreign:
                    # A text that a model has written elsewhere does not come along.
                    record = replace(record, seen=before.seen).about(before.fingerprint)
                record = before if record.same(before) else record
            elif record.layer in self._foreign:
                continue
            self.records[record.uid] = record
        for uid, record in live.items():
            if record.layer in self._foreign:
                self.records.setdefault(uid, record)
            if self.records.get(uid) is not record:
                # It is not the one that was asked about: an answer comes too late.
                self._requests.pop(uid, None)
        order = {k: list(uids) for k, uids in state.order.items() if k not in self._foreign}
        self._order = order | {k: self._order[k] for k in self._foreign if k in self._order}
        self._foreign |= back
        self._away = (self._away - back) | away

    # what lies on each layer

    def uids(self, layer: str) -> list[str]:
        """Return the uids of a layer's shapes, in the order of the shapes."""
        return list(self._order.get(layer, []))

    def table(self, layer: str) -> list[Record]:
        """Return what the rows of the features table of a layer should say, in order."""
        return [self.records[uid] for uid in self._order.get(layer, [])]

    def shapes(self, layer: str) -> list[Seen]:
        """Return the shapes of a layer, in order."""
        return [record.seen for record in self.table(layer) if record.seen is not None]

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
        rows: Rows,
        *,
        replaced: bool = False,
        quiet: bool = False,
        foreign: bool = False,
    ) -> bool:
        """Take in the finished shapes of a layer; return whether its table must be rewritten.

        With `replaced`, shapes were changed in place, so that a new count means rows have shifted;
        with `quiet`, what is new is no step; to draw what is `foreign` is no step either.
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
        label = _label(changes, only_captions=layer in self._foreign)
        if label and not fresh and not quiet and not self._stepping:
            news = self.history.push(self._state(), label) or news
        else:
            news = self.amend() or news
        if news:
            self.notify()
        order = self._order[layer]
        return len(order) != len(rows) or not self._all_say_the_same(order, shapes, rows)

    def _all_say_the_same(self, order: Sequence[str], shapes: Sequence[Seen], rows: Rows) -> bool:
        """Whether every row says what its record says; those that do are remembered."""
        wrong = 0
        for index in self._news(order, shapes, rows):
            record, row = self.records[order[index]], rows[index]
            if same_row(row, record):
                self._observed[record.uid] = record, shapes[index], row
            else:
                wrong += 1
        return not wrong

    def _news(self, order: Sequence[str], shapes: Sequence[Seen], rows: Rows) -> list[int]:
        """Return the places of what has changed since it was looked at last; most never does."""
        observed, records = self._observed.get, self.records.get
        places = enumerate(zip(order, shapes, rows, strict=True))
        return [
            place
            for place, (uid, shape, row) in places
            if (last := observed(uid)) is None
            or last[1] is not shape
            or last[2] is not row
            or last[0] is not records(uid)
        ]

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
        if layer in self._foreign:
            self.pending.leave(layer)
        self._foreign.discard(layer)
        self._remove_layer(layer)
        self.history.rebase(lambda past: past.without(layer))
        self.amend()
        self.notify()

    def _remove_layer(self, layer: str) -> None:
        self._remove(self._order.pop(layer, []))
        self._refresh_groups()

    def _remove(self, uids: Iterable[str]) -> None:
        for uid in uids:
            del self.records[uid]
            self._requests.pop(uid, None)
            self._observed.pop(uid, None)

    def _compare(self, layer: str, shapes: Sequence[Seen], rows: Rows, replaced: bool) -> _Changes:
        """Bring all records of a layer up to date; return what has changed."""
        before = self._order.get(layer, [])
        order = self._names(layer, shapes, rows, replaced)
        known, current = set(before), set(order)
        changes: _Changes = defaultdict(set)
        changes["deletion"] = known - current
        if [uid for uid in order if uid in known] != [uid for uid in before if uid in current]:
            changes["reordering"] = current
        self._remove(changes["deletion"])
        self._order[layer] = order
        nameless = len(rows) == len(shapes) and not any(row.uid for row in rows)
        complete = len(rows) == len(shapes) and not nameless
        news = self._news(order, shapes, rows) if complete else range(len(order))
        for index in news:
            uid, shape = order[index], shapes[index]
            row = rows[index] if index < len(rows) else Row()
            if uid in self.records:
                self._update(uid, shape, row, changes, nameless=nameless)
            else:
                changes["drawing" if row.uid in ("", uid) else "paste"].add(uid)
                record = _adopt(uid, layer, shape, row)
                self.records[uid] = self.pending.fill(record) if layer in self._foreign else record
        self._refresh_groups()
        return changes

    def _names(self, layer: str, shapes: Sequence[Seen], rows: Rows, replaced: bool) -> list[str]:
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
        recounted = len(shapes) != len(before) and (replaced or nameless)
        shuffled = recounted or len(named) != len(shapes)
        taken = self.records.keys() - set(before)
        names = identify(known, shapes, named, taken=taken, shuffled=shuffled)
        if layer in self._foreign:
            names = self.pending.name(layer, shapes, names)
        return [name or new_uid() for name in names]

    def _update(
        self, uid: str, shape: Seen, row: Row | Record, changes: _Changes, *, nameless: bool
    ) -> None:
        """Bring one record up to date with its shape and what a person has typed into its row."""
        record = self.records[uid]
        # A nameless row is of a table that somebody has put in the place of ours.
        if (nameless or row.uid == uid) and not same_cells(record.extra, row.extra):
            record = replace(record, extra=row.extra)
        if row.uid == uid:
            if row.caption is not None and row.caption != record.caption:
                record = self._corrected(record, row.caption)
                changes["edit"].add(uid)
            reviewed = bool(row.reviewed and record.caption)
            if row.reviewed is not None and reviewed != record.reviewed:
                record = replace(record, reviewed=reviewed).left()
                changes["review"].add(uid)
        if record.seen is not shape:
            if record.seen is not None and not record.seen.same_outline(shape):
                changes[_how_changed(record.seen, shape)].add(uid)
                # By hand, until `outline` says otherwise
                record = replace(record, outlined={}) if record.outlined else record
            if record.seen is None or not record.seen.same(shape):
                record = replace(record, seen=shape)
        self.records[uid] = record.about(shape.fingerprint)

    def _refresh_groups(self) -> None:
        """Drop groups that lost a member, ask again for those with a changed one."""
        for record in [record for record in self.records.values() if record.members]:
            if all(map(self._is_shape, record.members)):
                self.records[record.uid] = record.about(self._fingerprint(record.members))
            else:
                self._remove([record.uid])

    # what a person decides; each decision is a step

    def edit(self, uid: str, text: str) -> None:
        """Take a person's text for a record; an empty one hands it back to the models."""
        for record in self._chosen([uid]):
            edited = self._corrected(record, " ".join(text.split()))
            self._decide("edit", [edited], key=("edit", uid, self._edits))

    def finish_edit(self) -> None:
        """Let what is written next be a step of its own, whatever it is about."""
        self._edits += 1

    def _corrected(self, record: Record, text: str) -> Record:
        """Return a record with a person's text, which is its name as well where every text is."""
        said = record.with_text(text)
        is_taught = record.example and bool(self.teaching.get(EVERY)) and said.vouched
        return replace(said, example_name=text) if is_taught else said

    def accept(self, uids: Iterable[str]) -> int:
        """Keep texts as they are, safe from any model; return how many have none to keep."""
        chosen = self._chosen(uids)
        kept = [replace(r, reviewed=True, wanted=False) for r in chosen if r.caption]
        self._decide("acceptance", kept)
        return len(chosen) - len(kept)

    def reject(self, uids: Iterable[str]) -> int:
        """Throw models' texts away; return how many were kept: a person's and locked ones."""
        chosen = self._chosen(uids)
        refused = [r for r in chosen if not r.locked and r.source not in ("human", "edited")]
        # No model is asked again until a person asks, or moves the shape.
        empty = [r.emptied().blanked() for r in refused]
        self._decide("rejection", [replace(r, wanted=False, rejected=True) for r in empty])
        return len(chosen) - len(refused)

    def lock(self, uids: Iterable[str], on: bool) -> None:
        """Keep all models from records, with a text or without, or let them in again."""
        chosen = [record for record in self._chosen(uids) if record.locked != on]
        locked = [replace(record, locked=on, wanted=False) for record in chosen]
        self._decide("locking" if on else "unlocking", locked)

    def choose(self, uid: str, index: int) -> bool:
        """Exchange the model's caption for one of its alternatives, from 0; whether there is it."""
        with self.step("choice of another wording"):
            before = self.records.get(uid)
            if before is not None:
                self.records[uid] = before.chosen(index)
            return self.records.get(uid) is not before

    def reword(
        self, label: str, texts: Mapping[str, tuple[str, float | None, str, Mapping[str, Any]]]
    ) -> list[str]:
        """Put models' texts in other words, as one step called ``label``; return who is left out.

        ``texts`` hold by uid what `Record.reworded` takes. People's, accepted, locked and rejected
        ones stay as they are.
        """
        chosen = self._chosen(texts)
        news = {record.uid: record.reworded(*texts[record.uid]) for record in chosen}
        left = [r.uid for r in chosen if r.protected or r.rejected]
        with self.step(label):
            for uid in news.keys() - set(left):
                # An answer that is on its way would take the place of these words.
                self._requests.pop(uid, None)
                self._put(news[uid])
        return left

    def describe(
        self,
        label: str,
        answers: Mapping[str, str],
        model: str,
        origin: Mapping[str, Any],
        *,
        accepted: bool = False,
    ) -> list[str]:
        """Take what a model on a server says of regions, as one step; return who is left out.

        People's, accepted, locked and rejected texts stay: there it becomes the first of the
        alternatives, which a person can choose.
        """
        chosen = self._chosen(answers)
        left = [r.uid for r in chosen if r.protected or r.rejected]
        with self.step(label):
            for record in chosen:
                text = answers[record.uid]
                if record.uid in left:
                    self._put(record.suggested([text], maker=Maker("model", model, dict(origin))))
                    continue
                # An answer of another model that is on its way would take its place.
                self._requests.pop(record.uid, None)
                self._put(record.described(text, model, origin, accepted=accepted))
        return left

    def suggest(self, label: str, texts: Mapping[str, Sequence[str]], by: str = "") -> None:
        """Offer texts before all other alternatives, as one step called ``label``.

        ``by`` says what they come from, for `Record.suggested`.
        """
        with self.step(label):
            for record in self._chosen(texts):
                self._put(record.suggested(texts[record.uid], by))

    def outdate(self) -> None:
        """Note that what servers said is of an image that was replaced; no step of its own."""
        for record in self.records.values():
            self._put(record.of_another_image())
        self.amend()

    def outline(self, uid: str, made: Mapping[str, Any]) -> None:
        """Note how a machine had a part in the outline of a region; no step of its own."""
        for record in self._chosen([uid]):
            self._put(replace(record, outlined=dict(made)))
        self.amend()

    def keep_agreement(self, uid: str, model: str, value: float) -> None:
        """Keep how well the text of a record agrees with its region; NaN where nobody can tell."""
        record = self.records[uid]
        self._agreements[uid] = record.caption, self._geometry(record), model, value

    def has_agreement(self, record: Record, model: str) -> bool:
        """Whether a model has compared a record's text with its region as both are now."""
        known = self._agreements.get(record.uid)
        return known is not None and known[:3] == (record.caption, self._geometry(record), model)

    def agreement(self, record: Record) -> float:
        """Return how well a text agrees with its region, 0 to 1; NaN where that is not known."""
        known = self._agreements.get(record.uid)
        is_of_it = known is not None and known[:2] == (record.caption, self._geometry(record))
        return known[3] if known is not None and is_of_it else math.nan

    def _geometry(self, record: Record) -> str:
        """Return what stands for the shapes of a record."""
        members = (self.records[uid].fingerprint for uid in record.members if uid in self.records)
        return " ".join((record.fingerprint, *members))

    def again(self, uids: Iterable[str], *, by_options: bool = False) -> int:
        """Ask for new captions; return how many were refused: a person's, accepted or locked.

        What they say now stays until the new one takes its place. With `by_options` nobody asked
        for them but by other options: those that say the same are no step.
        """
        chosen = self._chosen(uids)
        asked = [replace(record, problem="") for record in chosen if not record.protected]
        self._ask(asked)
        self._revised = {r.uid for r in asked if r.caption} if by_options else set()
        self._revision = False if self._revised else None
        return len(chosen) - len(asked)

    def take_revision(self) -> bool | None:
        """Return whether any caption is another one with other options; None until all are there.

        It is returned once.
        """
        if self._revised or self._revision is None:
            return None
        revision, self._revision = self._revision, None
        return revision

    def teach(self, uids: Iterable[str], name: str) -> int:
        """Make records examples of a name, which becomes their text; return how many there are.

        Names that others get from them, whenever they come, are this step and no earlier.
        """
        chosen = self._chosen(uids)
        with self._relearning(f"teaching of {counted(chosen, 'region')}"):
            for record in chosen:
                self.records[record.uid] = record.taught(name)
        return len(chosen)

    def mark_examples(self, uids: Iterable[str], on: bool) -> None:
        """Have records teach what their texts say, or nothing; the texts stay."""
        chosen = [
            record
            for record in self._chosen(uids)
            if record.example is not on or (on and record.teaches != record.caption)
        ]
        done = "teaching" if on else "forgetting"
        with self._relearning(f"{done} of {counted(chosen, 'example')}"):
            for record in chosen:
                name = record.caption if on and record.vouched else ""
                self.records[record.uid] = replace(record, example=on, example_name=name)

    def retitle(self, uids: Iterable[str], old: str, name: str) -> None:
        """Give examples another name, which a person has chosen for all of them.

        Those that a person accepted by the old one, such as what was found, go along.
        """
        chosen = self._chosen(uids)
        accepted = [
            record
            for record in self.records.values()
            if record.source == "taught" and record.protected and record.caption == old
        ]
        if not chosen and not accepted:
            return
        with self._relearning(f"renaming of {counted(chosen or accepted, 'example')}"):
            for record in accepted:
                self.records[record.uid] = replace(record, caption=name)
            for record in chosen:
                # What was written over the name has no part in it.
                is_name = record.caption.casefold() == record.teaches.casefold()
                said = record.with_text(name) if is_name else record
                self.records[record.uid] = replace(said, example_name=name)

    @contextmanager
    def _relearning(self, label: str) -> Iterator[None]:
        """Make a step, to which the names belong that records get because of it."""
        with self.step(label):
            # Whatever a record says later then changes no state before this step.
            open_to_names = [r for r in self.records.values() if not r.protected]
            self.records |= {record.uid: replace(record) for record in open_to_names}
            yield

    def drop(self, uids: Iterable[str]) -> None:
        """Delete the captions of groups and planes; shapes are deleted on their layers."""
        chosen = [record.uid for record in self._chosen(uids) if record.subject != "shape"]
        with self.step(f"deletion of {counted(chosen, 'caption')}"):
            self._remove(chosen)

    def group(self, members: Iterable[str]) -> Record | None:
        """Return the record of several shapes together, made on first use; None below two."""
        uids = tuple(sorted(uid for uid in set(members) if self._is_shape(uid)))
        if len(uids) < 2:
            return None
        record = self.find_group(uids)
        if record is None:
            record = Record(new_uid(), members=uids, fingerprint=self._fingerprint(uids))
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
            record = self.records[uid] = Record(uid, plane=plane, fingerprint=uid)
        return record

    def find_whole(self, plane: Plane) -> Record | None:
        """Return the record of a whole plane, whichever way it is turned, if there is one."""
        records, upright = self.records.values(), plane.upright
        return next((r for r in records if r.plane and r.plane.upright == upright), None)

    def _fingerprint(self, members: Iterable[str]) -> str:
        return "+".join(self.records[uid].fingerprint for uid in members)

    def _is_shape(self, uid: str) -> bool:
        return uid in self.records and self.records[uid].subject == "shape"

    def _chosen(self, uids: Iterable[str]) -> list[Record]:
        return [self.records[uid] for uid in dict.fromkeys(uids) if uid in self.records]

    def _put(self, record: Record) -> None:
        """Take a new record in the place of the one of its uid, unless it says the same."""
        if not self.records[record.uid].same(record):
            self.records[record.uid] = record

    def _decide(self, step: str, records: Collection[Record], key: object = None) -> None:
        """Take new records, as one step."""
        with self.step(f"{step} of {counted(records, 'caption')}", key):
            for record in records:
                self._put(record)

    def _ask(self, records: Collection[Record]) -> None:
        """Want texts; they and the answers, whenever they come, are this step and no earlier.

        What is asked anew before it was answered, because of other options for instance, is the
        same step: between the two there is nothing that anybody would want back.
        """
        uids = {record.uid for record in records}
        is_open = any(self.records[uid].wanted for uid in uids & self._asked)
        if not is_open:
            self._asking, self._asked = object(), set()
        self._asked |= uids
        with self.step(f"writing of {counted(records, 'caption')}", self._asking):
            self.history.answered({record.uid for record in records})
            for record in records:
                self._requests.pop(record.uid, None)
                self._put(record.asked())

    # what a project file says

    def fill(self, saved: Record) -> None:
        """Let the record of the same uid, if there is one, say what was saved of it."""
        if saved.uid in self.records:
            self._requests.pop(saved.uid, None)
            self._put(self.records[saved.uid].filled(saved))

    def rename(self, record: Record, uid: str) -> None:
        """Give a group or a plane, which nobody has seen yet, the name it had when it was saved."""
        if record.uid != uid:
            self._remove([record.uid])
            self.records[uid] = replace(record, uid=uid)

    # what the models do

    def restart(self, *, rewrite: bool = False, model: str = "") -> int:
        """Start with a new encoding of the image, made by a model; return its generation.

        Captions of another model are asked for again, with `rewrite` all that a model wrote.
        """
        self.generation += 1
        asked = []
        for uid, record in self.records.items():
            outdated = bool(model and record.model) and record.model != model
            if record.is_described and record.caption and not record.wanted:
                # It is of no model that reads patches; only a person asks for another.
                self.records[uid] = record.left()
                continue
            if not (rewrite or outdated or record.wanted or not record.caption):
                self.records[uid] = record.left()
            elif not record.protected and not record.rejected:
                asked.append(record)
        self._ask(asked)
        return self.generation

    def is_open(self, record: Record) -> bool:
        """Whether a record is wanted, and no model is at it yet."""
        return record.wanted and self._requests.get(record.uid) != self._request(record)

    def take(self, ready: Callable[[Record], bool]) -> list[Request]:
        """Return requests for all wanted records that are ready, and mark them as asked."""
        chosen = [r for r in self.records.values() if self.is_open(r) and ready(r)]
        requests = list(map(self._request, chosen))
        self._requests |= {request.uid: request for request in requests}
        return requests

    def give_back(self, requests: Iterable[Request]) -> None:
        """Want again what was asked but not answered."""
        for request in requests:
            if self._current(request) is not None:
                del self._requests[request.uid]

    def awaits(self, request: Request) -> bool:
        """Whether the answer to a request would still be taken."""
        return self._current(request) is not None

    def stop(self, requests: Iterable[Request], problem: str) -> tuple[int, int]:
        """Want no longer what was asked; return how many keep what they say, and have nothing.

        ``problem`` is noted where there is nothing.
        """
        current = [record for record in map(self._current, requests) if record is not None]
        self._revised, self._revision = set(), None
        for record in current:
            why = "" if record.caption else problem
            self.records[record.uid] = replace(record, wanted=False, problem=why)
        if current:
            self.notify()
        kept = sum(bool(record.caption) for record in current)
        return kept, len(current) - kept

    def deliver(
        self,
        request: Request,
        caption: Caption,
        model: str = "",
        origin: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """Take a model's caption and what it was made from; False where it comes too late."""
        record = self._current(request)
        if record is not None and (name := record.taught_name) is not None:
            record = replace(record, details=caption, model=model, origin=dict(origin))
            record = record.named(name, model, joined=self.joined)
            self.records[record.uid] = replace(record, wanted=False)
            self.notify()
            return True
        said = {"caption": caption.text, "score": score_of(caption), "model": model}
        source = "model" if caption.text else ""
        is_taken = self._answer(
            request, **said, source=source, details=caption, problem="", origin=dict(origin)
        )
        if is_taken and record is not None and record.uid in self._revised:
            self._revise(record)
        return is_taken

    def _revise(self, before: Record) -> None:
        """Make no step of an answer to other options that says what was said before."""
        self._revised.discard(before.uid)
        now = self.records[before.uid]
        if (now.caption, now.source) != (before.caption, before.source):
            self._revision = True
            return
        self._confirmed[before.uid] = before, now
        if not self._together:
            self._adopt()

    def _adopt(self) -> None:
        """Make no step of what says the same as before."""
        if self._confirmed:
            self.amend()
            self.history.adopt(self._confirmed)
            self._confirmed = {}

    def take_name(
        self, name: str, scores: Mapping[str, float], model: str = "", *, found_by: str = ""
    ) -> None:
        """Take the name of examples for records, which a person has found to be like them.

        ``scores`` say by uid how likely it is right; it stays, as what is accepted does. With
        ``found_by`` no examples but this phrase is what they were found by.
        """
        for record in self._chosen(scores):
            if not record.protected:
                self._requests.pop(record.uid, None)
                score, blank = round(scores[record.uid], 4), replace(record.blanked(), wanted=False)
                named = replace(blank, caption=name, score=score, source="taught", model=model)
                if found_by:
                    named = replace(named, source="model", origin={FOUND_BY: found_by})
                self._put(replace(named, reviewed=True))

    def take_proposed(
        self, said: Mapping[str, tuple[Caption, Mapping[str, Any]]], model: str = ""
    ) -> None:
        """Take a model's captions, and what they were made from, for records that are accepted."""
        for record in self._chosen(said):
            caption, origin = said[record.uid]
            if caption.text and not record.protected:
                self._requests.pop(record.uid, None)
                blank = replace(record.blanked(), wanted=False, reviewed=True, source="model")
                score = score_of(caption)
                self._put(
                    replace(
                        blank,
                        caption=caption.text,
                        score=score,
                        model=model,
                        details=caption,
                        origin=dict(origin),
                    )
                )

    def name(self, names: Mapping[str, TaughtName | None], model: str) -> bool:
        """Give records the names that examples give them, None for none; whether any is new.

        No step of its own, and nothing that a person wrote, accepted, locked or refused changes.
        """
        news: dict[str, Record] = {}
        for uid, name in names.items():
            record = self.records.get(uid)
            if record is not None:
                joined = self.joined
                now = record.named(name, model, joined=joined) if name else record.unnamed()
                news |= {} if now.same(record) else {uid: now}
        self.records |= news
        if news:
            self.notify()
        return bool(news)

    def fail(self, request: Request, problem: str) -> None:
        """Note why a record has no caption, or no new one."""
        self._revised, self._revision = set(), None
        self._answer(request, problem=problem)

    def _answer(self, request: Request, **fields: Any) -> bool:
        """Put an answer into the record that was asked about, unless it comes too late."""
        record = self._current(request)
        if record is not None:
            self.records[record.uid] = replace(record, wanted=False, **fields)
            self.notify()
        return record is not None

    def _request(self, record: Record) -> Request:
        return Request(record.uid, record.fingerprint, self.generation)

    def _current(self, request: Request) -> Record | None:
        """Return the record that a request is still valid for."""
        record = self.records.get(request.uid)
        if record is None or not record.wanted or record.protected:
            return None
        is_open = self._requests.get(request.uid) == request == self._request(record)
        return record if is_open else None


def _adopt(uid: str, layer: str, shape: Seen, row: Row | Record) -> Record:
    """Return the record of a shape never seen before, with what its row brought along."""
    # As files of ours say it.
    locked = str(row.extra.get("locked", "")).lower() == "true"
    record = Record(
        uid,
        layer=layer,
        seen=shape,
        fingerprint=shape.fingerprint,
        extra=row.extra,
        locked=locked,
        wanted=not locked,
    )
    # A row whose uid was refused is a pasted copy: its text belongs to the original.
    if not row.caption or row.uid not in ("", uid):
        return record
    known = row.source in SOURCES[1:]
    return replace(
        record,
        caption=row.caption,
        score=row.score,
        source=cast("Source", row.source) if known else "human",
        model=row.model,
        reviewed=bool(row.reviewed),
        wanted=False,
    )


# which shape is which, whatever napari did to the order of rows


def identify(
    known: Mapping[str, Seen],
    shapes: Sequence[Seen],
    rows: Sequence[str],
    *,
    taken: Collection[str] = (),
    shuffled: bool = False,
) -> Names:
    """Return the uid of each shape, None for a new one, no uid twice.

    `known` are the shapes as they were last seen, `rows` the uids in the features table, as many or
    not, `taken` those that live elsewhere; `shuffled` rows are known not to follow the shapes.
    """
    # Geometry is trusted before the table: napari moves rows against shapes (a triangle losing a
    # vertex, ``layer.data = fewer``), and a paste repeats a uid, but no tool swaps outlines.
    row_uids = [rows[index] if index < len(rows) else "" for index in range(len(shapes))]
    names: Names = [None] * len(shapes)
    claimed = set(taken)
    # The very shapes that were seen last time, each beside its own row
    for index, (uid, shape) in enumerate(zip(row_uids, shapes, strict=True)):
        if known.get(uid) is shape and uid not in claimed:
            names[index] = uid
            claimed.add(uid)
    # Shapes that have not changed get back their uid, before others those whose row says the same.
    unclaimed = defaultdict(list)
    for uid, seen in known.items():
        if uid not in claimed:
            unclaimed[seen.fingerprint].append(uid)
    nameless = [index for index, name in enumerate(names) if name is None]
    candidates = {index: unclaimed[shapes[index].fingerprint] for index in nameless}
    for index, uids in candidates.items():
        if row_uids[index] in uids:
            uids.remove(row_uids[index])
            names[index] = row_uids[index]
    for index, uids in candidates.items():
        if names[index] is None and uids:
            names[index] = uids.pop(0)
    claimed.update(filter(None, names))
    for index, uid in enumerate(row_uids):
        if names[index] is not None:
            continue
        if shuffled and (uid in known or not uid):
            # The missing shape that covers most of the same area
            missing = [(shapes[index].overlap(known[u]), u) for u in known if u not in claimed]
            overlap, uid = max(missing, default=(0.0, ""))
            uid = uid if overlap >= LEAST_OVERLAP else ""
        if uid and uid not in claimed:
            names[index] = uid
            claimed.add(uid)
    return names
