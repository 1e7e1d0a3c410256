"""A drawn box covers exactly the painted patch, however the layers lie in the world."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.viewer.layers import image_layers
from napari_patchioner.viewer.layers.binding import LayerBinding
from napari_patchioner.viewer.layers.geometry import (
    displayed_plane,
    record_plane,
    record_region,
    unit_factors,
    world_to_image,
)
from napari_patchioner.viewer.session.session import Session
from napari_patchioner.viewer.workers.encode import RegionPooling
from napari_patchioner.viewer.workers.plane import plane_source

PATCH = 8
CELL = (2, 4)
SHAPE = (40, 56)
PLACES = {
    "plain": {},
    "stretched": {"scale": (2.5, 0.4)},
    "moved": {"translate": (-100.25, 33.5)},
    "turned": {"rotate": 37},
    "sheared": {"shear": [0.3]},
    "all": {"scale": (3, 0.5), "translate": (5, -7), "rotate": -20, "shear": [0.2]},
    "affine": {"affine": [[0.5, 0.2, 3], [-0.3, 2, 1], [0, 0, 1]]},
    "microns": {"scale": (0.1, 0.1), "units": ("um", "um")},
}


def painted(shape, index=()):
    """Return an image with one bright patch."""
    pixels = np.zeros(shape, np.float32)
    rows, columns = (slice(PATCH * cell, PATCH * (cell + 1)) for cell in CELL)
    pixels[(*index, rows, columns)] = 1
    return pixels


def cells_of(picture):
    """Return the mean of each patch."""
    rows, columns = np.array(picture.shape) // PATCH
    return picture.reshape(rows, PATCH, columns, PATCH).mean(axis=(1, 3))


def outline():
    """Return the corners of the painted patch, a hair inside its edges."""
    top, left = (PATCH * cell - 0.5 for cell in CELL)
    inside = 1e-3
    low, high = inside, PATCH - inside
    square = np.array([(low, low), (low, high), (high, high), (high, low)])
    return square + np.array([top, left])


def check(viewer, image, session):
    """The one drawn region takes the one bright patch of the displayed plane, and no other."""
    plane = displayed_plane(viewer, image)
    picture = plane_source(image, plane).read()
    bright = cells_of(picture)
    assert np.argwhere(bright > 200).tolist() == [list(CELL)]
    grid_shape = bright.shape
    transform = GridTransform(picture.shape, grid_shape)
    grid = FeatureGrid(np.ones((*grid_shape, 1), np.float32), transform, "k")
    [record] = session.records.values()
    assert record_plane(record, session, plane.axes) == plane
    taken = RegionPooling().cover(record_region(record, session, plane.axes), grid)
    assert taken.indices.tolist() == [CELL[0] * grid_shape[1] + CELL[1]]


def bound(viewer, image):
    session = Session()
    layer = image_layers.ensure_layer(viewer, image, "regions")
    return layer, LayerBinding(layer, image, "regions", session, lambda: None), session


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_box_drawn_on_the_patch_covers_it(place):
    viewer = ViewerModel()
    image = viewer.add_image(painted(SHAPE), contrast_limits=(0, 1), **place)
    layer, binding, session = bound(viewer, image)
    corners = np.array([image.data_to_world(corner) for corner in outline()])
    layer.add(np.array([layer.world_to_data(c) for c in corners]), shape_type="polygon")
    binding.sync()
    check(viewer, image, session)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_so_does_one_drawn_on_a_layer_that_lies_elsewhere(place):
    viewer = ViewerModel()
    image = viewer.add_image(painted(SHAPE), contrast_limits=(0, 1), **place)
    layer, binding, session = bound(viewer, image)
    layer.scale = layer.scale * (0.5, 3)
    layer.translate = layer.translate + np.array([4, -9])
    layer.rotate = 11
    corners = np.array([image.data_to_world(corner) for corner in outline()])
    layer.add(np.array([layer.world_to_data(c) for c in corners]), shape_type="polygon")
    binding.sync()
    check(viewer, image, session)


@pytest.mark.parametrize("index", [(0, 0), (1, 2), (1, 0)])
@pytest.mark.parametrize(
    "place",
    [
        {},
        {"scale": (10, 5, 0.5, 2), "translate": (100, -3, 7, 9)},
        {
            "scale": (1, 2, 3, 3),
            "rotate": np.pad([[0.8, -0.6], [0.6, 0.8]], ((2, 0), (2, 0))) + np.diag([1.0, 1, 0, 0]),
        },
    ],
    ids=["plain", "stretched", "turned"],
)
def test_in_four_axes_the_box_lies_on_its_plane(place, index):
    viewer = ViewerModel()
    image = viewer.add_image(painted((2, 3, *SHAPE), index), contrast_limits=(0, 1), **place)
    layer, binding, session = bound(viewer, image)
    for axis, position in enumerate(image.data_to_world((*index, 0, 0))[:2]):
        viewer.dims.set_point(axis, position)
    corners = np.hstack([np.tile(index, (4, 1)), outline()])
    layer.add(corners, shape_type="polygon")
    binding.sync()
    assert displayed_plane(viewer, image).index == index
    check(viewer, image, session)


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 0, 1)])
def test_turned_axes_show_another_plane_of_the_same_data(order):
    viewer = ViewerModel()
    pixels = np.moveaxis(painted((3, *SHAPE), (1,)), (0, 1, 2), order)
    image = viewer.add_image(pixels, contrast_limits=(0, 1), rgb=False)
    viewer.dims.order = order
    viewer.dims.set_point(order[0], 1)
    layer, binding, session = bound(viewer, image)
    corners = np.zeros((4, 3))
    corners[:, order[0]] = 1
    corners[:, list(order[1:])] = outline()
    layer.add(corners, shape_type="polygon")
    binding.sync()
    check(viewer, image, session)


def test_a_cursor_is_found_in_the_unit_of_the_image():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(SHAPE), scale=(0.1, 0.1), units=("um", "um"))
    viewer.add_image(np.zeros(SHAPE), scale=(1e-4, 1e-4), units=("mm", "mm"))
    units = viewer.dims.units
    world = np.array(image.data_to_world((20, 30)))
    if units is not None:
        world = world * unit_factors(image.units, units)
    assert np.allclose(world_to_image(viewer, image, world), (20, 30))


def test_units_that_do_not_compare_are_taken_as_they_are():
    viewer = ViewerModel()
    one = viewer.add_image(np.zeros(SHAPE), units=("um", "um"))
    other = viewer.add_image(np.zeros(SHAPE), units=("s", "s"))
    assert unit_factors(one.units, other.units).tolist() == [1, 1]


def test_a_shapes_layer_in_another_unit_is_followed():
    viewer = ViewerModel()
    image = viewer.add_image(painted(SHAPE), contrast_limits=(0, 1), units=("um", "um"))
    layer, binding, session = bound(viewer, image)
    layer.units = ("mm", "mm")
    layer.scale = (1e-3, 1e-3)
    layer.add(outline(), shape_type="polygon")
    binding.sync()
    check(viewer, image, session)


# in the window, with a mouse


@pytest.mark.parametrize("place", [{}, {"scale": (2, 3), "rotate": 25}], ids=["plain", "turned"])
def test_the_hand_draws_what_it_sees(viewer, registry, guide, qtbot, place):
    from napari_patchioner.viewer import CaptionDock

    image = viewer.add_image(painted(SHAPE), contrast_limits=(0, 1), name="patch", **place)
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock)
    viewer.window._qt_window.resize(1280, 800)
    qtbot.wait(200)
    viewer.reset_view()
    qtbot.wait(100)
    hand = guide.Hand(viewer, image)
    guide.use(dock, "Polygon")
    # Half a pixel inside, as a screen has pixels, too.
    corners = outline() * 0.9 + outline().mean(axis=0) * 0.1
    for corner in corners[:-1]:
        hand.click(*corner)
    hand.double_click(*corners[-1])
    qtbot.waitUntil(lambda: bool(dock.controller.session.records), timeout=5000)
    check(viewer, image, dock.controller.session)
    dock.shut_down()
