"""The shapes of a Shapes layer: read, written, and mended where napari leaves them broken."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Shapes

from napari_patchioner.annotations.project.records import Appearance, Seen, same_cell
from napari_patchioner.viewer.session.session import Row

from .geometry import affine_between, mapped
from .table import Column, cells_at, read_columns, row_of

# Of the view of a Shapes layer
ARRANGING = ("shapes", "edit", "remove_all", "add", "_update_z_order")


# reading


class _Reading(NamedTuple):
    """What is read of the shapes of a layer, in arrays: thousands are compared in a millisecond."""

    kinds: npt.NDArray[np.str_]
    # How many vertices each has, and all of them one after the other, shape (total, ndim)
    counts: npt.NDArray[np.intp]
    vertices: npt.NDArray[Any]
    # Shapes (n,), (n, 4), (n, 4) and (n,); without shapes where napari does not know of each
    widths: npt.NDArray[np.float64]
    edges: npt.NDArray[Any]
    faces: npt.NDArray[Any]
    z_indices: npt.NDArray[np.intp]

    @classmethod
    def at(cls, layer: Shapes) -> _Reading:
        """Read a layer as it is now."""
        arrays = [np.asarray(array) for array in layer.data]
        styles: list[npt.NDArray[Any]] = [
            np.array(layer.edge_width, float),
            np.array(layer.edge_color),
            np.array(layer.face_color),
            np.array(layer.z_index, np.intp),
        ]
        known = layer.nshapes if min(map(len, styles)) >= layer.nshapes else 0
        return cls(
            np.array(layer.shape_type, np.str_),
            np.array([len(array) for array in arrays], np.intp),
            np.concatenate(arrays) if arrays else np.zeros((0, layer.ndim)),
            *(style[:known] for style in styles),
        )

    def alike(self, first: int, other: _Reading, second: int, count: int) -> npt.NDArray[np.bool_]:
        """Whether each of so many shapes from the `first` is what lies at the other's `second`."""
        ours, theirs = slice(first, first + count), slice(second, second + count)
        same: npt.NDArray[np.bool_] = self.kinds[ours] == other.kinds[theirs]
        same &= self.counts[ours] > 0
        same &= self.counts[ours] == other.counts[theirs]
        if len(self.widths) != len(self.kinds) or len(other.widths) != len(other.kinds):
            same &= len(self.widths) == len(other.widths) == 0
        else:
            same &= self.widths[ours] == other.widths[theirs]
            same &= self.z_indices[ours] == other.z_indices[theirs]
            same &= (self.edges[ours] == other.edges[theirs]).all(axis=1)
            same &= (self.faces[ours] == other.faces[theirs]).all(axis=1)
        if same.any():
            places = np.flatnonzero(same)
            counts = self.counts[ours][places]
            begins = np.cumsum(counts) - counts
            within = np.arange(counts.sum()) - np.repeat(begins, counts)
            points = [
                reading.vertices[np.repeat(reading.starts[at][places], counts) + within]
                for reading, at in ((self, ours), (other, theirs))
            ]
            equal = (points[0] == points[1]).all(axis=1)
            same[places] = np.logical_and.reduceat(equal, begins)
        return same

    @property
    def starts(self) -> npt.NDArray[np.intp]:
        """Where the vertices of each begin."""
        return np.cumsum(self.counts) - self.counts

    def array(self, index: int) -> npt.NDArray[Any]:
        """Return the vertices of a shape."""
        start = int(self.counts[:index].sum())
        return self.vertices[start : start + int(self.counts[index])]

    def appearance(self, index: int) -> Appearance | None:
        """Return how a shape is drawn; None where napari does not know of each."""
        if index >= len(self.widths):
            return None
        edge, face = tuple(self.edges[index].tolist()), tuple(self.faces[index].tolist())
        return Appearance(float(self.widths[index]), edge, face, int(self.z_indices[index]))

    def key(self, index: int) -> object:
        """Return all that is read of a shape, number for number."""
        # Zero has two signs, which are the same place.
        vertices = (self.array(index) + 0.0).tobytes()
        return str(self.kinds[index]), self.appearance(index), vertices


def _places_before(
    count: int, before: int, alike: Callable[[int, int, int], npt.NDArray[np.bool_]]
) -> npt.NDArray[np.intp]:
    """Return where each of `count` things was among those `before`; -1 where that is not plain.

    Most often nothing has moved, or something was added or deleted at one place. ``alike(first,
    second, number)`` compares so many from the `first` with those from the `second` before.
    """
    places = np.full(count, -1, np.intp)
    shorter = min(count, before)
    same = alike(0, 0, shorter)
    first = shorter if same.all() else int(same.argmin())
    if count == before:
        places[same] = np.flatnonzero(same)
    else:
        places[:first] = np.arange(first)
        rest = shorter - first
        same = alike(count - rest, before - rest, rest)
        places[count - rest :][same] = before - rest + np.flatnonzero(same)
    return places


class LayerReader:
    """Reads a layer again and again; what is as it was is the very same object as last time."""

    def __init__(self, layer: Shapes, image: Image) -> None:
        # Compared by value: napari announces neither a paste nor a cell written in place.
        self._layer, self._image = layer, image
        self._affine: tuple[npt.NDArray[np.float64], ...] = ()
        self._reading: _Reading | None = None
        self._seen: list[Seen] = []
        self._names: list[str] = []
        self._columns: list[Column] = []
        self._rows: list[Row] = []

    def shapes(self) -> list[Seen]:
        """Return all shapes of the layer as they lie on the image."""
        affine = affine_between(self._layer, self._image)
        reading, before, known = _Reading.at(self._layer), self._reading, self._seen
        count = len(reading.kinds)
        same_place = self._affine and all(map(np.allclose, affine, self._affine))
        if (
            before is None
            or not same_place
            or reading.vertices.shape[1] != before.vertices.shape[1]
        ):
            before, known = None, []
        places = np.full(count, -1, np.intp)
        if before is not None:
            past = before
            places = _places_before(
                count, len(known), lambda first, second, n: reading.alike(first, past, second, n)
            )
        seen = [known[place] if place >= 0 else None for place in places.tolist()]
        left: dict[object, list[Seen]] = {}
        if before is not None and (places < 0).any():
            for index in sorted(set(range(len(known))).difference(places.tolist())):
                left.setdefault(before.key(index), []).append(known[index])
        for index in np.flatnonzero(places < 0).tolist():
            same = left.get(reading.key(index))
            if same:
                seen[index] = same.pop(0)
            else:
                array, style = np.array(reading.array(index)), reading.appearance(index)
                place, kind = mapped(array, *affine), str(reading.kinds[index])
                seen[index] = Seen(kind, place, drawn=array, appearance=style)
        self._affine, self._reading = affine, reading
        self._seen = [shape for shape in seen if shape is not None]
        return list(self._seen)

    @property
    def known(self) -> list[Seen]:
        """The shapes as they were read last."""
        return list(self._seen)

    def rows(self) -> list[Row]:
        """Return the rows of the features table, however many there are."""
        names, columns = read_columns(self._layer)
        before, known = self._columns, self._rows
        if names != self._names:
            known = []
        count = len(self._layer.features)

        def alike(first: int, second: int, number: int) -> npt.NDArray[np.bool_]:
            same = np.ones(number, bool)
            for new, old in zip(columns, before, strict=True):
                same &= _same_cells(new[first : first + number], old[second : second + number])
            return same

        places = _places_before(count, len(known), alike) if known else np.full(count, -1)
        self._names, self._columns = names, columns
        self._rows = [
            known[place] if place >= 0 else row_of(names, cells_at(columns, index))
            for index, place in enumerate(places.tolist())
        ]
        return list(self._rows)


def _same_cells(new: Column, old: Column) -> npt.NDArray[np.bool_]:
    """Whether each two cells of a column are equal; in doubt they are not."""
    if isinstance(new, np.ndarray) and isinstance(old, np.ndarray):
        if new.dtype != old.dtype:
            return np.zeros(len(new), bool)
        equal: npt.NDArray[np.bool_] = (new == old) | ((new != new) & (old != old))
        return equal
    same = np.fromiter(map(operator.is_, new, old), bool, len(new))
    for index in np.flatnonzero(~same).tolist():
        same[index] = _surely_same(new[index], old[index])
    return same


def _surely_same(new: Any, old: Any) -> bool:
    """Whether two cells are equal; in doubt they are not."""
    try:
        return new is old or same_cell(new, old)
    except (TypeError, ValueError):
        return False


# writing


def write_shapes(
    layer: Shapes,
    current: Sequence[str],
    wanted: Mapping[str, Seen],
    known: Sequence[Seen] = (),
) -> None:
    """Make the shapes of a layer, given by uid, those that are wanted; none may be half drawn.

    What is wanted and the very object that was read just now, of those that are `known`, is drawn.

    Those that stay keep their appearance of now, others look as they did. The rows of the features
    table follow by number only: they have to be written afterwards.
    """
    with flat(layer):
        outlines = dict(zip(current, zip(layer.shape_type, layer.data, strict=True), strict=True))
        kept = [uid for uid in current if uid in wanted]
        drawn = dict(zip(current, known, strict=False)) if len(known) == len(current) else {}
        doubtful = [uid for uid in kept if drawn.get(uid) is not wanted[uid]]
        changed = [uid for uid in doubtful if not _is_drawn(wanted[uid], *outlines[uid])]
        # Shapes can be changed where they are only by what napari 0.9 has no public names for.
        view = getattr(layer, "_data_view", None)
        if not all(hasattr(view, name) for name in ARRANGING):
            _write_anew(layer, current, wanted, changed)
            return
        if len(kept) < len(current):
            layer.remove([index for index, uid in enumerate(current) if uid not in wanted])
        for uid in changed:
            shape = wanted[uid]
            kind = None if shape.shape_type == outlines[uid][0] else shape.shape_type
            # What napari cannot fill keeps its outline, as when it was drawn.
            with suppress(RuntimeError):
                layer._data_view.edit(kept.index(uid), shape.outline, new_type=kind)
        new = {uid: shape for uid, shape in wanted.items() if uid not in outlines}
        moved = _arrange(layer, [*kept, *_append(layer, new)], list(wanted))
        if changed or moved:
            layer.refresh()


@contextmanager
def same_selection(layer: Shapes, before: Sequence[str], after: Sequence[str]) -> Iterator[None]:
    """Select the same shapes, given by uid, after they were written, as far as they are left."""
    chosen = {before[index] for index in layer.selected_data if index < len(before)}
    # napari would draw a box around what is gone.
    layer.selected_data = set()
    yield
    layer.selected_data = {index for index, uid in enumerate(after) if uid in chosen}


def _append(layer: Shapes, shapes: Mapping[str, Seen]) -> list[str]:
    """Add shapes as they are to be drawn; return which of them napari has taken."""
    if not shapes:
        return []
    options: dict[str, Any] = {}
    styles = [style for shape in shapes.values() if (style := shape.appearance) is not None]
    if len(styles) == len(shapes):
        for name, values in zip(Appearance._fields, zip(*styles, strict=True), strict=True):
            # Colours that follow the table are left to napari.
            if getattr(layer, f"{name}_mode", "direct") == "direct":
                options[name] = np.array(values) if "color" in name else list(values)
    try:
        layer.add([(shape.outline, shape.shape_type) for shape in shapes.values()], **options)
    except RuntimeError:
        if len(shapes) == 1:
            return []
        return [uid for uid in shapes if _append(layer, {uid: shapes[uid]})]
    return list(shapes)


def _arrange(layer: Shapes, current: Sequence[str], wanted: Sequence[str]) -> bool:
    """Bring shapes into another order; they keep their triangles, which are dear to compute."""
    indices = {uid: index for index, uid in enumerate(current)}
    order = [indices[uid] for uid in wanted if uid in indices]
    if order == list(range(len(order))):
        return False
    view = layer._data_view
    shapes = [view.shapes[index] for index in order]
    edge, face = view.edge_color[order], view.face_color[order]
    view.remove_all()
    view.add(shapes, edge_color=edge, face_color=face, z_refresh=False)
    view._update_z_order()
    return True


def _write_anew(
    layer: Shapes, current: Sequence[str], wanted: Mapping[str, Seen], changed: Sequence[str]
) -> None:
    """Use public methods only: from the first difference on, draw everything again."""
    reading = _Reading.at(layer)
    styles = {uid: reading.appearance(index) for index, uid in enumerate(current)}
    pairs = enumerate(zip_longest(current, wanted))
    stay = next((i for i, (now, then) in pairs if now != then or now in changed), len(current))
    if stay < len(current):
        layer.remove(list(range(stay, len(current))))
    _append(
        layer,
        {
            uid: replace(shape, appearance=styles.get(uid, shape.appearance))
            for uid, shape in list(wanted.items())[stay:]
        },
    )


def _is_drawn(shape: Seen, kind: str, vertices: Any) -> bool:
    return shape.shape_type == kind and np.array_equal(shape.outline, vertices, equal_nan=True)


# what napari 0.9 does not offer, or leaves behind


def is_drawing(layer: Shapes) -> bool:
    """Whether a shape is being drawn; napari has no public name for it (napari PR 9275)."""
    return bool(getattr(layer, "_is_creating", False))


def finish_drawing(layer: Shapes) -> None:
    """End a drawing the way Escape does: what has corners enough stays, the rest goes."""
    finish = getattr(layer, "_finish_drawing", None)
    if is_drawing(layer) and finish is not None:
        finish()


def is_dragging(layer: Shapes) -> bool:
    """Whether a shape or vertex is being moved."""
    return bool(getattr(layer, "_is_moving", False))


def trim_colours(layer: Shapes) -> None:
    """Drop the colours of shapes that are gone, which napari 0.9 keeps like the rows."""
    # Left in place, they turn all shapes white at the next ``layer.data = ...``.
    view = getattr(layer, "_data_view", None)
    for name in ("_edge_color", "_face_color"):
        colours = getattr(view, name, None)
        if colours is not None and len(colours) > layer.nshapes:
            setattr(view, name, colours[: layer.nshapes])


def trim_vertices(layer: Shapes) -> None:
    """Drop the spare vertices of shapes that have lost some, as all drawn by clicks have.

    napari finds them when the first vertex is grabbed, of which they are copies, and fails.
    """
    view: Any = getattr(layer, "_data_view", None)
    starts, vertices = (getattr(view, name, None) for name in ("_vertices_index", "_vertices"))
    if starts is None or vertices is None or len(starts) != len(view.shapes) + 1:
        return
    counts = np.array([len(shape.data_displayed) for shape in view.shapes], int)
    if not (np.diff(starts) > counts).any() or (np.diff(starts) < counts).any():
        return
    within = np.arange(len(vertices)) - np.repeat(starts[:-1], np.diff(starts))
    view._vertices = vertices[within < np.repeat(counts, np.diff(starts))]
    view._vertices_index = np.concatenate([[0], np.cumsum(counts)]).astype(starts.dtype)
    with view.batched_updates():
        view._update_displayed()


@contextmanager
def flat(layer: Shapes) -> Iterator[None]:
    """Let shapes with two axes be added while the viewer displays three.

    napari makes the new ones for three axes, and stops half way as the others have two.
    """
    state: Any = getattr(layer, "_slicing_state", None)
    slice_input = getattr(state, "_slice_input", None)
    if layer.ndim > 2 or slice_input is None or slice_input.ndisplay == 2:
        yield
        return
    state._slice_input = replace(slice_input, ndisplay=2)
    try:
        yield
    finally:
        state._slice_input = slice_input
        layer.refresh()
