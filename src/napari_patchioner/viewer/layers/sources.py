"""Layers besides our own whose regions are captioned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.viewer import Viewer

from napari_patchioner.annotations import new_uid, read_annotations
from napari_patchioner.errors import FormatError, RegionError
from napari_patchioner.viewer.preferences import NAME
from napari_patchioner.viewer.session.session import Session
from napari_patchioner.viewer.workers.job import JobProgress

from .binding import LayerBinding, PointsBinding, TableBinding
from .image_layers import POINTS, is_aside, is_ours
from .labels import LabelsBinding
from .table import annotation_columns

OPENED = "opened"
# Of every followed layer, who follows it: two would both write its table.
_FOLLOWED: WeakKeyDictionary[Any, ReferenceType[Sources]] = WeakKeyDictionary()
_BROUGHT = "napari-patchioner captions"


class Sources:
    """The followed layers of one image; `following` holds them by layer."""

    def __init__(
        self,
        viewer: Viewer,
        image: Image,
        session: Session,
        changed: Callable[[], None],
        finished: Callable[[TableBinding], None] = lambda _: None,
    ) -> None:
        self.following: dict[Any, TableBinding] = {}
        self._viewer, self._image = viewer, image
        self._session, self._changed, self._finished = session, changed, finished

    def offers(self) -> list[Layer]:
        """Return the layers that could be followed: other people's, with the image's axes."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, (Labels, Points, Shapes))
            and layer.ndim == self._image.ndim
            and (layer in self.following or not is_ours(self._viewer, layer))
            and not self._is_others(layer)
            and not is_aside(layer)
        ]

    def follow(self, layer: Layer, *, key: str = "") -> TableBinding:
        """Caption what lies on a layer, and what will; `key` where it is ours or comes back."""
        if layer in self.following:
            return self.following[layer]
        if not isinstance(layer, (Labels, Points, Shapes)):
            raise RegionError(
                f"{layer.name!r} is neither a shapes, points nor labels layer; choose one that is"
            )
        if is_aside(layer):
            raise RegionError(
                f"{layer.name!r} only shows what was found; accept proposals to have regions"
            )
        if layer.ndim != self._image.ndim:
            raise RegionError(
                f"{layer.name!r} has {layer.ndim} axes but the image has {self._image.ndim}; "
                "make a layer with as many"
            )
        if self._is_others(layer):
            raise RegionError(
                f"what lies on {layer.name!r} is captioned for another image; choose that image"
            )
        if key != POINTS:
            bring_captions(layer)
        if not key:
            # Regions called as others are no pastes, which would bring no captions along.
            names = layer.features.get("uid", [])
            taken = [str(name) in self._session.records for name in names]
            if any(taken):
                uids = [new_uid() if t else name for name, t in zip(names, taken, strict=True)]
                layer.features = layer.features.assign(uid=uids)
            # A name that no other followed layer has
            key, keys = layer_key(layer), {source.key for source in self}
            while key in keys:
                key += "*"
        parts = (layer, self._image, key, self._session, self._changed)
        if isinstance(layer, Labels):
            self.following[layer] = LabelsBinding(*parts, viewer=self._viewer)
        elif isinstance(layer, Points):
            revive = not len(layer.data) and bool(self._session.uids(key))
            self.following[layer] = PointsBinding(*parts, finished=self._finished, revive=revive)
        else:
            self.following[layer] = LayerBinding(*parts, finished=self._finished)
        _FOLLOWED[layer] = ref(self)
        self._changed()
        return self.following[layer]

    def leave(self, layer: Layer, *, deleted: bool = False) -> None:
        """Stop following a layer; its captions stay in its table, but not in the session."""
        source = self.following.pop(layer, None)
        if source is not None:
            source.close()
            _FOLLOWED.pop(layer, None)
            if deleted and (source.key == POINTS or self._session.holds(source.key)):
                # A step, which can be undone
                self._session.drop_layer(source.key)
            elif not self._session.is_away(source.key):
                self._session.forget(source.key)
            self._changed()

    def selected(self) -> list[str]:
        """Return what is selected on a followed layer that is the active one."""
        source = self.following.get(self._viewer.layers.selection.active)
        return source.selected() if source is not None else []

    def __iter__(self) -> Iterator[TableBinding]:
        """Go through the followed layers."""
        return iter(list(self.following.values()))

    @property
    def progress(self) -> JobProgress | None:
        """How far a long reading of a layer is, if one is going on."""
        running = (source.progress for source in self.following.values())
        return next((progress for progress in running if progress is not None), None)

    def close(self) -> None:
        """Stop following everything."""
        for source in self.following.values():
            source.close()
            _FOLLOWED.pop(source.layer, None)
        self.following.clear()

    def _is_others(self, layer: Layer) -> bool:
        """Whether a layer is followed for another image."""
        follower = _FOLLOWED.get(layer)
        return follower is not None and follower() not in (None, self)


def layer_key(layer: Layer) -> str:
    """Return what a followed layer is called in the session, if no other one has its name."""
    # What was opened from a file of captions comes back without the file, too.
    kind = type(layer).__name__.lower()
    return f"{OPENED if is_opened(layer) and kind != 'labels' else kind}:{layer.name}"


def is_opened(layer: Layer) -> bool:
    """Whether a layer was opened from a file of regions and captions."""
    return bool(layer.source.reader_plugin == NAME or layer.metadata.get(_BROUGHT))


def bring_captions(layer: Layer) -> bool:
    """Take the captions along that napari's own reader leaves in a table of shapes; whether any."""
    path = str(layer.source.path or "")
    if not hasattr(layer, "shape_type") or not path.lower().endswith(".csv"):
        return False
    if "caption" in layer.features:
        return False
    try:
        annotations = read_annotations(path)
    except FormatError:
        return False
    if len(annotations) != layer.nshapes or not any(item.caption for item in annotations):
        return False
    layer.features = layer.features.assign(**annotation_columns(annotations))
    layer.metadata[_BROUGHT] = True
    return True
