from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box, RegionSet
from napari_patchioner.viewer.layers.overlays import NAME, Sheet
from napari_patchioner.viewer.workers.encode import RegionPooling

SIDES = st.integers(1, 30)


@given(SIDES, SIDES, st.integers(30, 500), st.integers(30, 500))
def test_the_lines_are_the_borders_of_the_patches(rows, columns, height, width):
    transform = GridTransform((height, width), (rows, columns))
    ends = Sheet(transform, lines=True).borders()
    assert ends.shape == (rows + columns + 2, 2, 2)
    assert np.allclose(ends.min(axis=(0, 1)), -0.5)
    assert np.allclose(ends.max(axis=(0, 1)), (height - 0.5, width - 0.5))
    cells = transform.to_grid(ends)
    assert np.allclose(cells, np.round(cells), atol=1e-6)


def test_a_cropped_window_has_its_lines_where_the_model_looked():
    transform = GridTransform((100, 200), (4, 4), window=(0, 50, 100, 100))
    ends = Sheet(transform, lines=True).borders()
    assert ends.min(axis=(0, 1)).tolist() == [-0.5, 49.5]
    assert ends.max(axis=(0, 1)).tolist() == [99.5, 149.5]


def test_the_squares_are_the_patches_that_count_with_their_weights():
    heat = np.zeros((2, 3))
    heat[0, 1], heat[1, 2] = 0.1, 0.4
    corners, weights = Sheet(GridTransform((20, 30), (2, 3)), heat=heat).squares()
    assert weights.tolist() == [0.25, 1.0]
    assert corners[0].min(axis=0).tolist() == [-0.5, 9.5]
    assert corners[0].max(axis=0).tolist() == [9.5, 19.5]


def test_nothing_counts_where_there_is_no_region():
    corners, weights = Sheet(GridTransform((20, 30), (2, 3))).squares()
    assert len(corners) == len(weights) == 0


def grid_of(shape, **parts):
    transform = GridTransform((10 * shape[0], 10 * shape[1]), shape)
    return FeatureGrid(np.ones((*shape, 2), np.float32), transform, "k", **parts)


def test_a_patch_of_two_members_weighs_twice_unless_united():
    one, two = Box(-0.5, -0.5, 9, 19), Box(-0.5, 10, 9, 29)
    twice = RegionPooling().weights(RegionSet((one, two)), grid_of((2, 3)))
    assert twice.tolist() == [[0.25, 0.5, 0.25], [0, 0, 0]]
    once = RegionPooling().weights(RegionSet((one, two), union=True), grid_of((2, 3)))
    assert np.allclose(once[0], 1 / 3)


def test_attention_is_heeded_where_there_is_some():
    attention = np.array([[1, 3, 0], [0, 0, 0]], np.float32) / 4
    box = Box(-0.5, -0.5, 9, 19)
    seen = RegionPooling(pooling="attention").weights(box, grid_of((2, 3), attention=attention))
    assert seen.tolist() == [[0.25, 0.75, 0], [0, 0, 0]]
    without = RegionPooling(pooling="attention").weights(box, grid_of((2, 3)))
    assert without.tolist() == [[0.5, 0.5, 0], [0, 0, 0]]


# in the window


@pytest.fixture
def look(started):
    return started.inspect


def sheet(dock):
    overlay = dock.image._overlays.get(NAME)
    return overlay.sheet if overlay is not None else None


def test_the_grid_is_no_layer_and_goes_when_it_is_switched_off(started, look, viewer, qtbot):
    layers = list(viewer.layers)
    look.grid.click()
    assert sheet(started).lines
    assert list(viewer.layers) == layers
    # It is saved with nothing.
    assert NAME not in str(started.image.as_layer_data_tuple()[1])
    look.grid.click()
    assert sheet(started) is None
    the_patches_of_the_selected_region_are_shown(started, look, qtbot)
    closing_the_dock_takes_the_overlay_away(started, look)


def test_it_waits_for_the_grid_to_be_there(dock, qtbot):
    dock.inspect.grid.click()
    assert sheet(dock) is None
    dock.start()
    qtbot.waitUntil(lambda: sheet(dock) is not None, timeout=5000)


def the_patches_of_the_selected_region_are_shown(started, look, qtbot):
    layer = started.controller.layer("regions")
    layer.add([[10, 10], [10, 19], [19, 19], [19, 10]], shape_type="rectangle")
    layer.add([[50, 50], [50, 59], [59, 59], [59, 50]], shape_type="rectangle")
    look.patches.click()
    layer.selected_data = {0}
    qtbot.waitUntil(lambda: sheet(started) is not None, timeout=5000)
    qtbot.waitUntil(lambda: sheet(started).heat is not None, timeout=5000)
    rows, columns = np.nonzero(sheet(started).heat)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 19, 10, 19)
    layer.selected_data = {1}
    qtbot.waitUntil(lambda: np.nonzero(sheet(started).heat)[0].min() == 50, timeout=5000)
    layer.selected_data = set()
    qtbot.waitUntil(lambda: sheet(started).heat is None, timeout=5000)


def closing_the_dock_takes_the_overlay_away(started, look):
    look.grid.click()
    image = started.image
    assert NAME in image._overlays
    started.shut_down()
    assert NAME not in image._overlays


def test_the_lines_lie_between_the_pixels_of_a_turned_and_stretched_image(viewer, registry, qtbot):
    """On the screen: the heat covers exactly the one bright pixel of a tiny image."""
    from napari_patchioner.viewer import CaptionDock

    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[2, 5] = 255
    image = viewer.add_image(
        pixels, rgb=True, name="tiny", scale=(3, 2), rotate=30, translate=(7, -4)
    )
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock)
    dock.start()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)
    qtbot.wait(100)
    viewer.reset_view()
    before = viewer.screenshot(flash=False).astype(int)
    bright = before[..., :3].min(axis=-1) > 200
    overlays = dock.controller.overlays
    dock.inspect.patches.click()
    layer = dock.controller.layer("regions")
    layer.visible = False
    layer.add([[1.6, 4.6], [1.6, 5.4], [2.4, 5.4], [2.4, 4.6]], shape_type="rectangle")
    layer.selected_data = {0}
    qtbot.waitUntil(lambda: sheet(dock) is not None and sheet(dock).heat is not None, timeout=5000)
    qtbot.wait(100)
    changed = np.abs(viewer.screenshot(flash=False).astype(int) - before).sum(axis=-1) > 60
    assert overlays.patches
    assert image is dock.image
    assert bright.sum() > 300
    both = (bright & changed).sum() / (bright | changed).sum()
    assert both > 0.9
    dock.shut_down()
