"""Shapes on a layer, planes of an image, and the regions they outline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.annotations import region_from_shape
from napari_patchioner.errors import RegionError
from napari_patchioner.regions import Polygon, Region, RegionSet, WholeImage, untangle

from ._record import Plane, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    import numpy.typing as npt

    from ._record import Record
    from .session import Session

    FloatArray = npt.NDArray[np.float64]

# Vertices of one shape that lie further apart than this, in pixels, are not on one plane.
_FLAT = 0.5


def alignment(
    shapes: napari.layers.Shapes, image: napari.layers.Image
) -> Callable[[FloatArray], FloatArray]:
    """Return the map from a shapes layer's data to the image's pixels, through the world.

    The map is affine, so it is measured once on a corner and the unit steps from it; for layers
    that lie exactly on each other it changes no digit.
    """
    steps = np.vstack([np.zeros(shapes.ndim), np.eye(shapes.ndim)])
    mapped = np.array([image.world_to_data(shapes.data_to_world(step)) for step in steps], float)
    origin, matrix = mapped[0], mapped[1:] - mapped[0]
    if np.allclose(matrix, np.eye(shapes.ndim), atol=1e-9) and np.allclose(origin, 0, atol=1e-9):
        return lambda vertices: np.array(vertices, float)
    return lambda vertices: np.asarray(vertices, float) @ matrix + origin


def displayed_plane(viewer: napari.components.ViewerModel, image: napari.layers.Image) -> Plane:
    """Return the plane of the image that the viewer shows.

    Raises
    ------
    RegionError
        In the 3-D display, and where the image does not fill both displayed axes.
    """
    if viewer.dims.ndisplay != 2:
        raise RegionError("switch to the 2-D display to caption regions")
    lead = viewer.dims.ndim - image.ndim
    axes = tuple(axis - lead for axis in viewer.dims.displayed)
    if min(axes) < 0:
        raise RegionError(f"the image {image.name!r} is not spread over the two displayed axes")
    point = np.asarray(image.world_to_data(viewer.dims.point[lead:]), float)
    others = [axis for axis in range(image.ndim) if axis not in axes]
    last = np.array(full_shape(image)) - 1
    index = tuple(int(np.clip(np.round(point[axis]), 0, last[axis])) for axis in others)
    return Plane((axes[0], axes[1]), index)


def full_shape(image: napari.layers.Image) -> tuple[int, ...]:
    """Return the number of pixels along each axis at full resolution, colours left out."""
    shape = image.data[0].shape if image.multiscale else image.data.shape
    return tuple(int(length) for length in shape[: image.ndim])


def plane_of(seen: Seen, axes: tuple[int, int]) -> Plane | None:
    """Return the plane a shape lies on when these axes are displayed; None if on no single one."""
    others = [axis for axis in range(seen.vertices.shape[1]) if axis not in axes]
    along = seen.vertices[:, others]
    if along.size and np.ptp(along, axis=0).max() > _FLAT:
        return None
    return Plane(axes, tuple(int(np.round(value)) for value in along[0]))


def shape_region(seen: Seen, axes: tuple[int, int]) -> Region:
    """Return the region that a shape outlines, in ``(row, column)`` pixels of its plane."""
    return region_from_shape(seen.vertices[:, list(axes)], seen.shape_type)


def record_region(record: Record, session: Session, axes: tuple[int, int]) -> Region:
    """Return what a record describes: a shape, several together, or the whole image.

    Raises
    ------
    PatchionerError
        If a shape outlines no region.
    """
    if record.kind == "image":
        return WholeImage()
    if record.seen is not None:
        return shape_region(record.seen, axes)
    seen = [session.records[uid].seen for uid in record.members]
    return RegionSet(tuple(shape_region(one, axes) for one in seen if one is not None))


def record_plane(record: Record, session: Session, axes: tuple[int, int]) -> Plane | None:
    """Return the plane a record lies on; None where its shapes lie on several."""
    if record.plane is not None:
        return record.plane
    if record.seen is not None:
        return plane_of(record.seen, axes)
    planes = {record_plane(session.records[uid], session, axes) for uid in record.members}
    return planes.pop() if len(planes) == 1 else None


def untangled(region: Region) -> Region:
    """Return a hand-drawn region as it was meant: a lasso may cross its own beginning."""
    if isinstance(region, RegionSet):
        return RegionSet(tuple(untangled(member) for member in region.members), region.union)
    return Polygon(untangle(region.vertices)) if isinstance(region, Polygon) else region
