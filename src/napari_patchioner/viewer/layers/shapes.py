"""The shapes of a Shapes layer: read, written, and mended where napari leaves them broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Shapes

from napari_patchioner.annotations.project.records import Appearance, Seen, same_cell
from napari_patchioner.viewer.session.session import Row

from .geometry import affine_between, mapped
from .table import read_cells, row_of

# Of the view of a Shapes layer
ARRANGING = ("shapes", "edit", "remove_all", "add", "_update_z_order")


# reading


def _appearances(layer: Shapes) -> Sequence[Appearance | None]:
    """Return how the shapes are drawn; None for all where napari does not know of each."""
    parts: list[list[Any]] = [
        [float(width) for width in layer.edge_width],
        [tuple(colour) for colour in layer.edge_color.tolist()],
        [tuple(colour) for colour in layer.face_color.tolist()],
        [int(index) for index in layer.z_index],
    ]
    if min(map(len, parts)) < layer.nshapes:
        return [None] * layer.nshapes
    return list(map(Appearance, *parts))[: layer.nshapes]


class LayerReader:
    """Reads a layer again and again; what is as it was is the very same object as last time."""

    def __init__(self, layer: Shapes, image: Image) -> None:
        # Compared by value: napari announces neither a paste nor a cell written in place.
        self._layer, self._image = layer, image
        self._affine: tuple[npt.NDArray[np.float64], ...] = ()
        # By all that was read of each, number for number
        self._seen: list[tuple[object, Seen]] = []
        self._names: list[str] = []
        self._rows: list[tuple[tuple[Any, ...], Row]] = []

    def shapes(self) -> list[Seen]:
        """Return all shapes of the layer as they lie on the image."""
        layer, affine = self._layer, affine_between(self._layer, self._image)
        known: dict[object, list[Seen]] = {}
        if self._affine and all(map(np.allclose, affine, self._affine)):
            for key, seen in self._seen:
                known.setdefault(key, []).append(seen)
        self._affine, self._seen = affine, []
        styles = _appearances(layer)
        for kind, array, style in zip(layer.shape_type, layer.data, styles, strict=True):
            # Zero has two signs, which are the same place.
            key = kind, style, (array + 0.0).tobytes()
            if known.get(key):
                seen = known[key].pop(0)
            else:
                place = mapped(array, *affine)
                seen = Seen(kind, place, drawn=np.array(array), appearance=style)
            self._seen.append((key, seen))
        return [seen for _, seen in self._seen]

    def rows(self) -> list[Row]:
        """Return the rows of the features table, however many there are."""
        names, lines = read_cells(self._layer)
        before = self._rows if names == self._names else []
        self._names, self._rows = names, []
        for cells, known in zip_longest(lines, before[: len(lines)]):
            if known is None or not all(map(_surely_same, cells, known[0])):
                known = cells, row_of(names, cells)
            self._rows.append(known)
        return [row for _, row in self._rows]


def _surely_same(new: Any, old: Any) -> bool:
    """Whether two cells are equal; in doubt they are not."""
    try:
        return new is old or same_cell(new, old)
    except (TypeError, ValueError):
        return False


# writing


def write_shapes(layer: Shapes, current: Sequence[str], wanted: Mapping[str, Seen]) -> None:
    """Make the shapes of a layer, given by uid, those that are wanted; none may be half drawn.

    Those that stay keep their appearance of now, others look as they did. The rows of the features
    table follow by number only: they have to be written afterwards.
    """
    with flat(layer):
        outlines = dict(zip(current, zip(layer.shape_type, layer.data, strict=True), strict=True))
        kept = [uid for uid in current if uid in wanted]
        changed = [uid for uid in kept if not _is_drawn(wanted[uid], *outlines[uid])]
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
    styles = dict(zip(current, _appearances(layer), strict=True))
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
