"""The two Shapes layers that hold what is drawn on an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .canvas_text import ON_BRIGHT, ON_DARK, CaptionText
from .geometry import full_shape
from .table import BLANK, COLUMNS, empty_columns, reset_defaults

if TYPE_CHECKING:
    import napari

LayerKey = Literal["regions", "traces"]
KEYS: tuple[LayerKey, LayerKey] = ("regions", "traces")
BRIGHT = 0.5
_OURS = "napari-patchioner"


def layer_name(key: LayerKey, image: napari.layers.Image) -> str:
    """Return what the layer of an image is called."""
    return f"{key} [{image.name}]"


def ensure_layer(
    viewer: napari.components.ViewerModel, image: napari.layers.Image, key: LayerKey
) -> napari.layers.Shapes:
    """Return the image's layer for regions or traces, made where there is none.

    A Shapes layer of the right name and number of axes is taken over with the captions in its
    features table, so that saved work can be opened again.
    """
    layer = find_layer(viewer, image, key)
    if layer is None:
        layer = viewer.add_layer(_new_layer(image, key))
    else:
        _add_columns(layer)
        draw_captions(layer, line_colour(image, key))
    mark(layer, image, key)
    reset_defaults(layer)
    protect(layer, True)
    return layer


def find_layer(
    viewer: napari.components.ViewerModel, image: napari.layers.Image, key: LayerKey
) -> napari.layers.Shapes | None:
    """Return the image's layer for regions or traces, if there is one."""
    from napari.layers import Shapes

    for layer in viewer.layers:
        if isinstance(layer, Shapes) and layer.ndim == image.ndim:
            sign = layer.metadata.get(_OURS)
            if (sign or layer.name) == layer_name(key, image):
                return layer
    return None


def belongs(
    viewer: napari.components.ViewerModel, layer: object, image: napari.layers.Image
) -> bool:
    """Whether a layer is an image or lies on it, if only by its name as in saved work."""
    lying = (find_layer(viewer, image, key) for key in KEYS)
    return layer is not None and (layer is image or any(layer is one for one in lying))


def mark(layer: napari.layers.Shapes, image: napari.layers.Image, key: LayerKey) -> None:
    """Note on a layer which image it belongs to; a renamed layer stays with its image."""
    name = layer_name(key, image)
    if layer.name == layer.metadata.get(_OURS):
        layer.name = name
    layer.metadata[_OURS] = name


def disown(layer: napari.layers.Layer) -> None:
    """Make a copy of one of our layers a layer of its own, whose captions are drawn the same."""
    layer.metadata.pop(_OURS, None)
    draw_captions(layer, getattr(layer.text.color, "constant", ON_DARK["regions"]))


def is_copy(layer: object, ours: napari.layers.Layer) -> bool:
    """Whether a layer has been duplicated from one of ours, mark and all."""
    from napari.layers import Shapes

    return (
        isinstance(layer, Shapes)
        and layer is not ours
        and layer.metadata.get(_OURS, "") == ours.metadata.get(_OURS)
    )


def protect(layer: napari.layers.Layer, on: bool) -> None:
    """Guard a layer against deletion by a slip of the hand, where napari can."""
    if hasattr(layer, "locked"):
        layer.locked = on


def _new_layer(image: napari.layers.Image, key: LayerKey) -> napari.layers.Shapes:
    """Return an empty layer that lies exactly on the image."""
    from napari.layers import Shapes

    colour = line_colour(image, key)
    layer = Shapes(
        ndim=image.ndim,
        name=layer_name(key, image),
        features=empty_columns(),
        feature_defaults=BLANK,
        edge_color=colour,
        face_color="transparent",
        edge_width=edge_width(image),
        opacity=1,
        **placement(image),
    )
    layer.current_edge_color = colour
    layer.current_face_color = "transparent"
    layer.current_edge_width = edge_width(image)
    draw_captions(layer, line_colour(image, key))
    return layer


def placement(image: napari.layers.Image) -> dict[str, Any]:
    """Return where the image lies in the world, as arguments for a new layer.

    >>> import numpy as np
    >>> from napari.layers import Image
    >>> placement(Image(np.zeros((4, 6)), scale=(2, 3)))["scale"].tolist()
    [2.0, 3.0]
    """
    return {
        "scale": np.array(image.scale),
        "translate": np.array(image.translate),
        "rotate": np.array(image.rotate),
        "shear": np.array(image.shear),
        "affine": np.array(image.affine.affine_matrix),
        "units": image.units,
        "axis_labels": image.axis_labels,
    }


def line_colour(image: napari.layers.Image, key: LayerKey) -> str:
    """Return a colour that shows on an image of this brightness."""
    small = image.thumbnail / 255
    # napari pads the thumbnail of an oblong image with black.
    height, width = np.array(full_shape(image)[-2:]) / max(full_shape(image)[-2:])
    top, left = (np.array(small.shape[:2]) * (1 - height, 1 - width) / 2).round().astype(int)
    inner = small[top : len(small) - top, left : small.shape[1] - left, :3]
    brightness = float(np.median(inner @ (0.299, 0.587, 0.114))) if inner.size else 0.0
    return (ON_BRIGHT if brightness > BRIGHT else ON_DARK)[key]


def edge_width(image: napari.layers.Image) -> float:
    """Return a line width, in image pixels, that shows on large images and small ones."""
    return max(round(max(full_shape(image)[-2:]) / 300, 1), 0.2)


def draw_captions(layer: napari.layers.Layer, colour: str) -> None:
    """Have the captions of shapes or points drawn on the canvas."""
    layer.text = {"color": colour, "size": 9, "anchor": "upper_left"}
    # Given inside the dict, napari would copy it as a plain format string.
    layer.text.string = CaptionText()
    layer.refresh_text()


def _add_columns(layer: napari.layers.Shapes) -> None:
    """Give a layer that was opened from a file the columns it lacks."""
    missing = [name for name in COLUMNS if name not in layer.features]
    if missing:
        blank = empty_columns(layer.nshapes)
        layer.features = layer.features.assign(**{name: blank[name] for name in missing})
