"""The state machine between napari's events and the captioner.

It knows no Qt, no napari and no model. Everything is keyed by uid: napari loses, shifts and
repeats rows of the features table, so a row number says nothing about which shape is meant.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ._identify import identify
from ._record import SOURCES, Plane, Record, Request, Row, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari_patchioner.decoders import Caption


class Session:
    """The captions of one image.

    Attributes
    ----------
    generation : int
        Grows with each reading of the image; answers to older requests are dropped.
    records : dict of str to Record
        Every caption by uid.
    changed : list of callable
        Called with nothing after anything has changed.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.records: dict[str, Record] = {}
        self.changed: list[Callable[[], None]] = []
        self._order: dict[str, list[str]] = {}

    # what happens on the canvas

    def observe(
        self, layer: str, shapes: Sequence[Seen], rows: Sequence[Row], *, replaced: bool = False
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

        Returns
        -------
        bool
            Whether the table must be rewritten with `table`.
        """
        before = self._order.get(layer, [])
        known = {uid: seen for uid in before if (seen := self.records[uid].seen) is not None}
        names = identify(
            known,
            shapes,
            [row.uid for row in rows],
            taken=self.records.keys() - set(before),
            shuffled=len(rows) != len(shapes) or (replaced and len(shapes) != len(before)),
        )
        order = [name or new_uid() for name in names]
        for uid in set(before) - set(order):
            del self.records[uid]
        self._order[layer] = order
        for position, (uid, shape) in enumerate(zip(order, shapes, strict=True)):
            self._update(uid, layer, shape, rows[position] if position < len(rows) else Row())
        self._refresh_groups()
        self._tell()
        wanted = self.table(layer)
        return len(wanted) != len(rows) or not all(map(Row.same, wanted, rows))

    def table(self, layer: str) -> list[Row]:
        """Return the rows that the features table of a layer should have, in order."""
        return [self.records[uid].row for uid in self._order.get(layer, [])]

    def uids(self, layer: str) -> list[str]:
        """Return the uids of a layer's shapes, in the order of the shapes."""
        return list(self._order.get(layer, []))

    def forget(self, layer: str) -> None:
        """Drop the shapes of a layer that is gone."""
        for uid in self._order.pop(layer, []):
            del self.records[uid]
        self._refresh_groups()

    # what a person asks for

    def edit(self, uid: str, text: str) -> None:
        """Take a person's text for a record; an empty one hands it back to the models."""
        if uid in self.records:
            self.records[uid].write(" ".join(text.split()))
            self._tell()

    def accept(self, uids: Iterable[str]) -> int:
        """Keep texts as they are, safe from any model; return how many have none to keep."""
        chosen = self._chosen(uids)
        for record in chosen:
            record.reviewed = bool(record.caption)
        self._tell()
        return sum(not record.reviewed for record in chosen)

    def reject(self, uids: Iterable[str]) -> int:
        """Throw models' texts away for good; return how many were kept, a person's or locked.

        No model is asked again until a person asks, or moves the shape.
        """
        chosen = self._chosen(uids)
        kept = [r for r in chosen if r.locked or r.source in ("human", "edited")]
        for record in chosen:
            if record not in kept:
                record.empty()
                record.blank()
                record.wanted, record.rejected = False, True
        self._tell()
        return len(kept)

    def lock(self, uids: Iterable[str], on: bool) -> None:
        """Keep all models from records, with a text or without, or let them in again."""
        for record in self._chosen(uids):
            record.locked = on
            record.wanted = record.wanted and not on
        self._tell()

    def choose(self, uid: str, place: int) -> bool:
        """Take one of the model's other wordings, counted from 0, as accepted text.

        It changes places with the model's first wording. False where there is no such wording.
        """
        chosen = uid in self.records and self.records[uid].choose(place)
        self._tell()
        return chosen

    def again(self, uids: Iterable[str]) -> int:
        """Ask for new captions; return how many were refused: a person's, accepted or locked."""
        chosen = self._chosen(uids)
        refused = sum(record.protected for record in chosen)
        for record in chosen:
            if not record.protected:
                record.blank()
                record.want()
        self._tell()
        return refused

    def group(self, members: Iterable[str]) -> Record | None:
        """Return the record of several shapes together, made on first use; None below two."""
        names = tuple(sorted(uid for uid in set(members) if self._is_shape(uid)))
        if len(names) < 2:
            return None
        found = self.find_group(names)
        if found is None:
            found = Record(new_uid(), "group", self._fingerprint(names), members=names)
            self.records[found.uid] = found
        return found

    def find_group(self, members: Iterable[str]) -> Record | None:
        """Return the record of these shapes together, if there is one."""
        names = tuple(sorted(set(members)))
        return next((r for r in self.records.values() if names and r.members == names), None)

    def whole(self, plane: Plane) -> Record:
        """Return the record of a whole plane, made on first use."""
        found = self.find_whole(plane)
        if found is None:
            uid = "-".join(["image", *map(str, plane.axes), *map(str, plane.index)])
            found = self.records[uid] = Record(uid, "image", uid, plane=plane)
        return found

    def find_whole(self, plane: Plane) -> Record | None:
        """Return the record of a whole plane, if there is one."""
        return next((r for r in self.records.values() if r.plane == plane), None)

    # what the models do

    def restart(self, *, rewrite: bool = False, model: str = "") -> int:
        """Start a new reading of the image and return its generation.

        Parameters
        ----------
        rewrite : bool
            Also ask again for captions that a model wrote before.
        model : str
            Which model reads; captions known to be another one's are asked for again anyway.
        """
        self.generation += 1
        for record in self.records.values():
            strange = bool(model and record.model) and record.model != model
            asked = rewrite or strange or not record.caption
            record.wanted = asked and not record.protected and not record.rejected
        return self.generation

    def take(self, ready: Callable[[Record], bool]) -> list[Request]:
        """Return requests for all wanted records that are ready, and mark them as asked."""
        chosen = [record for record in self.records.values() if record.wanted and ready(record)]
        for record in chosen:
            record.wanted = False
        return [Request(record.uid, record.fingerprint, self.generation) for record in chosen]

    def give_back(self, requests: Iterable[Request]) -> None:
        """Want again what was asked but not answered."""
        for request in requests:
            record = self._current(request)
            if record is not None:
                record.wanted = True

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
        record.caption, record.score = caption.text, round(float(caption.score), 4)
        record.source = "model" if caption.text else ""
        record.model, record.details, record.problem = model, caption, ""
        record.origin = dict(origin)
        self._tell()
        return True

    def fail(self, request: Request, problem: str) -> None:
        """Note why a record has no caption."""
        record = self._current(request)
        if record is not None:
            record.problem = problem
            self._tell()

    # details

    def _tell(self) -> None:
        for listener in list(self.changed):
            listener()

    def _chosen(self, uids: Iterable[str]) -> list[Record]:
        return [self.records[uid] for uid in dict.fromkeys(uids) if uid in self.records]

    def _current(self, request: Request) -> Record | None:
        """Return the record that a request still speaks of."""
        record = self.records.get(request.uid)
        if record is None or record.protected or request.generation != self.generation:
            return None
        return record if record.fingerprint == request.fingerprint else None

    def _update(self, uid: str, layer: str, shape: Seen, row: Row) -> None:
        """Bring one record up to date with its shape and its row."""
        record = self.records.get(uid)
        if record is None:
            self.records[uid] = _adopt(uid, layer, shape, row)
            return
        if row.uid == uid:
            record.extras = row.extras
            if row.caption is not None:
                record.write(row.caption)
            if row.reviewed is not None:
                record.reviewed = row.reviewed and bool(record.caption)
        record.seen = shape
        if record.fingerprint != shape.fingerprint:
            record.fingerprint = shape.fingerprint
            record.blank()
            record.want()

    def _refresh_groups(self) -> None:
        """Drop groups that lost a member, ask again for those with a changed one."""
        for record in [r for r in self.records.values() if r.kind == "group"]:
            if not all(map(self._is_shape, record.members)):
                del self.records[record.uid]
                continue
            fingerprint = self._fingerprint(record.members)
            if fingerprint != record.fingerprint:
                record.fingerprint = fingerprint
                record.blank()
                record.want()

    def _fingerprint(self, members: Iterable[str]) -> str:
        return "+".join(self.records[uid].fingerprint for uid in members)

    def _is_shape(self, uid: str) -> bool:
        return uid in self.records and self.records[uid].kind == "shape"

    def sources(self) -> Counter[str]:
        """Return how many captions each source has written."""
        return Counter(record.source for record in self.records.values())


def new_uid() -> str:
    """Return a name that no other shape has."""
    return uuid4().hex


def _adopt(uid: str, layer: str, shape: Seen, row: Row) -> Record:
    """Return the record of a shape never seen before, with what its row brought along."""
    record = Record(uid, "shape", shape.fingerprint, layer=layer, seen=shape, extras=row.extras)
    # A row whose uid was refused is a pasted copy: its text belongs to the original.
    if row.caption and row.uid in ("", uid):
        record.caption, record.score = row.caption, row.score
        record.source = row.source if row.source in SOURCES and row.source else "human"
        record.model, record.reviewed = row.caption_model, bool(row.reviewed)
    record.wanted = not record.caption
    return record
