from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_patchioner.errors import ImageError, RegionError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.viewer._record import Plane
from napari_patchioner.viewer.geometry import displayed_plane
from napari_patchioner.viewer.picture import plane_source

GRADIENT = np.linspace(0, 1, 12).reshape(3, 4)


def read(image, plane=None):
    return plane_source(image, plane or Plane()).read()


def test_grey_images_are_shown_with_their_contrast_limits():
    image = Image((1000 * GRADIENT).astype(np.uint16), contrast_limits=(250, 750))
    picture = read(image)
    assert picture.dtype == np.uint8
    assert (picture[0, 0], picture[-1, -1]) == (0, 255)
    middle = read(Image(np.full((2, 2), 500, np.uint16), contrast_limits=(0, 1000)))
    assert middle[0, 0] == 128


def test_gamma_is_applied():
    image = Image(np.full((2, 2), 0.25), contrast_limits=(0, 1), gamma=0.5)
    assert read(image)[0, 0] == 128


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1.0), (float, 1.0)]
)
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_any_depth_come_as_eight_bits(dtype, top, channels):
    pixels = np.zeros((5, 6, channels), dtype)
    pixels[..., 0] = top
    picture = read(Image(pixels, rgb=True))
    assert (picture.dtype, picture.shape) == (np.uint8, (5, 6, channels))
    assert picture[0, 0, :3].tolist() == [255, 0, 0]


def test_boolean_images_are_black_and_white():
    assert set(read(Image(np.eye(4, dtype=bool))).ravel()) == {0, 255}


def test_the_displayed_plane_of_a_stack_is_read():
    viewer = ViewerModel()
    image = viewer.add_image(
        np.arange(3)[:, None, None] * np.ones((3, 4, 5)), contrast_limits=(0, 2)
    )
    viewer.dims.set_point(0, 2)
    plane = displayed_plane(viewer, image)
    assert plane == Plane((1, 2), (2,))
    assert read(image, plane).shape == (4, 5)
    assert read(image, plane)[0, 0] == 255


def test_a_stack_with_a_scale_is_sliced_where_it_is_seen():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 6, 7)), scale=(10, 1, 1), translate=(100, 0, 0))
    viewer.dims.set_point(0, 130)
    assert displayed_plane(viewer, image).index == (3,)


def test_turned_axes_turn_the_picture():
    viewer = ViewerModel()
    image = viewer.add_image(GRADIENT, contrast_limits=(0, 1))
    viewer.dims.order = (1, 0)
    plane = displayed_plane(viewer, image)
    assert plane.axes == (1, 0)
    assert np.array_equal(read(image, plane), read(image).T)


def test_an_image_beside_a_stack_has_a_plane_of_its_own():
    viewer = ViewerModel()
    image = viewer.add_image(GRADIENT)
    viewer.add_image(np.zeros((9, 3, 4)))
    viewer.dims.set_point(0, 4)
    assert displayed_plane(viewer, image) == Plane()


def test_the_3d_display_is_refused():
    viewer = ViewerModel(ndisplay=3)
    image = viewer.add_image(np.zeros((3, 4, 5)))
    with pytest.raises(RegionError, match="2-D"):
        displayed_plane(viewer, image)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(value):
    pixels = GRADIENT.copy()
    pixels[1, 1] = value
    with pytest.raises(ImageError, match="not numbers"):
        read(Image(pixels, contrast_limits=(0, 1)))


def test_of_a_pyramid_the_smallest_useful_level_is_read_and_coordinates_stay_full():
    levels = [
        np.zeros((4096, 8192)),
        np.zeros((2048, 4096)),
        np.zeros((1024, 2048)),
        np.zeros((512, 1024)),
    ]
    source = plane_source(Image(levels, multiscale=True, contrast_limits=(0, 1)), Plane())
    assert source.read().shape == (1024, 2048)
    grid = FeatureGrid(np.zeros((8, 16, 1), np.float32), GridTransform((1024, 2048), (8, 16)), "")
    full = source.in_full_pixels(grid)
    assert full.transform.image_shape == (4096, 8192)
    assert full.transform.patch_size == (512, 512)
    assert full.transform.to_grid([[4095.5, 8191.5]]).tolist() == [[8, 16]]
