"""Bringing a Shapes layer to a wanted state, with as little change as possible."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .table import read_looks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import napari

    from ._canvas import Look, Seen


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
    looks = dict(zip(there, read_looks(layer), strict=True))
    outlines = dict(zip(there, zip(layer.shape_type, layer.data, strict=True), strict=True))
    kept = [uid for uid in there if uid in wanted]
    changed = [uid for uid in kept if not _is_drawn(wanted[uid], *outlines[uid])]
    stay = _common_start(kept, list(wanted), () if _can_edit(layer) else changed)
    removed = [place for place, uid in enumerate(there) if uid not in kept[:stay]]
    if removed:
        layer.remove(removed)
    for place, uid in enumerate(kept[:stay]):
        if uid in changed:
            shape = wanted[uid]
            layer._data_view.edit(place, shape.outline, new_type=shape.shape_type)
    new = {uid: shape for place, (uid, shape) in enumerate(wanted.items()) if place >= stay}
    if new:
        _append(layer, list(new.values()), [looks.get(uid, new[uid].look) for uid in new])
    if changed:
        layer.refresh()
    return bool(removed or changed or new)


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
    layer: napari.layers.Shapes, shapes: Sequence[Seen], looks: Sequence[Look | None]
) -> None:
    """Add shapes with their looks; colours that follow the table are left to napari."""
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


def _can_edit(layer: napari.layers.Shapes) -> bool:
    """Whether a shape can be changed where it is; napari 0.9 has no public word for it."""
    return hasattr(getattr(layer, "_data_view", None), "edit")


def _is_drawn(shape: Seen, kind: str, vertices: Any) -> bool:
    return shape.shape_type == kind and np.array_equal(shape.outline, vertices)


def _common_start(one: Sequence[str], other: Sequence[str], but: Sequence[str]) -> int:
    """Return how many items both begin with alike, before the first of those in `but`."""
    places = range(min(len(one), len(other)))
    return next((i for i in places if one[i] != other[i] or one[i] in but), len(places))
