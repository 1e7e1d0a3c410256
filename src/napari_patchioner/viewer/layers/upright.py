"""Photographs the right way up in the window, as they are everywhere else.

napari's own reader shows pixels as a file stores them, and leaves out how the camera was held.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes

from napari_patchioner import images
from napari_patchioner.errors import ImageError
from napari_patchioner.images import upright, upright_points

from .geometry import lies_on
from .image_layers import images_of

CHECKED = "napari-patchioner: upright"
"""In the metadata of image layers whose orientation has been checked."""

# What lay on an upright image, and is not turned with one that is opened later.
_settled: WeakSet[Any] = WeakSet()
# Pixels along each side that are compared to decide whether an image was turned already.
_COMPARED = 256


def sideways(path: str | os.PathLike[str], pixels: Any) -> int:
    """Return the orientation by which pixels out of a file still have to be turned; 1 for none."""
    try:
        orientation = images.file_orientation(path)
        if orientation == 1:
            return 1
        image = images.read_image(path)
    except ImageError:
        return 1
    # Whatever has read the pixels may have turned them already.
    stored = images.as_stored(image, orientation)
    if tuple(pixels.shape[:2]) != stored.shape[:2]:
        return 1
    if stored.shape[:2] != image.shape[:2]:
        return orientation
    given = _gray(np.asarray(pixels))
    return orientation if _apart(given, _gray(stored)) <= _apart(given, _gray(image)) else 1


def _gray(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return some of the pixels without their colours."""
    step = max(1, max(pixels.shape[:2]) // _COMPARED)
    some = pixels[::step, ::step].astype(float)
    return some if some.ndim == 2 else some[..., :3].mean(axis=-1)


def _apart(pixels: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> float:
    return float(np.nan_to_num(np.abs(pixels - others)).mean())


def turn_upright(viewer: ViewerModel, image: Image) -> bool:
    """Turn a photograph that lies on its side, with what was drawn on it; whether it was turned.

    Layers read from files are left alone: files speak of the upright image.
    """
    source = image.source.path
    if not source or image.ndim != 2 or image.multiscale or CHECKED in image.metadata:
        return False
    image.metadata[CHECKED] = True
    if not Path(source).is_file():
        return False
    orientation = sideways(source, image.data)
    if orientation == 1:
        return False
    drawn = [
        layer
        for layer in viewer.layers
        if isinstance(layer, (Shapes, Points, Labels))
        and layer not in _settled
        and not layer.source.path
        and layer.ndim == 2
        and lies_on(layer, image)
    ]
    image.data = upright(np.asarray(image.data), orientation)
    height, width = (int(length) for length in image.data.shape[:2])
    for layer in drawn:
        if isinstance(layer, Shapes):
            kinds = list(layer.shape_type)
            turned = [upright_points(v, orientation, (height, width)) for v in layer.data]
            layer.data = list(zip(turned, kinds, strict=True))
        elif isinstance(layer, Points):
            layer.data = upright_points(layer.data, orientation, (height, width))
        elif upright(layer.data, orientation).shape == (height, width):
            layer.data = upright(np.asarray(layer.data), orientation)
    if orientation >= 5:
        for layer in (image, *drawn):
            layer.scale = layer.scale[::-1]
    return True


def turn_all(viewer: ViewerModel | None) -> list[str]:
    """Turn every photograph that lies on its side; return their names."""
    if viewer is None:
        return []
    shown = images_of(viewer)
    turned = [image.name for image in shown if turn_upright(viewer, image)]
    if shown:
        _settled.update(layer for layer in viewer.layers if type(layer) is not Image)
    if turned:
        viewer.reset_view()
    return turned
