"""The session as a project, and a project's records as the session has them."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_patchioner.annotations import ProjectRecord
from napari_patchioner.viewer.session.record import Plane, SeenMask, is_foreign

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    import napari

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
    """Takes a session's records as plain data; of those unchanged, the very same as before."""

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
        return tuple(record for uid, record in dropped.items() if uid not in self._session.records)

    @property
    def lost(self) -> dict[str, ProjectRecord]:
        """What the session does not show, but the file keeps."""
        known = self._session.records
        lost = {**self._carried, **self._gone}
        return {uid: record for uid, record in lost.items() if uid not in known}

    def carry(self, records: Iterable[ProjectRecord], left: Iterable[ProjectRecord] = ()) -> None:
        """Remember fields of a newer version, and records that cannot be shown, to write again."""
        self._extra = {record.uid: record.extra for record in records if record.extra}
        self._carried = {record.uid: record for record in left}

    def keep(self, record: ProjectRecord) -> None:
        """Write a record from now on that is not shown."""
        self._carried[record.uid] = record

    def delete(self, layer: str) -> None:
        """Write no more what lay on a layer that a person has deleted; see `dropped`."""
        before = self.lost
        lost = {uid: record for uid, record in before.items() if record.layer == layer}
        lost |= {
            uid: record
            for uid, record in before.items()
            if not lost.keys().isdisjoint(record.members)
        }
        for records in (self._carried, self._gone):
            for uid in lost:
                records.pop(uid, None)
        self._dropped |= lost

    def set_aside(self, layer: str, bound: Container[str]) -> None:
        """Write on what lies on a layer, which is about to go."""
        for record in self.take(bound):
            if record.layer == layer:
                self._carried[record.uid] = record

    def take(self, bound: Container[str]) -> tuple[ProjectRecord, ...]:
        """Return all records, the shapes of each layer in their order.

        `bound` holds the keys of the layers there are. The shapes of a layer that is gone as a
        whole are kept: it was taken away with its image, or by mistake.
        """
        before, self._taken = self._taken, {}
        records = self._session.records
        layers = dict.fromkeys(record.layer for record in records.values() if record.layer)
        order = [uid for layer in layers for uid in self._session.uids(layer)]
        for uid in dict.fromkeys([*order, *records]):
            self._taken[uid] = self._entry(records[uid], before.get(uid))
        missing = {uid: entry.kept for uid, entry in before.items() if uid not in records}
        self._keep_lost(missing, bound)
        shown = (entry.kept for entry in self._taken.values())
        return (*shown, *{**self._carried, **self._gone}.values())

    def _entry(self, record: Record, known: _Entry | None) -> _Entry:
        """Return a record as plain data, the very same as before where nothing has changed."""
        if known is not None and known.stamp == record.stamp:
            return known
        state = _state_of(record)
        if known is not None and known.state == state:
            return known._replace(stamp=record.stamp)
        kept = project_record(record, self._extra.get(record.uid, {}))
        return _Entry(record.stamp, state, kept)

    def _keep_lost(self, missing: Mapping[str, ProjectRecord], bound: Container[str]) -> None:
        """Keep shapes whose layer is gone, and the groups they are in.

        Regions on layers of other people's making are kept until they are seen again: such a
        layer may come back in part, or plane by plane.
        """
        for uid, record in self._gone.items():
            made_anew = record.layer in bound and not is_foreign(record.layer)
            if record.layer and made_anew and uid not in self._taken:
                self._dropped[uid] = record
        entries = {**self._gone, **missing}
        gone = {
            uid: record
            for uid, record in entries.items()
            if record.layer and record.layer not in bound
        }
        self._carried |= {u: record for u, record in gone.items() if is_foreign(record.layer)}
        shapes = {**self._carried, **gone}
        groups = {
            uid: record
            for uid, record in entries.items()
            if not shapes.keys().isdisjoint(record.members)
        }
        self._gone = self._whole({**gone, **groups}, shapes)
        self._carried = self._whole(self._carried, {**shapes, **groups})

    def _whole(
        self, records: Mapping[str, ProjectRecord], kept: Mapping[str, ProjectRecord]
    ) -> dict[str, ProjectRecord]:
        """Return those not shown; of groups, those all of whose members are still somewhere."""
        known = self._taken.keys() | kept.keys()
        return {
            uid: record
            for uid, record in records.items()
            if uid not in self._taken and known >= set(record.members)
        }


def fill_in(record: Record, saved: ProjectRecord) -> None:
    """Make a record of the session say what a saved one says."""
    for name in SHARED:
        if name != "members":
            setattr(record, name, getattr(saved, name))
    record.extras = {**record.extras, **saved.columns}


def project_record(record: Record, extra: Mapping[str, Any]) -> ProjectRecord:
    """Return a record of the session as it is saved."""
    seen, plane = record.seen, record.plane
    shared = {name: getattr(record, name) for name in SHARED}
    # What a worker has when the program ends has to be asked for again.
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


def plane_of_record(saved: ProjectRecord) -> Plane:
    """Return the plane that a whole-image caption describes."""
    assert saved.plane is not None
    return Plane(*saved.plane)


def image_title(image: napari.layers.Image) -> str:
    """Return what the image is called in a file: its file name, or the layer's name."""
    return Path(image.source.path).name if image.source.path else str(image.name)
