"""Saved captions of other people's layers, until a layer shows the regions they belong to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_patchioner.annotations import new_uid
from napari_patchioner.viewer.layers.geometry import POINT
from napari_patchioner.viewer.session.record import LABEL, SeenMask, is_foreign

from .snapshot import fill_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari_patchioner.annotations import ProjectRecord
    from napari_patchioner.viewer.session.record import Record, Seen

# Image pixels; what is left of a position after a way through files and transforms.
SAME_PLACE = 1e-6


class Found(NamedTuple):
    """How a look at one layer went.

    Attributes
    ----------
    layer : str
        Key of the layer.
    captions : int
        That have come back to it.
    strange : tuple of str
        Uids of what was saved for it, and fits nothing there.
    """

    layer: str
    captions: int
    strange: tuple[str, ...]


class Waiting:
    """Gives saved captions back to layers of other people's making; see `session.Waiting`.

    A region is known again by its uid, where its layer has brought a table along, or by being
    the same: a point at the same place, a label of the same pixels.

    Parameters
    ----------
    lost : callable
        Returns all that was saved and is not shown, by uid.
    keep : callable
        Takes what must not be given up though its region has another text by now.
    set_aside : callable
        Takes the key of a layer that is about to go.
    """

    def __init__(
        self,
        lost: Callable[[], Mapping[str, ProjectRecord]],
        keep: Callable[[ProjectRecord], None],
        set_aside: Callable[[str], None],
    ) -> None:
        self._lost, self._keep, self._set_aside = lost, keep, set_aside
        self._news: dict[str, list[ProjectRecord]] = {}
        self._looked: dict[str, Sequence[Seen]] = {}
        self._here: dict[str, ProjectRecord] = {}

    def records(self) -> list[ProjectRecord]:
        """Return what waits for a layer."""
        return [one for one in self._lost().values() if is_foreign(one.layer)]

    def name(
        self, layer: str, shapes: Sequence[Seen], names: Sequence[str | None]
    ) -> list[str | None]:
        """Return the uid of each region, those that were saved among the nameless ones too."""
        self._here = {one.uid: one for one in self.records()}
        if not self._here:
            return list(names)
        free = [one for uid, one in self._here.items() if uid not in names]
        nameless = [place for place, name in enumerate(names) if name is None]
        found = match(free, [shapes[place] for place in nameless])
        known = list(names)
        for place, saved in zip(nameless, found, strict=True):
            known[place] = saved.uid if saved is not None else new_uid()
        self._looked[layer] = shapes
        return known

    def fill(self, record: Record) -> None:
        """Give a record what was saved of it; what the layer itself says is newer."""
        saved = self._here.get(record.uid)
        if saved is None or record.seen is None:
            return
        fits = bool(match([saved], [record.seen])[0])
        # A text that stays with a region that is moved stays with one moved meanwhile, too.
        if not fits and not _protected(saved):
            return
        if record.caption in ("", saved.caption) or (_protected(saved) and not record.protected):
            columns = record.extras
            fill_in(record, saved)
            record.extras = {**record.extras, **columns}
            self._news.setdefault(record.layer, []).append(saved)
        elif _protected(saved):
            self._keep(replace(saved, uid=new_uid()))

    def leave(self, layer: str) -> None:
        """Remember the captions of a layer, which is about to go."""
        self._set_aside(layer)

    def told(self) -> list[Found]:
        """Return what has come back since this was last asked, by layer."""
        found = []
        waiting = self.records()
        for layer, shapes in self._looked.items():
            back = self._news.get(layer, [])
            origins = {layer, *(saved.layer for saved in back)}
            strange = [one.uid for one in waiting if one.layer in origins and _on(one, shapes)]
            found.append(Found(layer, sum(bool(one.caption) for one in back), tuple(strange)))
        self._looked, self._news = {}, {}
        return found

    def belongs(self, key: str, uids: Iterable[Any], places: Sequence[Seen]) -> bool:
        """Whether a layer is one that something waits for.

        Parameters
        ----------
        key : str
            What the layer would be called in the session.
        uids : iterable
            The uids in its table; may hold anything.
        places : sequence of Seen
            Its points; nothing where it has labels.
        """
        waiting = self.records()
        if not {one.uid for one in waiting}.isdisjoint(map(str, uids)):
            return True
        mine = [one for one in waiting if one.layer == key]
        return any(match(mine, places)) if places else bool(mine) and mine[0].shape_type == LABEL


def match(saved: Sequence[ProjectRecord], shapes: Sequence[Seen]) -> list[ProjectRecord | None]:
    """Return what was saved of each region, nothing twice.

    Parameters
    ----------
    saved : sequence of ProjectRecord
        Of points and labels.
    shapes : sequence of Seen
        Points and labels as they are now.
    """
    found: list[ProjectRecord | None] = [None] * len(shapes)
    labels: dict[Any, list[ProjectRecord]] = {}
    for one in saved:
        if one.shape_type == LABEL:
            labels.setdefault(one.digest or _frame(one.vertices, one.label), []).append(one)
    for place, seen in enumerate(shapes):
        if isinstance(seen, SeenMask):
            same = labels.get(seen.digest) or labels.get(_frame(seen.vertices, seen.value))
            if same:
                # The one with the same number, where two layers had the same pixels.
                same.sort(key=lambda one: one.label == seen.value)
                found[place] = same.pop()
    _match_outlines(saved, shapes, found)
    _match_points([one for one in saved if one.shape_type == POINT], shapes, found)
    return found


def _match_outlines(
    saved: Sequence[ProjectRecord], shapes: Sequence[Seen], found: list[ProjectRecord | None]
) -> None:
    """Find shapes of the same kind with the same vertices, in napari's single precision."""
    outlines: dict[Any, list[ProjectRecord]] = {}
    for one in saved:
        if one.shape_type not in (POINT, LABEL, "") and one.vertices is not None:
            outlines.setdefault(_outline(one.shape_type, one.vertices), []).append(one)
    for place, seen in enumerate(shapes):
        same = outlines.get(_outline(seen.shape_type, seen.vertices))
        if same:
            found[place] = same.pop(0)


def _outline(kind: str, vertices: Any) -> tuple[str, bytes]:
    return kind, np.round(np.asarray(vertices, float), 2).tobytes()


def _match_points(
    saved: Sequence[ProjectRecord], shapes: Sequence[Seen], found: list[ProjectRecord | None]
) -> None:
    from scipy.spatial import cKDTree

    points = [place for place, seen in enumerate(shapes) if seen.shape_type == POINT]
    if not points:
        return
    axes = shapes[points[0]].vertices.shape[1]
    saved = [one for one in saved if one.vertices is not None and one.vertices.shape[1] == axes]
    if not saved:
        return
    tree = cKDTree(np.array([one.vertices[0] for one in saved if one.vertices is not None]))
    near = tree.query_ball_point([shapes[place].vertices[0] for place in points], SAME_PLACE)
    taken: set[int] = set()
    for place, candidates in zip(points, near, strict=True):
        choice = next((one for one in sorted(candidates) if one not in taken), None)
        if choice is not None:
            taken.add(choice)
            found[place] = saved[choice]


def _frame(corners: Any, value: int | None) -> tuple[int | None, bytes]:
    """Return what files of older versions know of a label: where it is, and its number."""
    return value, np.round(np.asarray(corners)).astype(int).tobytes()


def _on(saved: ProjectRecord, shapes: Sequence[Seen]) -> bool:
    """Whether a region would lie on one of the planes that were looked at."""
    if saved.shape_type == POINT or saved.vertices is None:
        return True
    planes = {(seen.axes, _others(seen.axes, seen.vertices)) for seen in _masks(shapes)}
    return any(_others(axes, saved.vertices) == place for axes, place in planes)


def _masks(shapes: Sequence[Seen]) -> list[SeenMask]:
    return [seen for seen in shapes if isinstance(seen, SeenMask)]


def _others(axes: tuple[int, int], corners: Any) -> tuple[float, ...]:
    return tuple(corners[0][axis] for axis in range(corners.shape[1]) if axis not in axes)


def _protected(saved: ProjectRecord) -> bool:
    """Whether no model may touch a text, as `Record.protected`."""
    return saved.locked or saved.reviewed or (bool(saved.caption) and saved.source != "model")
