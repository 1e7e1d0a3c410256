"""Saved captions of other people's layers, given back once a layer shows their regions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Points, Shapes
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import new_uid
from napari_patchioner.viewer.layers.geometry import POINT, alignment
from napari_patchioner.viewer.layers.shapes import LayerReader
from napari_patchioner.viewer.layers.sources import layer_key
from napari_patchioner.viewer.session.record import LABEL, Seen, SeenMask, is_foreign
from napari_patchioner.viewer.session.session import counted

from .restore import restore_groups
from .snapshot import fill_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import napari
    from napari.utils.events import Event

    from napari_patchioner.annotations import ProjectRecord
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.session.record import Record

    from .snapshot import Snapshots

# Image pixels; what is left of a position after a way through files and transforms.
SAME_PLACE = 1e-6


class Returned(NamedTuple):
    """What came back to one layer: how many captions, and the uids of those that fit nothing."""

    layer: str
    captions: int
    unmatched: tuple[str, ...]


class SavedCaptions:
    """Gives saved captions back to layers of other people's making, as the session asks.

    A region is known again by its uid, where its layer has brought a table along, or by being
    the same: a point at the same place, a label of the same pixels.
    """

    def __init__(
        self,
        lost: Callable[[], Mapping[str, ProjectRecord]],
        keep: Callable[[ProjectRecord], None],
        set_aside: Callable[[str], None],
    ) -> None:
        self._lost, self._keep, self._set_aside = lost, keep, set_aside
        self._news: dict[str, list[ProjectRecord]] = {}
        self._named: dict[str, Sequence[Seen]] = {}
        self._candidates: dict[str, ProjectRecord] = {}

    def records(self) -> list[ProjectRecord]:
        """Return what is saved for layers that are not there."""
        return [record for record in self._lost().values() if is_foreign(record.layer)]

    def name(
        self, layer: str, shapes: Sequence[Seen], names: Sequence[str | None]
    ) -> list[str | None]:
        """Return the uid of each region, those that were saved among the nameless ones too."""
        self._candidates = {record.uid: record for record in self.records()}
        if not self._candidates:
            return list(names)
        free = [record for uid, record in self._candidates.items() if uid not in names]
        nameless = [index for index, name in enumerate(names) if name is None]
        matches = match(free, [shapes[index] for index in nameless])
        known = list(names)
        for index, saved in zip(nameless, matches, strict=True):
            known[index] = saved.uid if saved is not None else new_uid()
        self._named[layer] = shapes
        return known

    def fill(self, record: Record) -> None:
        """Give a record what was saved of it; what the layer itself says is newer."""
        saved = self._candidates.get(record.uid)
        if saved is None or record.seen is None:
            return
        protected = _is_protected(saved)
        # A text that stays with a region that is moved stays with one moved meanwhile, too.
        if not protected and match([saved], [record.seen])[0] is None:
            return
        if record.caption in ("", saved.caption) or (protected and not record.protected):
            columns = record.extras
            fill_in(record, saved)
            record.extras = {**record.extras, **columns}
            self._news.setdefault(record.layer, []).append(saved)
        elif protected:
            self._keep(replace(saved, uid=new_uid()))

    def leave(self, layer: str) -> None:
        """Remember the captions of a layer, which is about to go."""
        self._set_aside(layer)

    def take_news(self) -> list[Returned]:
        """Return what has come back since this was last asked, by layer."""
        news = []
        missing = self.records()
        for layer, shapes in self._named.items():
            back = self._news.get(layer, [])
            origins = {layer, *(saved.layer for saved in back)}
            unmatched = [
                record.uid
                for record in missing
                if record.layer in origins and _lies_among(record, shapes)
            ]
            captions = sum(bool(record.caption) for record in back)
            news.append(Returned(layer, captions, tuple(unmatched)))
        self._named, self._news = {}, {}
        return news

    def belongs(self, key: str, uids: Iterable[Any], places: Sequence[Seen]) -> bool:
        """Whether something is saved for a layer.

        Takes its key in the session, the uids in its table, which may hold anything, and its
        points or shapes; none where it has labels.
        """
        saved = self.records()
        if not {record.uid for record in saved}.isdisjoint(map(str, uids)):
            return True
        mine = [record for record in saved if record.layer == key]
        return any(match(mine, places)) if places else bool(mine) and mine[0].shape_type == LABEL


def match(saved: Sequence[ProjectRecord], shapes: Sequence[Seen]) -> list[ProjectRecord | None]:
    """Return what was saved of each region, nothing twice."""
    matches: list[ProjectRecord | None] = [None] * len(shapes)
    labels: dict[Any, list[ProjectRecord]] = defaultdict(list)
    outlines: dict[Any, list[ProjectRecord]] = defaultdict(list)
    for record in saved:
        if record.shape_type == LABEL:
            labels[record.digest or _frame(record.vertices, record.label)].append(record)
        elif record.shape_type not in (POINT, "") and record.vertices is not None:
            outlines[_outline(record.shape_type, record.vertices)].append(record)
    for index, seen in enumerate(shapes):
        if isinstance(seen, SeenMask):
            same = labels.get(seen.digest) or labels.get(_frame(seen.vertices, seen.value))
            if same:
                # The one with the same number, where two layers had the same pixels.
                same.sort(key=lambda record: record.label == seen.value)
                matches[index] = same.pop()
        elif same := outlines.get(_outline(seen.shape_type, seen.vertices)):
            matches[index] = same.pop(0)
    _match_points(saved, shapes, matches)
    return matches


def _match_points(
    saved: Sequence[ProjectRecord], shapes: Sequence[Seen], matches: list[ProjectRecord | None]
) -> None:
    """Match points to the saved ones at their places."""
    from scipy.spatial import cKDTree

    indices = [index for index, seen in enumerate(shapes) if seen.shape_type == POINT]
    if not indices:
        return
    axes = shapes[indices[0]].vertices.shape[1]
    points = [
        (record, record.vertices[0])
        for record in saved
        if record.shape_type == POINT
        and record.vertices is not None
        and record.vertices.shape[1] == axes
    ]
    if not points:
        return
    tree = cKDTree(np.array([place for _, place in points]))
    near = tree.query_ball_point([shapes[index].vertices[0] for index in indices], SAME_PLACE)
    taken: set[int] = set()
    for index, candidates in zip(indices, near, strict=True):
        choice = next((number for number in sorted(candidates) if number not in taken), None)
        if choice is not None:
            taken.add(choice)
            matches[index] = points[choice][0]


def _outline(kind: str, vertices: Any) -> tuple[str, bytes]:
    """Return what tells shapes apart, in napari's single precision."""
    return kind, np.round(np.asarray(vertices, float), 2).tobytes()


def _frame(corners: Any, value: int | None) -> tuple[int | None, bytes]:
    """Return what files of older versions know of a label: where it is, and its number."""
    return value, np.round(np.asarray(corners)).astype(int).tobytes()


def _lies_among(saved: ProjectRecord, shapes: Sequence[Seen]) -> bool:
    """Whether a region would lie on one of the planes of these shapes."""
    if saved.shape_type == POINT or saved.vertices is None:
        return True

    def plane(axes: tuple[int, int], corners: Any) -> tuple[float, ...]:
        return tuple(corners[0][axis] for axis in range(corners.shape[1]) if axis not in axes)

    masks = (seen for seen in shapes if isinstance(seen, SeenMask))
    planes = {(seen.axes, plane(seen.axes, seen.vertices)) for seen in masks}
    return any(plane(axes, saved.vertices) == place for axes, place in planes)


def _is_protected(saved: ProjectRecord) -> bool:
    """Whether no model may touch a text, as `Record.protected`."""
    return saved.locked or saved.reviewed or (bool(saved.caption) and saved.source != "model")


class ForeignCaptions(QObject):  # type: ignore[misc]
    """Follows layers that captions are saved for, and says how that went."""

    messaged = Signal(str)

    def __init__(
        self, controller: Controller, snapshots: Snapshots, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._controller, self._snapshots = controller, snapshots
        self._reported: set[str] = set()
        self.saved = SavedCaptions(
            lambda: snapshots.lost,
            snapshots.keep,
            lambda layer: snapshots.set_aside(layer, self.layers | {layer}),
        )
        controller.session.pending = self.saved
        controller.changed.connect(self._on_changed)
        controller.viewer.layers.events.inserted.connect(self._on_inserted)

    @property
    def layers(self) -> set[str]:
        """Keys of all layers that are followed."""
        followed = self._controller.sources.following.values()
        return {*self._controller.bindings, *(source.key for source in followed)}

    def follow(self) -> None:
        """Follow the layers there are that captions are saved for."""
        for layer in self._controller.sources.offers():
            self._follow(layer)

    def close(self) -> None:
        """Disconnect from the controller and the viewer."""
        self._controller.session.pending = None
        self._controller.changed.disconnect(self._on_changed)
        self._controller.viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _on_inserted(self, event: Event) -> None:
        if event.value in self._controller.sources.offers():
            self._follow(event.value)

    def _follow(self, layer: napari.layers.Layer) -> None:
        sources, image = self._controller.sources, self._controller.image
        if layer in sources.following or not self.saved.records():
            return
        places: list[Seen] = []
        if isinstance(layer, Shapes):
            places = LayerReader(layer, image).shapes()
        elif isinstance(layer, Points):
            places = [Seen(POINT, place[None]) for place in alignment(layer, image)(layer.data)]
        if self.saved.belongs(layer_key(layer), layer.features.get("uid", ()), places):
            sources.follow(layer)

    def _on_changed(self) -> None:
        """Restore groups that have become whole again, and say what came back."""
        for returned in self.saved.take_news():
            self._restore_groups()
            name = returned.layer.partition(":")[2]
            if returned.captions:
                self.messaged.emit(f"Restored {counted(returned.captions, 'caption')} on {name!r}.")
            unmatched = set(returned.unmatched) - self._reported
            if unmatched:
                self._reported |= unmatched
                show_warning(
                    f"{counted(unmatched, 'saved caption')} could not be matched: {name!r} is not "
                    "what it was when they were written. They stay in the project."
                )

    def _restore_groups(self) -> None:
        """Bring back captions of several regions together, once all of these are there."""
        session = self._controller.session
        groups = [record for record in self._snapshots.lost.values() if record.members]
        restore_groups(groups, session)
        for saved in groups:
            if saved.uid in session.records:
                fill_in(session.records[saved.uid], saved)
        session.amend()
