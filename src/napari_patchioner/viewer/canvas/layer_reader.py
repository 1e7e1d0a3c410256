"""Reading a Shapes layer again and again, with a closer look only at what has changed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.viewer.session.seen import Seen

from .geometry import affine_between, alignment
from .table import named_columns, read_looks, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    import numpy.typing as npt

    from napari_patchioner.viewer.session.seen import Row


class LayerReader:
    """Reads a layer; what is as it was is the very same object as last time.

    Everything is compared by value, since napari tells neither of a paste nor of a cell written
    in place.

    Parameters
    ----------
    layer : napari.layers.Shapes
        The layer to read.
    image : napari.layers.Image
        The image it lies on.
    """

    def __init__(self, layer: napari.layers.Shapes, image: napari.layers.Image) -> None:
        self._layer = layer
        self._image = image
        self._seen: list[Seen] = []
        # napari's own arrays, held so that no other array takes the number of one that is gone.
        self._arrays: list[npt.NDArray[Any]] = []
        self._places: dict[int, int] = {}
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
            self._forget_shapes()
        style = _style(self._layer)
        before = [self._places.get(id(one), at) for at, one in enumerate(arrays)]
        same = self._compare(arrays, kinds, style, before)
        if not all(same):
            self._look(arrays, kinds, before, same)
        elif len(arrays) != len(self._seen) or before != list(range(len(before))):
            self._seen = [self._seen[at] for at in before]
        self._arrays, self._style, self._affine = arrays, style, affine
        self._places = {id(one): at for at, one in enumerate(arrays)}
        return list(self._seen)

    def rows(self) -> list[Row]:
        """Return the rows of the features table, however many there are."""
        names, columns = named_columns(self._layer)
        length = len(columns[0]) if columns else len(self._layer.features)
        if names != self._names:
            self._rows, self._columns = [], []
        kept = min(length, len(self._rows))
        changed: set[int] = set()
        for new, old in zip(columns, self._columns, strict=False):
            changed.update(_differences(new, old))
        fresh = sorted(at for at in changed if at < kept) + list(range(kept, length))
        made = rows_of(names, [[column[at] for at in fresh] for column in columns], len(fresh))
        self._rows = self._rows[:kept] + made[len(made) - (length - kept) :]
        for at, row in zip(fresh, made, strict=True):
            self._rows[at] = row
        self._names, self._columns = names, columns
        return list(self._rows)

    def _forget_shapes(self) -> None:
        self._seen, self._arrays, self._places = [], [], {}

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
            at < len(seen) and seen[at].shape_type == kind and seen[at].outline.shape == one.shape
            for at, kind, one in zip(before, kinds, arrays, strict=True)
        ]
        places = [at for at, alike in enumerate(same) if alike]
        if not places:
            return same
        now = [arrays[at] for at in places]
        ends = np.cumsum([0, *map(len, now)])
        moved = _moved(now, [seen[before[at]].outline for at in places])
        if moved.any():
            for at, (start, stop) in zip(places, pairwise(ends), strict=True):
                same[at] = not moved[start:stop].any()
        if style.shape[1:] != self._style.shape[1:]:
            return [False] * len(same)
        if style.size:
            repainted = (style[places] != self._style[[before[at] for at in places]]).any(axis=1)
            for at in np.flatnonzero(repainted):
                same[places[at]] = False
        return same

    def _look(
        self,
        arrays: Sequence[npt.NDArray[Any]],
        kinds: Sequence[str],
        before: Sequence[int],
        same: Sequence[bool],
    ) -> None:
        """See the shapes that are not as they were."""
        to_image = alignment(self._layer, self._image)
        fresh = [at for at, alike in enumerate(same) if not alike]
        looks = dict(zip(fresh, read_looks(self._layer, fresh), strict=True))
        self._seen = [
            self._seen[before[at]]
            if alike
            else Seen(kind, to_image(one), drawn=np.array(one), look=looks[at])
            for at, (one, kind, alike) in enumerate(zip(arrays, kinds, same, strict=True))
        ]


def _moved(
    now: Sequence[npt.NDArray[Any]], then: Sequence[npt.NDArray[Any]]
) -> npt.NDArray[np.bool_]:
    """Return of each vertex of all shapes whether it has moved; shape (vertices,)."""
    new, old = np.concatenate(now), np.concatenate(then)
    return ((new != old) & ~(np.isnan(new) & np.isnan(old))).any(axis=1)


def _style(layer: napari.layers.Shapes) -> npt.NDArray[np.float64]:
    """Return how each shape is drawn, shape (n, 10); of no width where napari does not know."""
    parts = [layer.edge_width, layer.z_index, *np.transpose(layer.edge_color)]
    parts += [*np.transpose(layer.face_color)]
    if min(map(len, parts)) < layer.nshapes:
        return np.empty((layer.nshapes, 0))
    return np.column_stack([np.asarray(part, float)[: layer.nshapes] for part in parts])


def _differences(new: Sequence[Any], old: Sequence[Any]) -> list[int]:
    """Return where two columns differ, as far as both go; in doubt they do."""
    return [
        at
        for at, (one, other) in enumerate(zip(new, old, strict=False))
        if one is not other and not _same_cell(one, other)
    ]


def _same_cell(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other or (one != one and other != other))
    except (TypeError, ValueError):
        return False
