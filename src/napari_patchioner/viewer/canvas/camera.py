"""Bringing a region into view: the slice it lies on, and the camera over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .geometry import own_axes, record_plane

if TYPE_CHECKING:
    import napari
    import numpy.typing as npt

    from napari_patchioner.viewer.session.record import Record
    from napari_patchioner.viewer.session.session import Session

# Share of the canvas that a region may fill, and what it is brought to if it is a mere speck.
MOST, LEAST = 0.9, 0.04
SMALL = 0.25


def go_to(
    viewer: napari.components.ViewerModel,
    image: napari.layers.Image,
    record: Record,
    session: Session,
) -> None:
    """Show the plane of a record and centre the camera on it.

    The zoom stays unless the region would not fit, or would be too small to be seen. One that was
    drawn in another view of a stack is shown in that view.
    """
    _turn(viewer, image, record, session)
    if record.plane is not None:
        _show_plane(viewer, image, record)
        return
    uids = record.members or (record.uid,)
    seen = [session.records[uid].seen for uid in uids if uid in session.records]
    vertices = [one.vertices for one in seen if one is not None]
    if not vertices:
        return
    world = np.array([image.data_to_world(point) for point in np.concatenate(vertices)], float)
    lead = viewer.dims.ndim - image.ndim
    for axis in range(image.ndim):
        if axis + lead not in viewer.dims.displayed:
            viewer.dims.set_point(axis + lead, float(np.median(world[:, axis])))
    shown = [axis - lead for axis in viewer.dims.displayed if axis >= lead]
    _centre(viewer, world[:, shown])


def _turn(
    viewer: napari.components.ViewerModel,
    image: napari.layers.Image,
    record: Record,
    session: Session,
) -> None:
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


def _show_plane(
    viewer: napari.components.ViewerModel, image: napari.layers.Image, record: Record
) -> None:
    """Turn the sliders to the plane of a whole-image caption; the camera stays."""
    lead = viewer.dims.ndim - image.ndim
    others = [axis for axis in range(image.ndim) if axis not in record.plane.axes]
    point = np.zeros(image.ndim)
    point[others] = record.plane.index
    world = image.data_to_world(point)
    for axis in others:
        viewer.dims.set_point(axis + lead, float(world[axis]))


def _centre(viewer: napari.components.ViewerModel, points: npt.NDArray[np.float64]) -> None:
    """Centre the camera on points of the displayed axes, and zoom where that is needed."""
    low, high = points.min(axis=0), points.max(axis=0)
    camera = viewer.scene.camera
    camera.center = tuple((low + high) / 2)
    canvas = np.asarray(viewer.canvas.size, float)
    size = np.maximum(high - low, 1e-9)
    room = float((canvas / size).min())
    filled = camera.zoom / room
    if filled > MOST:
        camera.zoom = MOST * room
    elif filled < LEAST:
        camera.zoom = SMALL * room
