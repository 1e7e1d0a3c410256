"""Bringing a Shapes layer to a wanted state, with as little change as possible."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from .repairs import flat
from .table import read_looks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import napari

    from napari_patchioner.viewer.session.seen import Look, Seen


def write_shapes(
    layer: napari.layers.Shapes, there: Sequence[str], wanted: Mapping[str, Seen]
) -> bool:
    """Make the shapes of a layer those that are wanted; return whether any had to change.

    Shapes that stay keep their looks of now; those that come back look as they did. The rows of
    the features table follow by number only: they have to be written afterwards.

    Parameters
    ----------
    layer : napari.layers.Shapes
        Nothing on it is being drawn or moved.
    there : sequence of str
        The uids of its shapes now.
    wanted : mapping of str to Seen
        The shapes it should have, in their order.
    """
    with flat(layer):
        return _write(layer, there, wanted)


def _write(layer: napari.layers.Shapes, there: Sequence[str], wanted: Mapping[str, Seen]) -> bool:
    """Write the shapes of `write_shapes` in the display that napari can write in."""
    outlines = dict(zip(there, zip(layer.shape_type, layer.data, strict=True), strict=True))
    kept = [uid for uid in there if uid in wanted]
    changed = [uid for uid in kept if not _is_drawn(wanted[uid], *outlines[uid])]
    if not _can_arrange(layer):
        return _write_anew(layer, there, wanted, changed)
    new = {uid: shape for uid, shape in wanted.items() if uid not in outlines}
    if len(kept) < len(there):
        layer.remove([place for place, uid in enumerate(there) if uid not in wanted])
    for uid in changed:
        shape = wanted[uid]
        kind = None if shape.shape_type == outlines[uid][0] else shape.shape_type
        # What napari cannot fill keeps its outline, as when it was drawn.
        with suppress(RuntimeError):
            layer._data_view.edit(kept.index(uid), shape.outline, new_type=kind)
    added = _append(layer, new, {uid: shape.look for uid, shape in new.items()})
    moved = _arrange(layer, [*kept, *added], list(wanted))
    if changed or moved:
        layer.refresh()
    return bool(changed or new or moved or len(kept) < len(there))


@contextmanager
def same_selection(
    layer: napari.layers.Shapes, there: Sequence[str], after: Sequence[str]
) -> Iterator[None]:
    """Select the same shapes again after they were written, as far as they are still there.

    Without shapes to select meanwhile, napari draws no box around what is gone.

    Parameters
    ----------
    layer : napari.layers.Shapes
        The layer.
    there, after : sequence of str
        The uids of its shapes before and after.
    """
    chosen = {there[index] for index in layer.selected_data if index < len(there)}
    layer.selected_data = set()
    yield
    layer.selected_data = {place for place, uid in enumerate(after) if uid in chosen}


def _append(
    layer: napari.layers.Shapes, shapes: Mapping[str, Seen], looks: Mapping[str, Look | None]
) -> list[str]:
    """Add shapes with their looks; return which of them napari has taken."""
    try:
        if shapes:
            _add(layer, list(shapes.values()), [looks[uid] for uid in shapes])
        return list(shapes)
    except RuntimeError:
        if len(shapes) == 1:
            return []
    alone = (_append(layer, {uid: shape}, looks) for uid, shape in shapes.items())
    return [uid for uids in alone for uid in uids]


def _add(layer: napari.layers.Shapes, shapes: Sequence[Seen], looks: Sequence[Look | None]) -> None:
    """Add shapes; colours that follow the table are left to napari."""
    style: dict[str, Any] = {}
    if all(look is not None for look in looks):
        style = {
            "edge_width": [look.edge_width for look in looks],
            "z_index": [look.z_index for look in looks],
        }
        for name in ("edge_color", "face_color"):
            if getattr(layer, f"{name}_mode") == "direct":
                style[name] = np.array([getattr(look, name) for look in looks])
    layer.add([(shape.outline, shape.shape_type) for shape in shapes], **style)


def _arrange(layer: napari.layers.Shapes, there: Sequence[str], wanted: Sequence[str]) -> bool:
    """Bring shapes into another order; they keep their triangles, which are dear to compute."""
    places = {uid: place for place, uid in enumerate(there)}
    order = [places[uid] for uid in wanted if uid in places]
    if order == list(range(len(order))):
        return False
    view = layer._data_view
    shapes = [view.shapes[place] for place in order]
    edge, face = view.edge_color[order], view.face_color[order]
    view.remove_all()
    view.add(shapes, edge_color=edge, face_color=face, z_refresh=False)
    view._update_z_order()
    return True


def _write_anew(
    layer: napari.layers.Shapes,
    there: Sequence[str],
    wanted: Mapping[str, Seen],
    changed: Sequence[str],
) -> bool:
    """Do it in public words only: from the first difference on, draw everything again."""
    looks = dict(zip(there, read_looks(layer), strict=True))
    places = range(min(len(there), len(wanted)))
    pairs = list(zip(there, wanted, strict=False))
    stay = next((i for i in places if len(set(pairs[i])) > 1 or there[i] in changed), len(places))
    new = {uid: shape for place, (uid, shape) in enumerate(wanted.items()) if place >= stay}
    if stay < len(there):
        layer.remove(list(range(stay, len(there))))
    _append(layer, new, {uid: looks.get(uid, shape.look) for uid, shape in new.items()})
    return stay < max(len(there), len(wanted))


def _can_arrange(layer: napari.layers.Shapes) -> bool:
    """Whether shapes can be changed where they are; napari 0.9 has no public words for it."""
    view = getattr(layer, "_data_view", None)
    words = ("shapes", "edit", "remove_all", "add", "_update_z_order")
    return all(hasattr(view, word) for word in words)


def _is_drawn(shape: Seen, kind: str, vertices: Any) -> bool:
    return shape.shape_type == kind and np.array_equal(shape.outline, vertices, equal_nan=True)
