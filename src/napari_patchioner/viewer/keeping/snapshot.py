"""The session as a project, and a project's records as the session has them."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import ProjectRecord
from napari_patchioner.viewer.session.record import Plane

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


class Snapshots:
    """Takes the records of a session as plain data; of those unchanged, the very same as before.

    Parameters
    ----------
    session : Session
        Whose records.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._taken: dict[str, tuple[tuple[Any, ...], ProjectRecord]] = {}
        self._extra: dict[str, Mapping[str, Any]] = {}

    def carry(self, records: Iterable[ProjectRecord]) -> None:
        """Remember fields of a newer version, to write them again."""
        self._extra = {record.uid: record.extra for record in records if record.extra}

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
            state = _state_of(record)
            known = before.get(uid)
            same = known is not None and known[0] == state
            kept = known[1] if same else _project_record(record, self._extra.get(uid, {}))
            self._taken[uid] = state, kept
        self._keep_lost_layers(before, bound)
        return tuple(kept for _, kept in self._taken.values())

    def _keep_lost_layers(
        self, before: Mapping[str, tuple[Any, ProjectRecord]], bound: Container[str]
    ) -> None:
        """Keep shapes whose layer is gone, and the groups they are in."""
        missing = {uid: entry for uid, entry in before.items() if uid not in self._taken}
        lost = {
            uid: entry
            for uid, entry in missing.items()
            if entry[1].vertices is not None and entry[1].layer not in bound
        }
        self._taken |= lost
        for uid, entry in missing.items():
            members = entry[1].members
            if not lost.keys().isdisjoint(members) and self._taken.keys() >= set(members):
                self._taken[uid] = entry


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
    shared["wanted"] = record.wanted or record.asked
    return ProjectRecord(
        record.uid,
        record.kind,
        layer=record.layer,
        shape_type=seen.shape_type if seen is not None else "",
        vertices=seen.vertices if seen is not None else None,
        plane=(plane.axes, plane.index) if plane is not None else None,
        columns=dict(record.extras),
        extra=extra,
        **shared,
    )
