"""The shapes of a Shapes layer: read, written, and mended where napari leaves them broken."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.viewer.session.record import Appearance, Seen, same_cell

from .geometry import affine_between, alignment
from .table import named_columns, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    from napari.layers import Image, Shapes

    from napari_patchioner.viewer.session.record import Row


# Of the view of a Shapes layer
ARRANGING = ("shapes", "edit", "remove_all", "add", "_update_z_order")


# reading


def _appearances(layer: Shapes, indices: Sequence[int]) -> Sequence[Appearance | None]:
    """Return how the shapes of these numbers are drawn, as far as napari knows."""
    width, edge, face, z = layer.edge_width, layer.edge_color, layer.face_color, layer.z_index
    if min(map(len, (width, edge, face, z))) < layer.nshapes:
        return [None] * len(indices)
    return [
        Appearance(float(width[i]), tuple(edge[i].tolist()), tuple(face[i].tolist()), int(z[i]))
        for i in indices
    ]


class LayerReader:
    """Reads a layer again and again; what is as it was is the very same object as last time.

    Everything is compared by value, since napari announces neither a paste nor a cell written in
    place.
    """

    def __init__(self, layer: Shapes, image: Image) -> None:
        self._layer = layer
        self._image = image
        self._seen: list[Seen] = []
        # napari's own arrays, held so that no other array takes the number of one that is gone.
        self._arrays: list[npt.NDArray[Any]] = []
        self._indices: dict[int, int] = {}
        self._style = np.empty((0, 0))
        self._affine: list[npt.NDArray[np.float64]] = []
        self._names: list[str] = []
        self._columns: list[list[Any]] = []
        self._rows: list[Row] = []

    def shapes(self) -> list[Seen]:
        """Return all shapes of the layer as they lie on the image."""
        arrays, kinds = self._layer.data, self._layer.shape_type
        affine = list(affine_between(self._layer, self._image))
        if self._affine and not all(map(np.allclose, affine, self._affine)):
            self._seen, self._arrays, self._indices = [], [], {}
        style = _style(self._layer)
        before = [self._indices.get(id(array), index) for index, array in enumerate(arrays)]
        same = self._compare(arrays, kinds, style, before)
        if not all(same):
            to_image = alignment(self._layer, self._image)
            fresh = [index for index, alike in enumerate(same) if not alike]
            appearance = dict(zip(fresh, _appearances(self._layer, fresh), strict=True))
            self._seen = [
                self._seen[before[i]]
                if alike
                else Seen(kind, to_image(array), drawn=np.array(array), appearance=appearance[i])
                for i, (array, kind, alike) in enumerate(zip(arrays, kinds, same, strict=True))
            ]
        elif len(arrays) != len(self._seen) or before != list(range(len(before))):
            self._seen = [self._seen[index] for index in before]
        self._arrays, self._style, self._affine = arrays, style, affine
        self._indices = {id(array): index for index, array in enumerate(arrays)}
        return list(self._seen)

    def rows(self) -> list[Row]:
        """Return the rows of the features table, however many there are."""
        names, columns = named_columns(self._layer)
        length = len(columns[0]) if columns else len(self._layer.features)
        if names != self._names:
            self._rows, self._columns = [], []
        kept = min(length, len(self._rows))
        changed = {
            index
            for new, old in zip(columns, self._columns, strict=False)
            for index, cells in enumerate(zip(new, old, strict=False))
            if not _surely_same(*cells)
        }
        fresh = sorted(index for index in changed if index < kept) + list(range(kept, length))
        made = rows_of(names, [[column[i] for i in fresh] for column in columns], len(fresh))
        self._rows = self._rows[:kept] + made[len(made) - (length - kept) :]
        for index, row in zip(fresh, made, strict=True):
            self._rows[index] = row
        self._names, self._columns = names, columns
        return list(self._rows)

    def _compare(
        self,
        arrays: Sequence[npt.NDArray[Any]],
        kinds: Sequence[str],
        style: npt.NDArray[np.float64],
        before: Sequence[int],
    ) -> list[bool]:
        """Whether each shape is the one seen at its place before, number for number."""
        seen = self._seen
        same = [
            i < len(seen) and seen[i].shape_type == kind and seen[i].outline.shape == array.shape
            for i, kind, array in zip(before, kinds, arrays, strict=True)
        ]
        indices = [index for index, alike in enumerate(same) if alike]
        if not indices:
            return same
        now = [arrays[index] for index in indices]
        new, old = np.concatenate(now), np.concatenate([seen[before[i]].outline for i in indices])
        moved = ((new != old) & ~(np.isnan(new) & np.isnan(old))).any(axis=1)
        if moved.any():
            ends = np.cumsum([0, *map(len, now)])
            for index, (start, stop) in zip(indices, pairwise(ends), strict=True):
                same[index] = not moved[start:stop].any()
        if style.shape[1:] != self._style.shape[1:]:
            return [False] * len(same)
        if style.size:
            repainted = (style[indices] != self._style[[before[i] for i in indices]]).any(axis=1)
            for position in np.flatnonzero(repainted):
                same[indices[position]] = False
        return same


def _style(layer: Shapes) -> npt.NDArray[np.float64]:
    """Return how each shape is drawn, shape (n, 10); of no width where napari does not know."""
    parts = [layer.edge_width, layer.z_index, *np.transpose(layer.edge_color)]
    parts += [*np.transpose(layer.face_color)]
    if min(map(len, parts)) < layer.nshapes:
        return np.empty((layer.nshapes, 0))
    return np.column_stack([np.asarray(part, float)[: layer.nshapes] for part in parts])


def _surely_same(new: Any, old: Any) -> bool:
    """Whether two cells are equal; in doubt they are not."""
    try:
        return new is old or same_cell(new, old)
    except (TypeError, ValueError):
        return False


# writing


def write_shapes(layer: Shapes, current: Sequence[str], wanted: Mapping[str, Seen]) -> bool:
    """Make the shapes of a layer, given by uid, those that are wanted; whether any had to change.

    Shapes that stay keep their appearance of now; those that come back look as they did. The rows
    of the features table follow by number only: they have to be written afterwards. Nothing on the
    layer may be half drawn or on the move.
    """
    with flat(layer):
        outlines = dict(zip(current, zip(layer.shape_type, layer.data, strict=True), strict=True))
        kept = [uid for uid in current if uid in wanted]
        changed = [uid for uid in kept if not _is_drawn(wanted[uid], *outlines[uid])]
        # Shapes can be changed where they are only by what napari 0.9 has no public names for.
        view = getattr(layer, "_data_view", None)
        if not all(hasattr(view, name) for name in ARRANGING):
            return _write_anew(layer, current, wanted, changed)
        new = {uid: shape for uid, shape in wanted.items() if uid not in outlines}
        if len(kept) < len(current):
            layer.remove([index for index, uid in enumerate(current) if uid not in wanted])
        for uid in changed:
            shape = wanted[uid]
            kind = None if shape.shape_type == outlines[uid][0] else shape.shape_type
            # What napari cannot fill keeps its outline, as when it was drawn.
            with suppress(RuntimeError):
                layer._data_view.edit(kept.index(uid), shape.outline, new_type=kind)
        added = _append(layer, new, {uid: shape.appearance for uid, shape in new.items()})
        moved = _arrange(layer, [*kept, *added], list(wanted))
        if changed or moved:
            layer.refresh()
        return bool(changed or new or moved or len(kept) < len(current))


@contextmanager
def same_selection(layer: Shapes, before: Sequence[str], after: Sequence[str]) -> Iterator[None]:
    """Select the same shapes, given by uid, after they were written, as far as they are left.

    Without shapes to select meanwhile, napari draws no box around what is gone.
    """
    chosen = {before[index] for index in layer.selected_data if index < len(before)}
    layer.selected_data = set()
    yield
    layer.selected_data = {index for index, uid in enumerate(after) if uid in chosen}


def _append(
    layer: Shapes,
    shapes: Mapping[str, Seen],
    appearances: Mapping[str, Appearance | None],
) -> list[str]:
    """Add shapes as they are to be drawn; return which of them napari has taken."""
    try:
        if shapes:
            _add(layer, list(shapes.values()), [appearances[uid] for uid in shapes])
        return list(shapes)
    except RuntimeError:
        if len(shapes) == 1:
            return []
    alone = (_append(layer, {uid: shape}, appearances) for uid, shape in shapes.items())
    return [uid for uids in alone for uid in uids]


def _add(layer: Shapes, shapes: Sequence[Seen], appearances: Sequence[Appearance | None]) -> None:
    """Add shapes; colours that follow the table are left to napari."""
    style: dict[str, Any] = {}
    known = [appearance for appearance in appearances if appearance is not None]
    if len(known) == len(appearances):
        style = {
            "edge_width": [appearance.edge_width for appearance in known],
            "z_index": [appearance.z_index for appearance in known],
        }
        for name in ("edge_color", "face_color"):
            if getattr(layer, f"{name}_mode") == "direct":
                style[name] = np.array([getattr(appearance, name) for appearance in known])
    layer.add([(shape.outline, shape.shape_type) for shape in shapes], **style)


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
    layer: Shapes,
    current: Sequence[str],
    wanted: Mapping[str, Seen],
    changed: Sequence[str],
) -> bool:
    """Use public methods only: from the first difference on, draw everything again."""
    appearances = dict(zip(current, _appearances(layer, range(layer.nshapes)), strict=True))
    pairs = list(zip(current, wanted, strict=False))
    stay = next(
        (i for i, (now, then) in enumerate(pairs) if now != then or now in changed), len(pairs)
    )
    new = {uid: shape for index, (uid, shape) in enumerate(wanted.items()) if index >= stay}
    if stay < len(current):
        layer.remove(list(range(stay, len(current))))
    _append(layer, new, {uid: appearances.get(uid, seen.appearance) for uid, seen in new.items()})
    return stay < max(len(current), len(wanted))


def _is_drawn(shape: Seen, kind: str, vertices: Any) -> bool:
    return shape.shape_type == kind and np.array_equal(shape.outline, vertices, equal_nan=True)


# what napari 0.9 does not offer, or leaves behind


def is_drawing(layer: Shapes) -> bool:
    """Whether a shape is being drawn and not finished, so that the last one is only half there.

    napari has no public name for it (napari PR 9275); without it nothing is lost but time.
    """
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
    """Drop the colours of shapes that are gone, which napari 0.9 keeps like the rows.

    Left in place, they turn all shapes white at the next ``layer.data = ...``. No public setter
    makes the table of colours shorter.
    """
    view = getattr(layer, "_data_view", None)
    for name in ("_edge_color", "_face_color"):
        colours = getattr(view, name, None)
        if colours is not None and len(colours) > layer.nshapes:
            setattr(view, name, colours[: layer.nshapes])


def trim_vertices(layer: Shapes) -> None:
    """Drop the spare vertices of shapes that have lost some, as all drawn by clicks have.

    napari keeps copies of the first vertex in their place, finds them when that vertex is
    grabbed, and ends with an error, since the shape itself has no vertex of that number.
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

    napari makes the new ones for three axes, cannot put lines and paths of them beside those it
    has, and stops half way: the shape is in the table and not on the layer.
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
