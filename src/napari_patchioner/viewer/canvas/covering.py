"""Which image a person sees, where several lie in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari
    import numpy.typing as npt

# Events of layers that may change which image is seen.
EVENTS = frozenset({"visible", "opacity", "blending", "reordered"})
# Through less than half of the light what lies below is seen better.
_FAINT = 0.5
_OPAQUE = "opaque"


def is_shown(image: napari.layers.Image) -> bool:
    """Whether an image is to be seen where nothing covers it."""
    return bool(image.visible and (image.opacity > 0 or image.blending == _OPAQUE))


def covering(
    viewer: napari.components.ViewerModel, image: napari.layers.Image
) -> list[napari.layers.Image]:
    """Return the images that together hide at least half of an image, the uppermost first.

    None in the 3-D display and in the grid, where layers lie beside each other.
    """
    area = _area(viewer, image)
    if area is None:
        return []
    over, hidden = [], 0.0
    for layer in _above(viewer, image):
        other = _area(viewer, layer)
        if other is not None:
            shared = _size((np.maximum(area[0], other[0]), np.minimum(area[1], other[1])))
            hidden += shared
            over += [layer] if shared > 0 else []
    return over[::-1] if hidden >= _size(area) / 2 else []


def uppermost(
    viewer: napari.components.ViewerModel, image: napari.layers.Image
) -> napari.layers.Image | None:
    """Return the image that is seen in the place of one that is not."""
    over = covering(viewer, image)
    area = _area(viewer, image)
    if over or area is None:
        return next(iter(over), None)
    for layer in reversed(_images(viewer)):
        other = _area(viewer, layer)
        if layer is not image and is_shown(layer) and other is not None:
            shared = _size((np.maximum(area[0], other[0]), np.minimum(area[1], other[1])))
            if shared >= _size(area) / 2 and not covering(viewer, layer):
                return layer
    return None


def image_at(
    viewer: napari.components.ViewerModel, place: npt.ArrayLike
) -> napari.layers.Image | None:
    """Return the image that is seen at a place of the world; None where that is not one alone.

    Parameters
    ----------
    viewer : ViewerModel
        Where the images are.
    place : array-like of float
        World coordinates; of the axes of the viewer the last ones.
    """
    lead = viewer.dims.ndim - len(np.asarray(place))
    axes = [axis - lead for axis in viewer.dims.displayed]
    if min(axes) < 0:
        return None
    spot = np.asarray(place, float)[axes]
    for layer in reversed(_images(viewer)):
        area = _area(viewer, layer)
        if area is not None and (area[0] <= spot).all() and (spot <= area[1]).all():
            if _hides(layer):
                return layer
            if is_shown(layer):
                return None
    return None


def _images(viewer: napari.components.ViewerModel) -> list[Any]:
    from napari.layers import Image

    return [layer for layer in viewer.layers if type(layer) is Image]


def _above(viewer: napari.components.ViewerModel, image: napari.layers.Image) -> list[Any]:
    """Return the images that lie over one and let nothing through, from below to above."""
    images = _images(viewer)
    if image not in images:
        return []
    return [layer for layer in images[images.index(image) + 1 :] if _hides(layer)]


def _hides(layer: Any) -> bool:
    """Whether what lies below an image cannot be seen through it."""
    if not layer.visible:
        return False
    blending = str(layer.blending)
    if blending == _OPAQUE:
        return True
    return (
        blending.startswith("translucent") and layer.opacity > _FAINT and not _is_see_through(layer)
    )


def _is_see_through(layer: Any) -> bool:
    """Whether the pixels themselves let light through, as those of a cut-out do."""
    if not layer.rgb:
        return bool(np.asarray(layer.colormap.colors)[:, 3].min() < 1)
    data = layer.data[-1] if layer.multiscale else layer.data
    if data.shape[-1] < 4:
        return False
    # What is not in memory would have to be fetched.
    if not isinstance(data, np.ndarray):
        return False
    rows, columns = (max(length // 64, 1) for length in data.shape[-3:-1])
    alpha = data[..., ::rows, ::columns, 3]
    full = np.iinfo(data.dtype).max if data.dtype.kind in "iu" else 1
    return bool((alpha < full).mean() > _FAINT / 10)


def _area(viewer: napari.components.ViewerModel, layer: Any) -> Any:
    """Return the corners of what a layer takes up of the display; None where it is not there."""
    dims = viewer.dims
    if dims.ndisplay != 2 or viewer.canvas.grid.enabled:
        return None
    low, high = layer.extent.world
    lead = dims.ndim - layer.ndim
    shown = [axis - lead for axis in dims.displayed]
    if min(shown) < 0:
        return None
    for axis in dims.not_displayed:
        if axis < lead:
            continue
        step = abs(float(layer.extent.step[axis - lead])) / 2
        if not low[axis - lead] - step <= dims.point[axis] <= high[axis - lead] + step:
            return None
    return low[shown], high[shown]


def _size(area: Any) -> float:
    low, high = area
    return float(np.prod(np.maximum(high - low, 0)))
