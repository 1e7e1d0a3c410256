from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_patchioner.annotations import Plane
from napari_patchioner.errors import RegionError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.viewer.controller import DISPLAY_MS
from napari_patchioner.viewer.layers.geometry import displayed_plane
from napari_patchioner.viewer.workers.plane import (
    channels,
    plane_source,
    same_display,
)

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


def test_the_viewer_may_have_units_for_fewer_axes_than_the_image():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((4, 5, 6)))
    viewer.dims.set_point(0, 2)
    viewer.dims.units = viewer.dims.units[1:]
    assert displayed_plane(viewer, image) == Plane((1, 2), (2,))


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


def test_a_stack_that_has_just_been_taken_out_has_no_displayed_plane():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((3, 4, 10, 12)))
    viewer.add_image(np.zeros((10, 12)))
    viewer.layers.remove(image)
    with pytest.raises(RegionError, match="two displayed axes"):
        displayed_plane(viewer, image)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, 0), (-np.inf, 0), (np.inf, 255)])
@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_values_that_are_no_numbers_are_dark_and_infinite_ones_at_the_limits(value, shown, gamma):
    pixels = np.full((3, 4), 0.5)
    pixels[1, 1] = value
    picture = read(Image(pixels, contrast_limits=(0, 1), gamma=gamma))
    assert picture[1, 1] == shown
    assert picture[0, 0] == round(255 * 0.5**gamma)


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


# as displayed


def test_a_colormap_gives_its_colours():
    image = Image(GRADIENT, contrast_limits=(0, 1), colormap="magenta")
    picture = read(image)
    assert picture.shape == (3, 4, 3)
    assert picture[-1, -1].tolist() == [255, 0, 255]
    assert picture[0, 0].tolist() == [0, 0, 0]


def test_a_colormap_is_seen_through_contrast_and_gamma():
    image = Image(np.full((2, 2), 250), contrast_limits=(0, 1000), gamma=0.5, colormap="green")
    assert read(image)[0, 0].tolist() == [0, 128, 0]


@pytest.fixture
def channels_viewer():
    viewer = ViewerModel()
    red, green = np.zeros((2, 6, 8))
    red[:, :5], green[:, 3:] = 1, 1
    for pixels, colour in ((red, "red"), (green, "green")):
        viewer.add_image(
            pixels, colormap=colour, blending="additive", contrast_limits=(0, 1), name=colour
        )
    return viewer


def composite(viewer):
    first = viewer.layers[0]
    return plane_source(first, displayed_plane(viewer, first), channels(viewer, first))


def test_channels_are_added_as_light(channels_viewer):
    picture = composite(channels_viewer).read()
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert picture[0, 4].tolist() == [255, 255, 0]
    assert picture[0, 7].tolist() == [0, 255, 0]


def test_only_light_that_is_seen_is_added(channels_viewer):
    red, green = channels_viewer.layers
    green.visible = False
    assert channels(channels_viewer, red) == []
    green.visible, green.blending = True, "translucent"
    assert channels(channels_viewer, red) == []
    # Of the opaque one above, what lies below is not seen; light on an opaque one below is.
    assert channels(channels_viewer, green) == []
    red.blending, green.blending = "translucent", "additive"
    assert channels(channels_viewer, red) == [green]


def test_what_is_added_is_what_napari_shows(channels_viewer):
    channels_viewer.layers[1].opacity = 0.5
    picture = composite(channels_viewer).read()
    assert picture[0, 7].tolist() == [0, 128, 0]


def test_light_does_not_run_over(channels_viewer):
    channels_viewer.layers[1].colormap = "gray"
    assert composite(channels_viewer).read().max() == 255


@pytest.mark.parametrize("change", ["hidden", "moved", "larger", "colours", "labels"])
def test_only_visible_channels_that_lie_on_the_image_are_taken(channels_viewer, change):
    viewer, other = channels_viewer, channels_viewer.layers[1]
    assert channels(viewer, viewer.layers[0]) == [other]
    if change == "hidden":
        other.visible = False
    elif change == "moved":
        other.translate = (1, 0)
    elif change == "larger":
        other.data = np.zeros((9, 9))
    else:
        viewer.layers.remove(other)
        if change == "colours":
            viewer.add_image(np.zeros((6, 8, 3)), rgb=True)
        else:
            viewer.add_labels(np.zeros((6, 8), int))
    assert channels(viewer, viewer.layers[0]) == []


def test_the_look_says_all_that_is_needed_to_repeat_it(channels_viewer):
    import json

    facts = json.loads(json.dumps(composite(channels_viewer).display))
    assert facts["axes"] == [0, 1]
    assert [layer["layer"] for layer in facts["layers"]] == ["red", "green"]
    assert facts["layers"][0]["contrast_limits"] == [0, 1]
    assert facts["layers"][1]["colormap"] == "green"
    again = ViewerModel()
    for layer, old in zip(facts["layers"], channels_viewer.layers, strict=True):
        again.add_image(
            old.data,
            name=layer["layer"],
            blending=old.blending,
            **{name: layer[name] for name in ("contrast_limits", "gamma", "colormap", "opacity")},
        )
    assert np.array_equal(composite(again).read(), composite(channels_viewer).read())


CHANGES = {
    "contrast_limits": (0, 0.5),
    "gamma": 0.7,
    "colormap": "blue",
}


@pytest.mark.parametrize(("name", "value"), CHANGES.items(), ids=CHANGES)
def test_a_change_of_the_display_is_another_look(channels_viewer, name, value):
    before = composite(channels_viewer).display
    setattr(channels_viewer.layers[1], name, value)
    assert not same_display(before, composite(channels_viewer).display)


def test_a_name_is_not_part_of_the_look_nor_ones_own_opacity(channels_viewer):
    before = composite(channels_viewer).display
    channels_viewer.layers[1].name = "renamed"
    assert same_display(before, composite(channels_viewer).display)
    alone = plane_source(channels_viewer.layers[0], Plane()).display
    channels_viewer.layers[0].opacity = 0.5
    assert same_display(alone, plane_source(channels_viewer.layers[0], Plane()).display)
    assert not same_display(before, composite(channels_viewer).display)


# after Start, in the window


def test_a_change_of_contrast_after_start_is_told(dock, viewer, qtbot):
    image = viewer.add_image(np.linspace(0, 1, 4800).reshape(60, 80), contrast_limits=(0, 1))
    dock.panel.image.value = image
    dock.start()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)
    assert not dock.controller.encoder.stale
    image.contrast_limits = (0, 0.3)
    assert dock.controller.encoder.stale
    qtbot.waitUntil(lambda: "display has changed" in dock.panel.status.text(), timeout=5000)
    assert "Start" in dock.panel.status.text()


def test_following_the_display_it_is_read_again(dock, viewer, captioner, qtbot):
    image = viewer.add_image(np.linspace(0, 1, 4800).reshape(60, 80), contrast_limits=(0, 1))
    dock.panel.image.value = image
    dock.inspect.fill_menu()
    actions = {action.text(): action for action in dock.inspect.menu.actions()}
    actions["Read again when the display changes"].toggle()
    dock.start()
    qtbot.waitUntil(lambda: captioner.encoded == 1, timeout=5000)
    image.colormap = "red"
    qtbot.waitUntil(lambda: captioner.encoded == 2, timeout=5000)
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)
    assert not dock.controller.encoder.stale
    dock.image_actions.caption_whole()
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: any(r.caption for r in records.values()), timeout=5000)
    [record] = records.values()
    assert record.caption == "something red"
    [layer] = record.origin["display"]["layers"]
    assert layer["colormap"] == "red"
    assert record.origin["options"]["beams"] == 4


def test_all_visible_channels_are_read_together(dock, viewer, captioner, qtbot):
    full, none = np.ones((60, 80)), np.zeros((60, 80))
    for name, pixels in (("blue", full), ("red", none)):
        viewer.add_image(
            pixels, colormap=name, name=name, blending="additive", contrast_limits=(0, 1)
        )
    dock.panel.image.value = viewer.layers["red"]
    assert dock.controller.encoder.composite
    dock.image_actions.caption_whole()
    dock.start()
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: any(r.caption for r in records.values()), timeout=5000)
    [record] = records.values()
    assert record.caption == "something blue"
    assert [one["layer"] for one in record.origin["display"]["layers"]] == ["red", "blue"]


def test_who_is_closed_hears_nothing_of_what_is_under_way(dock, viewer, qtbot, monkeypatch):
    controller, checked = dock.controller, []
    monkeypatch.setattr(type(controller.encoder), "stale", property(checked.append))
    viewer.add_image(np.zeros((4, 4)))
    viewer.layers.events.removed.connect(lambda _: controller.close(), position="first")
    viewer.layers.remove(viewer.layers[-1])
    controller.image.opacity = 0.5
    qtbot.wait(2 * DISPLAY_MS)
    assert controller.encoder not in checked
