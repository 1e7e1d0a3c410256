"""The session as a project, and a project's records as the session has them."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_patchioner.annotations import ProjectRecord
from napari_patchioner.viewer.session.record import Plane, SeenMask, is_foreign

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from napari_patchioner.viewer.session.record import Record
    from napari_patchioner.viewer.session.session import Session

# The same in a record of the session and of a project.
SHARED = (
    "caption",
    "score",
    "source",
    "model",
    "problem",
    "details",
    "members",
    "reviewed",
    "locked",
    "rejected",
    "origin",
    "wanted",
)
# All that makes a difference to a file. Nothing in it is changed in place.
_state_of = attrgetter(*SHARED, "asked", "fingerprint", "layer", "extras")


class _Entry(NamedTuple):
    """What a record said when it was taken."""

    stamp: int
    state: tuple[Any, ...]
    kept: ProjectRecord


class Snapshots:
    """Takes the records of a session as plain data; of those unchanged, the very same as before.

    Parameters
    ----------
    session : Session
        Whose records.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._taken: dict[str, _Entry] = {}
        self._extra: dict[str, Mapping[str, Any]] = {}
        self._carried: dict[str, ProjectRecord] = {}
        self._gone: dict[str, ProjectRecord] = {}
        self._dropped: dict[str, ProjectRecord] = {}

    def dropped(self) -> tuple[ProjectRecord, ...]:
        """Return what was on deleted layers that were made anew without it, each record once."""
        dropped, self._dropped = self._dropped, {}
        return tuple(one for uid, one in dropped.items() if uid not in self._session.records)

    @property
    def lost(self) -> dict[str, ProjectRecord]:
        """What the session does not show, but the file keeps."""
        known = self._session.records
        return {u: one for u, one in {**self._carried, **self._gone}.items() if u not in known}

    def carry(self, records: Iterable[ProjectRecord], left: Iterable[ProjectRecord] = ()) -> None:
        """Remember fields of a newer version, and records that cannot be shown, to write again."""
        self._extra = {record.uid: record.extra for record in records if record.extra}
        self._carried = {record.uid: record for record in left}

    def keep(self, record: ProjectRecord) -> None:
        """Write a record from now on that is not shown."""
        self._carried[record.uid] = record

    def delete(self, layer: str) -> None:
        """Write no more what lay on a layer that a person has deleted; see `dropped`."""
        known = self._session.records
        lost = {u: one for u, one in self.lost.items() if one.layer == layer and u not in known}
        lost |= {u: one for u, one in self.lost.items() if not lost.keys().isdisjoint(one.members)}
        self._carried = {u: one for u, one in self._carried.items() if u not in lost}
        self._gone = {u: one for u, one in self._gone.items() if u not in lost}
        self._dropped |= lost

    def set_aside(self, layer: str, bound: Container[str]) -> None:
        """Write on what lies on a layer, which is about to go."""
        for record in self.take(bound):
            if record.layer == layer:
                self._carried[record.uid] = record

    def take(self, bound: Container[str]) -> tuple[ProjectRecord, ...]:
        """Return all records, the shapes of each layer in their order.

        Parameters
        ----------
        bound : container of str
            Keys of the layers there are. The shapes of a layer that is gone as a whole are
            kept: it was taken away with its image, or by mistake.
        """
        before, self._taken = self._taken, {}
        records = self._session.records
        layers = dict.fromkeys(record.layer for record in records.values() if record.layer)
        order = [uid for layer in layers for uid in self._session.uids(layer)]
        for uid in dict.fromkeys([*order, *records]):
            record = records[uid]
            self._taken[uid] = self._entry(record, before.get(uid))
        self._keep_lost({u: e.kept for u, e in before.items() if u not in records}, bound)
        shown = (entry.kept for entry in self._taken.values())
        return (*shown, *{**self._carried, **self._gone}.values())

    def _entry(self, record: Record, known: _Entry | None) -> _Entry:
        """Return a record as plain data, the very same as before where nothing has changed."""
        if known is not None and known.stamp == record.stamp:
            return known
        state = _state_of(record)
        if known is not None and known.state == state:
            return known._replace(stamp=record.stamp)
        extra = self._extra.get(record.uid, {})
        return _Entry(record.stamp, state, _project_record(record, extra))

    def _keep_lost(self, missing: Mapping[str, ProjectRecord], bound: Container[str]) -> None:
        """Keep shapes whose layer is gone, and the groups they are in.

        Regions on layers of other people's making are kept until they are seen again: such a
        layer may come back in part, or plane by plane.
        """
        entries = {**self._gone, **missing}
        again = {u: one for u, one in self._gone.items() if one.layer and one.layer in bound}
        again = {u: one for u, one in again.items() if not is_foreign(one.layer)}
        self._dropped |= {u: one for u, one in again.items() if u not in self._taken}
        gone = {u: one for u, one in entries.items() if one.layer and one.layer not in bound}
        self._carried |= {u: one for u, one in gone.items() if is_foreign(one.layer)}
        shapes = {**self._carried, **gone}
        groups = {
            uid: one for uid, one in entries.items() if not shapes.keys().isdisjoint(one.members)
        }
        self._gone = self._whole({**gone, **groups}, shapes)
        self._carried = self._whole(self._carried, {**shapes, **groups})

    def _whole(
        self, records: Mapping[str, ProjectRecord], kept: Mapping[str, ProjectRecord]
    ) -> dict[str, ProjectRecord]:
        """Return those not shown; of groups, those all of whose members are still somewhere."""
        known = self._taken.keys() | kept.keys()
        return {
            uid: one
            for uid, one in records.items()
            if uid not in self._taken and known >= set(one.members)
        }


def fill_in(record: Record, saved: ProjectRecord) -> None:
    """Make a record of the session say what a saved one says."""
    for name in SHARED:
        if name != "members":
            setattr(record, name, getattr(saved, name))
    record.extras = {**record.extras, **saved.columns}


def plane_of_record(saved: ProjectRecord) -> Plane:
    """Return the plane that a whole-image caption describes."""
    return Plane(*saved.plane)


def _project_record(record: Record, extra: Mapping[str, Any]) -> ProjectRecord:
    seen, plane = record.seen, record.plane
    shared = {name: getattr(record, name) for name in SHARED}
    # What a model has in hand when the program ends has to be asked for again.
    shared["wanted"] = record.owed
    return ProjectRecord(
        record.uid,
        record.kind,
        layer=record.layer,
        shape_type=seen.shape_type if seen is not None else "",
        vertices=seen.vertices if seen is not None else None,
        plane=(plane.axes, plane.index) if plane is not None else None,
        label=seen.value if isinstance(seen, SeenMask) else None,
        digest=seen.digest if isinstance(seen, SeenMask) else "",
        columns=dict(record.extras),
        extra=extra,
        **shared,
    )
