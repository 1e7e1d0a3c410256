"""Saved work back on its image: shapes, captions, groups, and all that goes with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from napari.layers import Image, Layer, Points, Shapes
from napari.utils.events import Event
from napari.utils.notifications import show_warning

from napari_patchioner.annotations import Project, Record, Seen, new_uid
from napari_patchioner.annotations.project.records import LABEL, OWN_LAYERS, SeenMask, is_foreign
from napari_patchioner.errors import FormatError, counted
from napari_patchioner.viewer.layers import table
from napari_patchioner.viewer.layers.geometry import POINT, alignment
from napari_patchioner.viewer.layers.shapes import LayerReader, flat
from napari_patchioner.viewer.layers.sources import OPENED, layer_key
from napari_patchioner.viewer.session.session import Names, PendingCaptions, Session

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller

Fill: TypeAlias = Callable[[Layer], None]
DRAWN = ("rectangle", "ellipse", "polygon", "path", "line", POINT)
# Image pixels; what is left of a position after a way through files and transforms.
SAME_PLACE = 1e-6


Records: TypeAlias = dict[str, Record]


class Snapshots:
    """Takes a session's records, and keeps those of layers that are not there."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._taken: Records = {}
        # What cannot be shown or lay on layers of others, on our own, and on those made anew
        self._carried: Records = {}
        self._gone: Records = {}
        self._dropped: Records = {}

    def dropped(self) -> tuple[Record, ...]:
        """Return what was on deleted layers that were made anew without it, each record once."""
        dropped, self._dropped = self._dropped, {}
        return tuple(record for uid, record in dropped.items() if uid not in self._session.records)

    @property
    def lost(self) -> Records:
        """What the session does not show, but the file keeps."""
        lost = {**self._carried, **self._gone}
        return {u: record for u, record in lost.items() if u not in self._session.records}

    def carry(self, left: Iterable[Record]) -> None:
        """Remember records that cannot be shown, to write them again."""
        self._carried = {record.uid: record for record in left}

    def keep(self, record: Record) -> None:
        """Write a record from now on that is not shown."""
        self._carried[record.uid] = record

    def delete(self, layer: str) -> None:
        """Write no more what lay on a layer that a person has deleted; see `dropped`."""
        before = self.lost
        lost = {uid: record for uid, record in before.items() if record.layer == layer}
        lost |= _groups_of(lost, before)
        for records in (self._carried, self._gone):
            for uid in lost:
                records.pop(uid, None)
        self._dropped |= lost

    def set_aside(self, layer: str, bound: Container[str]) -> None:
        """Write on what lies on a layer, which is about to go."""
        for record in self.take(bound):
            if record.layer == layer:
                self._carried[record.uid] = record

    def take(self, bound: Container[str]) -> tuple[Record, ...]:
        """Return all records, the shapes of each layer in their order; `bound` is which there are.

        The shapes of a layer that is gone as a whole are kept: it was taken away with its image, or
        by mistake. One of other people's making may come back in part, or plane by plane.
        """
        records = self._session.records
        layers = dict.fromkeys(record.layer for record in records.values() if record.layer)
        order = [uid for layer in layers for uid in self._session.uids(layer)]
        missing = {u: record for u, record in self._taken.items() if u not in records}
        self._taken = {uid: records[uid] for uid in dict.fromkeys([*order, *records])}
        for uid, record in self._gone.items():
            if record.layer in bound and not is_foreign(record.layer) and uid not in records:
                # Its layer was made anew without it.
                self._dropped[uid] = record
        entries = {**self._gone, **missing}
        gone = {u: r for u, r in entries.items() if r.layer and r.layer not in bound}
        self._carried |= {u: record for u, record in gone.items() if is_foreign(record.layer)}
        shapes = {**self._carried, **gone}
        groups = _groups_of(shapes, entries)
        self._gone = self._whole({**gone, **groups}, shapes)
        self._carried = self._whole(self._carried, {**shapes, **groups})
        return (*self._taken.values(), *{**self._carried, **self._gone}.values())

    def _whole(self, records: Records, kept: Records) -> Records:
        """Return those not shown; of groups, those all of whose members are still somewhere."""
        taken, known = self._taken, self._taken.keys() | kept.keys()
        return {u: r for u, r in records.items() if u not in taken and known >= set(r.members)}


def _groups_of(members: Records, records: Records) -> Records:
    """Return the groups among records that have one of these members."""
    return {u: r for u, r in records.items() if not members.keys().isdisjoint(r.members)}


def add(
    records: Sequence[Record], image: Image, session: Session, refill: Callable[[str, Fill], None]
) -> tuple[Record, ...]:
    """Put records on an image, after what is there; return those that cannot be shown.

    `refill` takes the key of a layer and what fills it, and lets the session follow it.
    """
    drawn: dict[str, list[Record]] = {}
    for record in records:
        axes = record.seen.vertices.shape[1] if record.seen is not None else image.ndim
        if axes != image.ndim:
            raise FormatError(
                f"the project was made on an image with {axes} axes, but "
                f"{image.name!r} has {image.ndim}; open the image it belongs to"
            )
        if _is_drawn(record) and record.uid not in session.records:
            drawn.setdefault(record.layer, []).append(record)
    for key, mine in drawn.items():
        refill(key, lambda layer, mine=mine: fill_layer(layer, image, mine))  # type: ignore[misc]
    restore_groups(records, session)
    for saved in records:
        session.fill(saved)
    return tuple(record for record in records if record.uid not in session.records)


def at_home(records: Sequence[Record], image: Image, present: Container[str]) -> tuple[Record, ...]:
    """Return records with a place on the image's own layers for what no `present` layer shows."""
    # Points were put on the dock's own layer before it came back by itself.
    own_points = f"{POINT}s:points [{image.name}]"

    def home(record: Record) -> Record:
        loose = record.layer.partition(":")[0] == OPENED or record.layer == own_points
        if not loose or record.layer in present or record.seen is None:
            return record
        layers = {POINT: "points", "path": "traces"}
        return replace(record, layer=layers.get(record.seen.shape_type, "regions"))

    return tuple(map(home, records))


def resume(project: Project, session: Session) -> tuple[Record, ...] | None:
    """Go on with work that is on the image still; None, and nothing has changed, where none is.

    Returns what lies on layers that are not followed yet.
    """
    drawn = {record.uid for record in project.records if _is_drawn(record)}
    if drawn.isdisjoint(session.records):
        return None
    restore_groups(project.records, session)
    for saved in project.records:
        record = session.records.get(saved.uid)
        # What is on the image is newer: it may have been changed without the dock.
        if record is not None and record.caption in ("", saved.caption):
            session.fill(saved)
    missing = [saved for saved in project.records if saved.uid not in session.records]
    foreign = {saved.uid for saved in missing if is_foreign(saved.layer)}
    return tuple(
        saved for saved in missing if saved.uid in foreign or not foreign.isdisjoint(saved.members)
    )


def fill_layer(layer: Shapes | Points, image: Image, records: Sequence[Record]) -> None:
    """Add saved shapes or points to a layer, each with its uid and caption in its row."""
    to_layer = alignment(image, layer)
    shapes = [(r, to_layer(r.seen.vertices)) for r in records if r.seen is not None]
    before = table.read_rows(layer)[: len(layer.data)]
    if isinstance(layer, Shapes):
        with flat(layer):
            shapes = _draw(layer, shapes)
    else:
        layer.add(np.concatenate([vertices for _, vertices in shapes]))
        layer.selected_data = set()
    rows = [record for record, _ in shapes]
    columns = dict.fromkeys(name for record in rows for name in record.extra)
    missing = [name for name in columns if name not in layer.features]
    if missing:
        empty = np.full(len(layer.features), None, object)
        layer.features = layer.features.assign(**dict.fromkeys(missing, empty))
    table.write_rows(layer, [*before, *rows])


def _draw(layer: Shapes, shapes: list[tuple[Record, Any]]) -> list[tuple[Record, Any]]:
    """Add shapes all at once; one by one where one of them is refused. Return those there."""
    before = layer.nshapes
    kinds = [record.seen.shape_type for record, _ in shapes if record.seen is not None]
    try:
        layer.add([points for _, points in shapes], shape_type=kinds)
    except Exception:  # whatever napari raises for a degenerate outline
        if layer.nshapes > before:
            layer.remove(list(range(before, layer.nshapes)))
        if len(shapes) == 1:
            return []
        return [drawn for shape in shapes for drawn in _draw(layer, [shape])]
    return shapes


def restore_groups(records: Iterable[Record], session: Session) -> None:
    """Make the records of groups, where all of them is there, and planes, as they were named."""
    for saved in records:
        if saved.plane is not None:
            session.rename(session.whole(saved.plane), saved.uid)
        elif saved.members and session.records.keys() >= set(saved.members):
            record = session.group(saved.members)
            if record is not None:
                session.rename(record, saved.uid)


def _is_drawn(record: Record) -> bool:
    """Whether a record is a shape that one of the image's own layers can hold."""
    kind = record.seen.shape_type if record.seen is not None else ""
    return kind in DRAWN and record.layer in OWN_LAYERS


class ForeignCaptions(PendingCaptions):
    """Gives saved captions back to layers of other people's making, and says how that went.

    A region is known again by its uid, where its layer has brought a table along, or by being
    the same: a point at the same place, a label of the same pixels.
    """

    def __init__(
        self, controller: Controller, snapshots: Snapshots, say: Callable[[str], None]
    ) -> None:
        self._controller, self._snapshots, self._say = controller, snapshots, say
        # By layer: what has come back since the last message, and all its regions
        self._news: dict[str, list[Record]] = {}
        self._named: dict[str, Sequence[Seen]] = {}
        self._candidates: dict[str, Record] = {}
        self._reported: set[str] = set()
        controller.session.pending = self
        controller.changed.connect(self._on_changed)
        controller.viewer.layers.events.inserted.connect(self._on_inserted)

    @property
    def layers(self) -> set[str]:
        """Keys of all layers that are followed."""
        return {binding.key for binding in self._controller.all_bindings()}

    def close(self) -> None:
        """Disconnect from the controller and the viewer."""
        self._controller.session.pending = PendingCaptions()
        self._controller.changed.disconnect(self._on_changed)
        self._controller.viewer.layers.events.inserted.disconnect(self._on_inserted)

    def follow(self) -> None:
        """Follow the layers there are that captions are saved for."""
        for layer in self._controller.sources.offers():
            self._follow(layer)

    def name(self, layer: str, shapes: Sequence[Seen], names: Names) -> Names:
        """Return the uid of each region, those that were saved among the nameless ones too."""
        self._candidates = {record.uid: record for record in self._saved()}
        if not self._candidates:
            return names
        free = [record for uid, record in self._candidates.items() if uid not in names]
        nameless = [index for index, name in enumerate(names) if name is None]
        matches = match(free, [shapes[index] for index in nameless])
        known = list(names)
        for index, saved in zip(nameless, matches, strict=True):
            known[index] = saved.uid if saved is not None else new_uid()
        self._named[layer] = shapes
        return known

    def fill(self, record: Record) -> Record:
        """Return a record with what was saved of it; what the layer itself says is newer."""
        saved = self._candidates.get(record.uid)
        if saved is None or record.seen is None:
            return record
        # A text that stays with a region that is moved stays with one moved meanwhile, too.
        if not saved.protected and match([saved], [record.seen])[0] is None:
            return record
        if record.caption in ("", saved.caption) or (saved.protected and not record.protected):
            self._news.setdefault(record.layer, []).append(saved)
            filled = record.filled(saved)
            return replace(filled, extra={**filled.extra, **record.extra})
        if saved.protected:
            self._snapshots.keep(replace(saved, uid=new_uid()))
        return record

    def leave(self, layer: str) -> None:
        """Remember the captions of a layer, which is about to go."""
        self._snapshots.set_aside(layer, self.layers | {layer})

    def _saved(self) -> list[Record]:
        """Return what is saved for layers that are not there."""
        return [record for record in self._snapshots.lost.values() if is_foreign(record.layer)]

    def _on_inserted(self, event: Event) -> None:
        if event.value in self._controller.sources.offers():
            self._follow(event.value)

    def _follow(self, layer: Layer) -> None:
        """Follow a layer if something is saved for it: one of its uids, or one of its regions."""
        sources, image = self._controller.sources, self._controller.image
        saved = self._saved()
        if layer in sources.following or not saved:
            return
        places: list[Seen] = []
        if isinstance(layer, Shapes):
            places = LayerReader(layer, image).shapes()
        elif isinstance(layer, Points):
            places = [Seen(POINT, place[None]) for place in alignment(layer, image)(layer.data)]
        key = layer_key(layer)
        mine = [record for record in saved if record.layer == key]
        is_label = any(record.seen and record.seen.shape_type == LABEL for record in mine[:1])
        # A table of other people may hold anything.
        known = {str(uid) for uid in layer.features.get("uid", ())}
        if not known.isdisjoint(record.uid for record in saved) or (
            any(match(mine, places)) if places else is_label
        ):
            sources.follow(layer)

    def _on_changed(self) -> None:
        """Restore groups that have become whole again, and say what came back."""
        missing = self._saved() if self._named else []
        named, self._named, news, self._news = self._named, {}, self._news, {}
        for layer, shapes in named.items():
            back = news.get(layer, [])
            origins = {layer, *(saved.layer for saved in back)}
            unmatched = {
                record.uid
                for record in missing
                if record.layer in origins and _lies_among(record, shapes)
            }
            # Groups may be whole again.
            session = self._controller.session
            groups = [record for record in self._snapshots.lost.values() if record.members]
            restore_groups(groups, session)
            for saved in groups:
                session.fill(saved)
            session.amend()
            name = layer.partition(":")[2]
            if captions := sum(bool(record.caption) for record in back):
                self._say(f"Restored {counted(captions, 'caption')} on {name!r}.")
            unmatched -= self._reported
            if unmatched:
                self._reported |= unmatched
                show_warning(
                    f"{counted(unmatched, 'saved caption')} could not be matched: {name!r} is not "
                    "what it was when they were written. They stay in the project."
                )


def match(saved: Sequence[Record], shapes: Sequence[Seen]) -> list[Record | None]:
    """Return what was saved of each region, nothing twice."""
    matches: list[Record | None] = [None] * len(shapes)
    known: dict[Any, list[Record]] = defaultdict(list)
    points = []
    for record in saved:
        if record.seen is not None and record.seen.shape_type == POINT:
            points.append((record, record.seen.vertices[0]))
        elif record.seen is not None:
            known[record.seen.digest or _outline(record.seen)].append(record)
    for index, seen in enumerate(shapes):
        # Files of older versions know of a label where it is, and its number.
        same = known.get(seen.digest) or known.get(_outline(seen))
        if same:
            # The label with the same number, where two layers had the same pixels.
            same.sort(key=lambda record: record.seen is None or record.seen.value != seen.value)
            matches[index] = same.pop(0)
    indices = [index for index, seen in enumerate(shapes) if seen.shape_type == POINT]
    if indices:
        axes = shapes[indices[0]].vertices.shape[1]
        points = [(record, place) for record, place in points if len(place) == axes]
    if not indices or not points:
        return matches
    # Late, as it takes long and few projects hold points.
    from scipy.spatial import cKDTree

    tree = cKDTree(np.array([place for _, place in points]))
    near = tree.query_ball_point([shapes[index].vertices[0] for index in indices], SAME_PLACE)
    taken: set[int] = set()
    for index, candidates in zip(indices, near, strict=True):
        choice = next((number for number in sorted(candidates) if number not in taken), None)
        if choice is not None:
            taken.add(choice)
            matches[index] = points[choice][0]
    return matches


def _outline(seen: Seen) -> tuple[str, int | None, bytes]:
    """Return what tells shapes and labels apart, in napari's single precision."""
    return seen.shape_type, seen.value, np.round(np.asarray(seen.vertices, float), 2).tobytes()


def _lies_among(saved: Record, shapes: Sequence[Seen]) -> bool:
    """Whether a region would lie on one of the planes of these shapes."""
    if saved.seen is None or saved.seen.shape_type == POINT:
        return True

    def plane(axes: tuple[int, int], corners: Any) -> tuple[float, ...]:
        return tuple(corners[0][axis] for axis in range(corners.shape[1]) if axis not in axes)

    masks = (seen for seen in shapes if isinstance(seen, SeenMask))
    planes = {(seen.axes, plane(seen.axes, seen.vertices)) for seen in masks}
    return any(plane(axes, saved.seen.vertices) == place for axes, place in planes)
