"""The state machine between napari's events and the captioner.

It knows no Qt, no napari and no model. Everything is keyed by uid: napari loses, shifts and
repeats rows of the features table, so a row number says nothing about which shape is meant.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ._decisions import Decisions
from .identify import identify, new_uid
from .record import SOURCES, Record, Request, Row, Seen
from .seen import same_cells
from .steps import Changes, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari_patchioner.decoders import Caption


class Session(Decisions):
    """The captions of one image: what is seen on the canvas, and what the models say."""

    # what happens on the canvas

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
        """Take in the state of a layer.

        Parameters
        ----------
        layer : str
            Key of the layer.
        shapes, rows : sequence
            Its finished shapes and the rows of its features table, which may not match.
        replaced : bool
            Shapes were changed in place, so that a new count means rows have shifted.
        quiet : bool
            What is new is no step of a person's.
        foreign : bool
            The shapes are not ours to bring back, so that to draw them is no step.

        Returns
        -------
        bool
            Whether the table must be rewritten with `table`.
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
        label = changes.words if layer in self._foreign else changes.label
        if label and not fresh and not quiet and not self._stepping:
            news = self.history.push(self._state(), label) or news
        else:
            news = self.amend() or news
        if news:
            self.tell()
        wanted = self.table(layer)
        return len(wanted) != len(rows) or not all(map(Row.same, wanted, rows))

    def table(self, layer: str) -> list[Row]:
        """Return the rows that the features table of a layer should have, in order."""
        return [self.records[uid].row for uid in self._order.get(layer, [])]

    def stamps(self, layer: str) -> dict[str, int]:
        """Return the stamps of a layer's records by uid: another one, and something is new."""
        return {uid: self.records[uid].stamp for uid in self._order.get(layer, [])}

    def shapes(self, layer: str) -> list[Seen]:
        """Return the shapes of a layer, in order."""
        seen = [self.records[uid].seen for uid in self._order.get(layer, [])]
        return [shape for shape in seen if shape is not None]

    def drop_layer(self, layer: str) -> None:
        """Drop the shapes of a layer that a person has deleted, as a step."""
        names = self._order.get(layer, [])
        with self.step(f"deletion of a layer of {counted(names, 'shape')}"):
            if layer in self._foreign:
                self._foreign.discard(layer)
                self._away.add(layer)
            for uid in self._order.pop(layer, []):
                del self.records[uid]
            self._refresh_groups()

    def forget(self, layer: str) -> None:
        """Drop the regions of a layer that is no longer followed, from the history too."""
        if self.waiting is not None and layer in self._foreign:
            self.waiting.leave(layer)
        for uid in self._order.pop(layer, []):
            del self.records[uid]
        self._foreign.discard(layer)
        self._refresh_groups()
        self.history.rebase(lambda past: past.without(layer))
        self.amend()
        self.tell()

    # what the models do

    def restart(self, *, rewrite: bool = False, model: str = "") -> int:
        """Start a new reading of the image and return its generation.

        All the captions it brings are one step.

        Parameters
        ----------
        rewrite : bool
            Also ask again for captions that a model wrote before.
        model : str
            Which model reads; captions known to be another one's are asked for again anyway.
        """
        self.generation += 1
        asked = []
        for record in self.records.values():
            strange = bool(model and record.model) and record.model != model
            wanted = rewrite or strange or not record.caption
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
        self.tell()
        return True

    def fail(self, request: Request, problem: str) -> None:
        """Note why a record has no caption."""
        record = self._current(request)
        if record is not None:
            record.leave()
            record.problem = problem
            self.tell()

    def sources(self) -> Counter[str]:
        """Return how many captions each source has written."""
        return Counter(record.source for record in self.records.values())

    # details

    def _current(self, request: Request) -> Record | None:
        """Return the record that a request still speaks of."""
        record = self.records.get(request.uid)
        if record is None or not record.asked or record.protected:
            return None
        if request.generation != self.generation or record.fingerprint != request.fingerprint:
            return None
        return record

    def _compare(
        self, layer: str, shapes: Sequence[Seen], rows: Sequence[Row], replaced: bool
    ) -> Changes:
        """Bring all records of a layer up to date; return what has changed."""
        before = self._order.get(layer, [])
        order = self._names(layer, shapes, rows, replaced)
        changes = Changes(removed=set(before) - set(order))
        known, there = set(before), set(order)
        changes.reordered = order != before and (
            [n for n in order if n in known] != [n for n in before if n in there]
        )
        for uid in changes.removed:
            del self.records[uid]
        self._order[layer] = order
        nameless = len(rows) == len(shapes) and not any(row.uid for row in rows)
        for position, (uid, shape) in enumerate(zip(order, shapes, strict=True)):
            row = rows[position] if position < len(rows) else Row()
            if uid in self.records:
                if nameless:
                    # Somebody has put a table of their own in the place of ours.
                    self.records[uid].extras = row.extras
                self._update(uid, shape, row, changes)
            else:
                (changes.pasted if row.uid not in ("", uid) else changes.added).add(uid)
                self.records[uid] = record = _adopt(uid, layer, shape, row)
                if self.waiting is not None and layer in self._foreign:
                    self.waiting.fill(record)
        self._refresh_groups()
        return changes

    def _names(
        self, layer: str, shapes: Sequence[Seen], rows: Sequence[Row], replaced: bool
    ) -> list[str]:
        """Return the uid of each shape."""
        before = self._order.get(layer, [])
        if self._is_still(before, shapes, rows):
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
        if self.waiting is not None and layer in self._foreign:
            names = self.waiting.name(layer, shapes, names)
        return [name or new_uid() for name in names]

    def _is_still(self, uids: Sequence[str], shapes: Sequence[Seen], rows: Sequence[Row]) -> bool:
        """Whether these are the very shapes seen last time, each beside its own row."""
        return len(uids) == len(shapes) == len(rows) and all(
            self.records[uid].seen is shape and row.uid == uid
            for uid, shape, row in zip(uids, shapes, rows, strict=True)
        )

    def _update(self, uid: str, shape: Seen, row: Row, changes: Changes) -> None:
        """Bring one record up to date with its shape and its row."""
        record = self.records[uid]
        if row.uid == uid:
            if not same_cells(record.extras, row.extras):
                record.extras = row.extras
            self._read_row(record, row, changes)
        if record.seen is shape and record.fingerprint == shape.fingerprint:
            return
        if record.seen is not None:
            changes.note(uid, record.seen, shape)
        if record.seen is None or not record.seen.same(shape):
            record.seen = shape
        record.describe(shape.fingerprint)

    def _read_row(self, record: Record, row: Row, changes: Changes) -> None:
        """Take what a person has typed into the table."""
        if row.caption is not None and row.caption != record.caption:
            record.write(row.caption)
            changes.written.add(record.uid)
        reviewed = bool(row.reviewed and record.caption)
        if row.reviewed is not None and reviewed != record.reviewed:
            record.reviewed = reviewed
            record.leave()
            changes.reviewed.add(record.uid)

    def _refresh_groups(self) -> None:
        """Drop groups that lost a member, ask again for those with a changed one."""
        for record in [r for r in self.records.values() if r.kind == "group"]:
            if not all(map(self._is_shape, record.members)):
                del self.records[record.uid]
                continue
            record.describe(self._fingerprint(record.members))


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
