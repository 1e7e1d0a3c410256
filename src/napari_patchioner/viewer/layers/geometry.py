"""Where layers, planes and shapes lie on an image, and the regions that shapes outline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_patchioner.annotations import Record, axes_drawn_along, region_from_shape
from napari_patchioner.annotations.project.records import Plane, Seen, SeenMask
from napari_patchioner.decoders.options import square_pixel
from napari_patchioner.errors import RegionError
from napari_patchioner.regions import Point, Polygon, Region, RegionSet, WholeImage, untangle
from napari_patchioner.viewer.session.session import Session

FloatArray = npt.NDArray[np.float64]

POINT = "point"
# Vertices of one shape that lie further apart than this, in pixels, are not on one plane.
_FLAT = 0.5
PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units")


# layers in the world


def placement(image: Image) -> dict[str, Any]:
    """Return where the image lies in the world, as arguments for a new layer."""
    arrays = {n: np.array(getattr(image, n)) for n in ("scale", "translate", "rotate", "shear")}
    names = {"units": image.units, "axis_labels": image.axis_labels}
    return arrays | {"affine": np.array(image.affine.affine_matrix)} | names


def alignment(layer: Layer, image: Layer) -> Callable[[npt.ArrayLike], FloatArray]:
    """Return the map from one layer's data to another's, through the world."""
    matrix, origin = affine_between(layer, image)
    return lambda vertices: mapped(vertices, matrix, origin)


def mapped(vertices: npt.ArrayLike, matrix: FloatArray, origin: FloatArray) -> FloatArray:
    """Return where points lie; for layers that lie exactly on each other no digit changes."""
    if _is_identity(matrix, origin):
        return np.array(vertices, float)
    return (np.asarray(vertices, float) @ matrix + origin).round(7)


def affine_between(layer: Layer, image: Layer) -> tuple[FloatArray, FloatArray]:
    """Return matrix and origin with ``image_data = layer_data @ matrix + origin``."""
    steps = np.vstack([np.zeros(layer.ndim), np.eye(layer.ndim)])
    factors = unit_factors(layer.units, image.units)
    world = [np.asarray(layer.data_to_world(step)) * factors for step in steps]
    mapped = np.array([image.world_to_data(point) for point in world], float)
    origin, matrix = mapped[0], mapped[1:] - mapped[0]
    # Layers that lie exactly on each other, or are moved together, do so digit for digit.
    if np.allclose(matrix, np.eye(layer.ndim), atol=1e-9) and np.allclose(origin, 0, atol=1e-9):
        return np.eye(layer.ndim), np.zeros(layer.ndim)
    return matrix.round(11), origin.round(7)


def lies_on(layer: Layer, image: Layer) -> bool:
    """Whether two layers of as many axes have their pixels in the same places."""
    return bool(layer.ndim == image.ndim and _is_identity(*affine_between(layer, image)))


def pixel_size(image: Image) -> str | None:
    """Return the side of a pixel and its unit, where pixels are square and the unit is a length."""
    down, across = np.abs(np.asarray(image.scale, float)[-2:]).tolist()
    first, second = map(str, image.units[-2:])
    return square_pixel((down, first), (across, second))


def unit_factors(units: Sequence[Any], others: Sequence[Any]) -> FloatArray:
    """Return how many of the other units one unit is, axis by axis; 1 where they do not compare."""
    from pint import DimensionalityError, get_application_registry

    convert = get_application_registry().convert  # type: ignore[no-untyped-call]
    factors = np.ones(len(units))
    for axis, (unit, other) in enumerate(zip(units, others, strict=True)):
        if unit != other:
            with suppress(DimensionalityError):
                factors[axis] = round(convert(1.0, unit, other), 12)
    return factors


def _is_identity(matrix: FloatArray, origin: FloatArray) -> bool:
    return bool(np.array_equal(matrix, np.eye(len(matrix))) and not origin.any())


class Follower:
    """Takes a layer along when its image is calibrated, moved or turned.

    What is on it keeps its pixels of the image, until `update` notes that it was moved by itself.
    """

    def __init__(self, layer: Layer, image: Image) -> None:
        self._layer, self._image = layer, image
        # Whether the layer is on the move after its image
        self.working = False
        self.update()
        for name in PLACEMENT:
            getattr(image.events, name).connect(self._on_placed)

    def close(self) -> None:
        """Leave the layer where it is from now on."""
        for name in PLACEMENT:
            getattr(self._image.events, name).disconnect(self._on_placed)

    def update(self) -> None:
        """Take note of how both lie on each other now."""
        self._map = affine_between(self._layer, self._image)

    def _on_placed(self, *_: object) -> None:
        """Bring the layer back to where it was on the image, unless somebody has done so."""
        if self.working:
            return
        now = affine_between(self._layer, self._image)
        if _is_identity(*now) or all(map(np.allclose, now, self._map)):
            return
        self.working = True
        try:
            self._place()
        finally:
            self.working = False

    def _place(self) -> None:
        layer, image = self._layer, self._image
        matrix, origin = self._map
        if _is_identity(matrix, origin):
            wanted = placement(image)
            for name in PLACEMENT:
                setattr(layer, name, wanted[name])
            return
        layer.units = image.units
        target = world_matrix(image) @ _homogeneous(matrix.T, origin)
        affine = np.asarray(layer.affine.affine_matrix)
        straight = np.diag(np.diag(target[:-1, :-1]))
        # Placed by scale and translation alone, it stays so.
        if (
            np.allclose(layer.rotate, np.eye(layer.ndim))
            and not np.any(layer.shear)
            and np.allclose(target[:-1, :-1], straight)
            and np.allclose(affine, np.eye(len(affine)))
        ):
            layer.scale, layer.translate = np.diag(straight), target[:-1, -1]
        else:
            physical = np.linalg.inv(affine) @ world_matrix(layer)
            layer.affine = target @ np.linalg.inv(physical)


def world_matrix(layer: Layer) -> FloatArray:
    """Return the matrix from data to world, shape (ndim + 1, ndim + 1)."""
    steps = np.vstack([np.zeros(layer.ndim), np.eye(layer.ndim)])
    world = np.array([layer.data_to_world(step) for step in steps], float)
    return _homogeneous((world[1:] - world[0]).T, world[0])


def is_shown_turned(layer: Layer) -> bool:
    """Whether a layer shows its rows or columns mirrored, or turned by more than 45 degrees."""
    linear = world_matrix(layer)[:-1, :-1][-2:, -2:]
    # How long a step along a row or a column is, whichever way it goes
    steps = np.hypot(*linear)
    along = np.diag(linear) / np.where(steps > 0, steps, 1.0)
    return bool((along < math.sqrt(0.5) - 1e-6).any())


def _homogeneous(linear: FloatArray, origin: FloatArray) -> FloatArray:
    matrix = np.eye(len(origin) + 1)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, origin
    return matrix


# planes of an image


def full_shape(image: Image) -> tuple[int, ...]:
    """Return the number of pixels along each axis at full resolution, colours left out."""
    shape = image.data[0].shape if image.multiscale else image.data.shape
    return tuple(int(length) for length in shape[: image.ndim])


def world_to_image(viewer: ViewerModel, image: Image, position: Sequence[float]) -> FloatArray:
    """Return the pixel of an image, along all its axes, at a position in the viewer's world."""
    lead = viewer.dims.ndim - image.ndim
    point = np.asarray(position, float)[lead:]
    units = viewer.dims.units
    # While layers come and go, the viewer has units for fewer axes than it has axes.
    if units is not None and len(units) == viewer.dims.ndim:
        point = point * unit_factors(units[lead:], image.units)
    return np.asarray(image.world_to_data(point), float)


def displayed_plane(viewer: ViewerModel, image: Image) -> Plane:
    """Return the plane of the image that the viewer shows; raise `RegionError` if there is none."""
    if viewer.dims.ndisplay != 2:
        raise RegionError("switch to the 2-D display to caption regions")
    lead = viewer.dims.ndim - image.ndim
    rows, columns = (axis - lead for axis in viewer.dims.displayed)
    # An image that has just been taken out may have more axes than the viewer has left.
    if lead < 0 or min(rows, columns) < 0:
        raise RegionError(f"the image {image.name!r} is not spread over the two displayed axes")
    point = world_to_image(viewer, image, viewer.dims.point)
    last = np.array(full_shape(image)) - 1
    others = [axis for axis in range(image.ndim) if axis not in (rows, columns)]
    index = tuple(int(np.clip(np.round(point[axis]), 0, last[axis])) for axis in others)
    return Plane((rows, columns), index)


def shown_plane(viewer: ViewerModel, image: Image) -> Plane | None:
    """Return the same; None where the image is not displayed as a plane."""
    try:
        return displayed_plane(viewer, image)
    except RegionError:
        return None


def on_plane(points: npt.ArrayLike, plane: Plane, ndim: int) -> FloatArray:
    """Return points ``(row, column)`` of a plane along all axes of the image, shape (n, ndim)."""
    rows = np.asarray(points, float)
    placed = np.zeros((len(rows), ndim))
    placed[:, [axis for axis in range(ndim) if axis not in plane.axes]] = plane.index
    placed[:, list(plane.axes)] = rows
    return placed


def plane_of(seen: Seen, axes: tuple[int, int]) -> Plane | None:
    """Return the plane a shape lies on when these axes are displayed; None if on no single one."""
    others = [axis for axis in range(seen.vertices.shape[1]) if axis not in axes]
    if not others:
        return Plane(axes, ())
    along = seen.vertices[:, others]
    if along.size and np.ptp(along, axis=0).max() > _FLAT:
        return None
    return Plane(axes, tuple(int(np.round(value)) for value in along[0]))


def record_plane(record: Record, session: Session, axes: tuple[int, int]) -> Plane | None:
    """Return the plane a record lies on; None where its shapes lie on several."""
    if record.plane is not None:
        turned = set(axes) == set(record.plane.axes)
        return Plane(axes, record.plane.index) if turned else record.plane
    if record.seen is not None:
        return plane_of(record.seen, axes)
    planes = {record_plane(session.records[uid], session, axes) for uid in record.members}
    return planes.pop() if len(planes) == 1 else None


def own_axes(record: Record, session: Session) -> tuple[int, int] | None:
    """Return the axes a record lies along, ascending, whatever is displayed; None if on no plane.

    A line that lies on the plane of rows and columns as well as on another one is of the former.
    """
    drawn = record.plane or (record.seen if isinstance(record.seen, SeenMask) else None)
    if drawn is not None:
        low, high = sorted(drawn.axes)
        return low, high
    if record.seen is not None:
        return axes_drawn_along(record.seen.vertices)
    members = [session.records[uid] for uid in record.members]
    for axes in dict.fromkeys(own_axes(member, session) for member in members):
        if axes is not None and record_plane(record, session, axes) is not None:
            return axes
    return None


# regions


def shape_region(seen: Seen, axes: tuple[int, int]) -> Region:
    """Return the region that a shape outlines, in ``(row, column)`` pixels of its plane."""
    if isinstance(seen, SeenMask):
        return seen.mask(axes)
    vertices = seen.vertices[:, list(axes)]
    if seen.shape_type == POINT:
        return Point(*map(float, vertices[0]))
    return region_from_shape(vertices, seen.shape_type)


def record_region(
    record: Record, session: Session, axes: tuple[int, int], *, union: bool = False
) -> Region:
    """Return what a record describes; raises `PatchionerError` if a shape outlines no region.

    Patches that several shapes share count as often (equation 1 of the paper), or once (`union`).
    """
    return record_outline(record, session, axes, union=union)()


def record_outline(
    record: Record, session: Session, axes: tuple[int, int], *, union: bool = False
) -> Callable[[], Region]:
    """Return what makes the region of `record_region`, now or later and in any thread."""
    if record.plane is not None:
        return WholeImage
    if record.seen is not None:
        return partial(shape_region, record.seen, axes)
    shapes = [seen for uid in record.members if (seen := session.records[uid].seen) is not None]
    return lambda: RegionSet(tuple(shape_region(seen, axes) for seen in shapes), union)


def untangled(region: Region) -> Region:
    """Return a hand-drawn region as it was meant: a lasso may cross its own beginning."""
    if isinstance(region, RegionSet):
        return RegionSet(tuple(untangled(member) for member in region.members), region.union)
    return Polygon(untangle(region.vertices)) if isinstance(region, Polygon) else region
