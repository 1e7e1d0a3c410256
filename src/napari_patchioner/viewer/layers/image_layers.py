"""An image's own layers: for regions, for traces and for points, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Shapes

from napari_patchioner.annotations import content_hash

from .captions import ON_BRIGHT, ON_DARK, draw_captions
from .geometry import full_shape, placement
from .table import BLANK, add_columns, empty_columns

# Of the layers of shapes, and of that of points
KEYS = ("regions", "traces")
POINTS = "points"
BRIGHT = 0.5
_OURS = "napari-patchioner"


@dataclass(frozen=True, slots=True)
class _Owner:
    """Which image a layer lies on, and how to know it again once it was deleted."""

    image: ReferenceType[Image]
    key: str
    # Its file, or where it is none, the hash of its pixels
    path: str
    content: str = ""


# A name alone says nothing: another image may be opened under the name of one that is gone.
_OWNERS: WeakKeyDictionary[Any, _Owner] = WeakKeyDictionary()
# What images have had of ours: other layers that bear its name since are other people's.
_HAD: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
# What only shows something: neither an image to caption nor regions of anybody.
_ASIDE: WeakSet[Any] = WeakSet()
# Copies of ours, which never are ours, whatever they are called.
_COPIES: WeakSet[Any] = WeakSet()


def layer_name(key: str, image: Image) -> str:
    """Return what the layer of an image is called."""
    return f"{key} [{image.name}]"


def images_of(viewer: ViewerModel) -> list[Image]:
    """Return the image layers of a viewer from below to above.

    Those of derived kinds are none, and neither are those that are set aside.
    """
    return [layer for layer in viewer.layers if type(layer) is Image and layer not in _ASIDE]


def set_aside(layer: Layer) -> None:
    """Let a layer be neither captioned nor saved: it only shows something."""
    _ASIDE.add(layer)


def is_aside(layer: object) -> bool:
    """Whether a layer only shows something; a copy of it that somebody makes does not."""
    return layer in _ASIDE


def ensure_layer(viewer: ViewerModel, image: Image, key: str) -> Any:
    """Return the image's layer for regions, traces or points, made where there is none.

    One that is there is taken over with the captions in its table, as of saved work.
    """
    layer, points = find_layer(viewer, image, key), key == POINTS
    colour, width = line_colour(image, key), edge_width(image)
    if layer is None:
        style = {"edge_color": colour, "face_color": "transparent", "edge_width": width}
        if points:
            style = {"face_color": colour, "border_color": "white", "size": 6 * width}
        layer = (Points if points else Shapes)(
            ndim=image.ndim,
            name=layer_name(key, image),
            features=empty_columns(),
            feature_defaults=BLANK,
            **style,
            **placement(image),
        )
        draw_captions(layer, colour)
        if points:
            # Above the point, not over it.
            layer.text.translation = np.eye(image.ndim)[-2] * -0.7 * layer.current_size
        else:
            layer.opacity, layer.current_edge_width = 1, width
            layer.current_edge_color, layer.current_face_color = colour, "transparent"
        _own(layer, image, key)
        viewer.add_layer(layer)
    elif not points:
        if not _is_owned(layer, image, key):
            raise_above(viewer, layer, image)
        draw_captions(layer, colour)
    mark(layer, image, key)
    add_columns(layer)
    protect(layer, True)
    return layer


def find_layer(viewer: ViewerModel, image: Image, key: str) -> Any:
    """Return the image's layer for regions, traces or points, None if there is none.

    Saved work is known by its name, but points never: they may be of other people's making.
    """
    kind, named = Points if key == POINTS else Shapes, None
    for layer in viewer.layers:
        if isinstance(layer, kind) and layer.ndim == image.ndim:
            if _is_owned(layer, image, key):
                return layer
            sign = layer.metadata.get(_OURS) or layer.name
            fits = sign == layer_name(key, image) and (key != POINTS or layer in _OWNERS)
            if fits and named is None and _is_free(viewer, layer, image, key):
                named = layer
    return named


# whose a layer is


def mark(layer: Layer, image: Image, key: str) -> None:
    """Note on a layer which image it belongs to; a renamed layer stays with its image."""
    name = layer_name(key, image)
    if layer.name == layer.metadata.get(_OURS):
        layer.name = name
    layer.metadata[_OURS] = name
    _own(layer, image, key)


def release(layer: Layer, image: Image) -> None:
    """Note which image a layer lay on, so that only the same one takes the layer over again."""
    owner = _OWNERS.get(layer)
    if owner is not None and not owner.path:
        _OWNERS[layer] = _Owner(owner.image, owner.key, "", _content(image))


def is_ours(viewer: ViewerModel, layer: Layer) -> bool:
    """Whether a layer was made for what is drawn on an image that is in the viewer."""
    owner = _OWNERS.get(layer)
    image = owner.image() if owner is not None else None
    return image is not None and image in viewer.layers


def belongs(viewer: ViewerModel, layer: object, image: Image) -> bool:
    """Whether a layer is an image or lies on it, if only by its name as in saved work."""
    own = [image, *(find_layer(viewer, image, key) for key in (*KEYS, POINTS))]
    return layer is not None and any(layer is candidate for candidate in own)


def disown(layer: Layer) -> None:
    """Make a copy of one of our layers a layer of its own, whose captions are drawn the same."""
    layer.metadata.pop(_OURS, None)
    _COPIES.add(layer)
    translation = layer.text.translation
    draw_captions(layer, getattr(layer.text.color, "constant", ON_DARK["regions"]))
    layer.text.translation = translation


def is_copy(layer: object, ours: Layer) -> bool:
    """Whether a layer has been duplicated from one of ours, mark and all."""
    return (
        isinstance(layer, type(ours))
        and layer is not ours
        and layer.metadata.get(_OURS, "") == ours.metadata.get(_OURS)
    )


def _own(layer: Layer, image: Image, key: str) -> None:
    _OWNERS[layer] = _Owner(ref(image), key, str(image.source.path or ""))
    _HAD.setdefault(image, set()).add(key)


def _is_owned(layer: Layer, image: Image, key: str) -> bool:
    """Whether a layer is known to lie on this very image."""
    owner = _OWNERS.get(layer)
    return owner is not None and owner.key == key and owner.image() is image


def _is_free(viewer: ViewerModel, layer: Layer, image: Image, key: str) -> bool:
    """Whether a layer of the right name lies on no other image."""
    owner = _OWNERS.get(layer)
    if owner is None:
        return layer not in _COPIES and key not in _HAD.get(image, ())
    other = owner.image()
    if owner.key != key or (other is not None and other in viewer.layers):
        return False
    path = str(image.source.path or "")
    if owner.path or path:
        return owner.path == path
    return owner.content != "" and owner.content == _content(image)


def _content(image: Image) -> str:
    """Return the hash of pixels in memory; nothing where they would have to be fetched."""
    data = image.data[0] if image.multiscale else image.data
    return content_hash(data) if isinstance(data, np.ndarray) else ""


# how a layer lies and looks on its image


def raise_above(viewer: ViewerModel, layer: Layer, image: Image) -> None:
    """Bring a layer above an image that was opened after it, which would hide it."""
    index, over = viewer.layers.index(layer), viewer.layers.index(image)
    if index < over:
        viewer.layers.move(index, over + 1)


def show(layer: Layer) -> None:
    """Make a layer visible, where it is not.

    What is visible already would be put in the mode in which it was hidden last, if ever.
    """
    if not layer.visible:
        layer.visible = True


def uncover(viewer: ViewerModel, layer: Layer, image: Image) -> None:
    """Let a layer be seen on its image."""
    show(layer)
    layer.opacity = layer.opacity or 1
    raise_above(viewer, layer, image)


def protect(layer: Layer, on: bool) -> None:
    """Guard a layer against deletion by a slip of the hand, where napari can."""
    if hasattr(layer, "locked"):
        layer.locked = on


def line_colour(image: Image, key: str) -> str:
    """Return a colour for what is drawn, or its points, that shows on such an image."""
    return (ON_BRIGHT if is_bright(image) else ON_DARK)["regions" if key == POINTS else key]


def is_bright(image: Image) -> bool:
    """Whether dark lines show on an image better than bright ones."""
    small = image.thumbnail / 255
    # napari pads the thumbnail of an oblong image with black.
    height, width = np.array(full_shape(image)[-2:]) / max(full_shape(image)[-2:])
    top, left = (np.array(small.shape[:2]) * (1 - height, 1 - width) / 2).round().astype(int)
    inner = small[top : len(small) - top, left : small.shape[1] - left, :3]
    brightness = float(np.median(inner @ (0.299, 0.587, 0.114))) if inner.size else 0.0
    return brightness > BRIGHT


def edge_width(image: Image) -> float:
    """Return a line width, in image pixels, that shows on large images and small ones."""
    return max(round(max(full_shape(image)[-2:]) / 300, 1), 0.2)


def image_title(image: Image) -> str:
    """Return what the image is called in a file: its file name, or the layer's name."""
    return Path(image.source.path).name if image.source.path else str(image.name)
