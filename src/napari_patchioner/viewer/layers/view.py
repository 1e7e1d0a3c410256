"""What a person sees: which image where several lie in one place, and the camera over a region."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image

from napari_patchioner.annotations import Record
from napari_patchioner.viewer.session.session import Session

from .geometry import FloatArray, own_axes, record_plane
from .image_layers import images_of

# Both corners of what a layer takes up of the display, shape (2, 2)
Area = FloatArray

# Share of the canvas that a region may fill, and what it is brought to if it is a mere speck.
MOST, LEAST = 0.9, 0.04
SMALL = 0.25
# Events of layers that may change which image is seen.
EVENTS = frozenset({"visible", "opacity", "blending", "reordered"})
# Through less than half of the light what lies below is seen better.
_FAINT = 0.5
_OPAQUE = "opaque"


def go_to(viewer: ViewerModel, image: Image, record: Record, session: Session) -> None:
    """Show the plane of a record in the view it was drawn in, and centre the camera on it."""
    dims, lead = viewer.dims, viewer.dims.ndim - image.ndim
    _turn(viewer, image, record, session)
    if record.plane is not None:
        # The camera stays.
        others = [axis for axis in range(image.ndim) if axis not in record.plane.axes]
        point = np.zeros(image.ndim)
        point[others] = record.plane.index
        corner = image.data_to_world(point)
        for axis in others:
            dims.set_point(axis + lead, float(corner[axis]))
        return
    members = [session.records.get(uid) for uid in record.members or (record.uid,)]
    vertices = [member.seen.vertices for member in members if member and member.seen is not None]
    if not vertices:
        return
    world = np.array([image.data_to_world(point) for point in np.concatenate(vertices)], float)
    for axis in range(image.ndim):
        if axis + lead not in dims.displayed:
            dims.set_point(axis + lead, float(np.median(world[:, axis])))
    _centre(viewer, world[:, [axis - lead for axis in dims.displayed if axis >= lead]])


def _turn(viewer: ViewerModel, image: Image, record: Record, session: Session) -> None:
    """Display the axes that a record lies along, where those on display cut through it."""
    lead = viewer.dims.ndim - image.ndim
    shown = tuple(axis - lead for axis in viewer.dims.displayed)
    own = own_axes(record, session)
    if viewer.dims.ndisplay != 2 or own is None or set(own) == set(shown):
        return
    drawn = record.plane is None and min(shown) >= 0
    if drawn and record_plane(record, session, (shown[0], shown[1])) is not None:
        return
    wanted = [axis + lead for axis in own]
    others = [axis for axis in viewer.dims.order if axis not in wanted]
    viewer.dims.order = (*others, *wanted)


def bring_into_view(viewer: ViewerModel, image: Image, world: FloatArray) -> None:
    """Move the camera to world points of an image, shape (n, ndim), unless they are in view."""
    lead = viewer.dims.ndim - image.ndim
    shown = [axis - lead for axis in viewer.dims.displayed]
    if min(shown) < 0 or len(shown) != 2:
        return
    points = world[:, shown]
    camera = viewer.scene.camera
    half = np.asarray(viewer.canvas.size, float) / camera.zoom / 2
    if (np.abs(points - np.asarray(camera.center)[-2:]) > half).any():
        _centre(viewer, points)


def _centre(viewer: ViewerModel, points: FloatArray) -> None:
    """Centre the camera on points of the displayed axes, and zoom where that is needed."""
    low, high = points.min(axis=0), points.max(axis=0)
    camera = viewer.scene.camera
    camera.center = tuple((low + high) / 2)
    if len(low) != 2:  # in 3-D, what is near and what is far have no common zoom
        return
    canvas = np.asarray(viewer.canvas.size, float)
    fitting = float((canvas / np.maximum(high - low, 1e-9)).min())
    filled = camera.zoom / fitting
    if filled > MOST:
        camera.zoom = MOST * fitting
    elif filled < LEAST:
        camera.zoom = SMALL * fitting


# which image is seen


def is_shown(image: Image) -> bool:
    """Whether an image is to be seen where nothing covers it."""
    return bool(image.visible and (image.opacity > 0 or image.blending == _OPAQUE))


def covering(viewer: ViewerModel, image: Image) -> list[Image]:
    """Return the images that together hide at least half of an image, the uppermost first."""
    area, images = _area(viewer, image), images_of(viewer)
    if area is None or image not in images:
        return []
    over: list[Image] = []
    hidden = 0.0
    for layer in images[images.index(image) + 1 :]:
        common = shared(area, _area(viewer, layer)) if _hides(layer) else None
        if common:
            hidden += common
            over.append(layer)
    return over[::-1] if hidden >= shared(area, area) / 2 else []


def uppermost(viewer: ViewerModel, image: Image) -> Image | None:
    """Return the image that is seen in the place of one that is not."""
    over = covering(viewer, image)
    area = _area(viewer, image)
    if over or area is None:
        return next(iter(over), None)
    for layer in reversed(images_of(viewer)):
        other = _area(viewer, layer)
        if layer is not image and is_shown(layer) and other is not None:
            half = shared(area, area) / 2
            if shared(area, other) >= half and not covering(viewer, layer):
                return layer
    return None


def image_at(viewer: ViewerModel, position: npt.ArrayLike) -> Image | None:
    """Return the image that is seen at a world position; None where that is not one alone."""
    point = np.asarray(position, float)
    # Of the axes of the viewer, the position has the last ones.
    lead = viewer.dims.ndim - len(point)
    axes = [axis - lead for axis in viewer.dims.displayed]
    if min(axes) < 0:
        return None
    for layer in reversed(images_of(viewer)):
        area = _area(viewer, layer)
        if area is None or not is_shown(layer):
            continue
        if (area[0] <= point[axes]).all() and (point[axes] <= area[1]).all():
            return layer if _hides(layer) else None
    return None


def _hides(layer: Any) -> bool:
    """Whether what lies below an image cannot be seen through it."""
    blending = str(layer.blending)
    opaque = blending == _OPAQUE or (
        blending.startswith("translucent") and layer.opacity > _FAINT and not _is_see_through(layer)
    )
    return bool(layer.visible and opaque)


def _is_see_through(layer: Any) -> bool:
    """Whether the pixels themselves let light through, as those of a cut-out do."""
    if not layer.rgb:
        return bool(np.asarray(layer.colormap.colors)[:, 3].min() < 1)
    data = layer.data[-1] if layer.multiscale else layer.data
    # What is not in memory would have to be fetched.
    if data.shape[-1] < 4 or not isinstance(data, np.ndarray):
        return False
    rows, columns = (max(length // 64, 1) for length in data.shape[-3:-1])
    alpha = data[..., ::rows, ::columns, 3]
    full = np.iinfo(data.dtype).max if data.dtype.kind in "iu" else 1
    return bool((alpha < full).mean() > _FAINT / 10)


def _area(viewer: ViewerModel, layer: Any) -> Area | None:
    """Return the corners of what a layer takes up of the display; None where it is not on it."""
    dims = viewer.dims
    # In the grid layers lie beside each other.
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
    return np.array([low[shown], high[shown]], float)


def shared(area: Area, other: Area | None) -> float:
    """Return the size of what two areas share."""
    if other is None:
        return 0.0
    low, high = np.maximum(area[0], other[0]), np.minimum(area[1], other[1])
    return float(np.prod(np.maximum(high - low, 0)))
