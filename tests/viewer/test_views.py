"""Other views of a stack: the XZ plane and turned axes are captioned, the 3-D view is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Points

from napari_patchioner.annotations import read_annotations
from napari_patchioner.viewer.layers.image_layers import KEYS


@pytest.fixture
def stack(viewer, registry, picture, qtbot):
    """Return the dock on a stack of 40 planes, red, green and blue from left to right."""
    from napari_patchioner.viewer import CaptionDock

    viewer.add_image(np.stack([picture[:80]] * 40), name="stack")
    made = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(made, name="Patch-ioner")
    viewer.window._qt_window.resize(1280, 800)
    qtbot.wait(200)
    yield made
    made.shut_down()


def captioned(dock, qtbot, count):
    def done():
        texts = dock.controller.layer("regions").features["caption"].tolist()
        return len(texts) == count and all(texts)

    qtbot.waitUntil(done, timeout=10000)
    return dock.controller.layer("regions").features["caption"].tolist()


@pytest.mark.parametrize("turn", ["order", "roll", "transpose"])
def test_a_region_belongs_to_the_plane_it_is_drawn_on(stack, viewer, guide, qtbot, turn, tmp_path):
    hand = guide.Hand(viewer, Points(ndim=2))
    viewer.dims.set_point(1, 25)
    if turn == "order":
        viewer.dims.order = (1, 0, 2)
    elif turn == "roll":
        viewer.dims.roll()
        viewer.dims.roll()
        viewer.dims.transpose()
    else:
        viewer.dims.transpose()
        viewer.dims.set_point(0, 7)
    shown = tuple(viewer.dims.displayed)
    viewer.reset_view()
    qtbot.wait(100)
    stack.panel.progress.button.click()
    qtbot.waitUntil(lambda: stack.controller.encoder.ready, timeout=10000)
    stack.panel.draw.buttons["Box"].click()
    # Rows and columns of the display, red in all three views.
    ends = {0: (10, 30), 1: (10, 30), 2: (20, 50)}
    (top, bottom), (left, right) = ends[shown[0]], ends[shown[1]]
    hand.drag([(top, left), (bottom, right)])
    assert captioned(stack, qtbot, 1) == ["something red"]
    stack.image_actions.caption_whole()
    qtbot.waitUntil(lambda: bool(stack.controller.current_whole().caption), timeout=10000)

    stack.export_csv(tmp_path / "out.csv")
    one, whole = read_annotations(tmp_path / "out.regions.csv")
    low, high = sorted(shown)
    [across] = {0, 1, 2} - {low, high}
    box = (ends[low][0], ends[high][0], ends[low][1], ends[high][1])
    found = (one.region.top, one.region.left, one.region.bottom, one.region.right)
    assert np.allclose(found, box, atol=1)
    assert one.extra["plane"] == whole.extra["plane"] == {0: "7", 1: "25"}[across]
    axes = "" if across == 0 else f"{low} {high}"
    assert one.extra.get("axes", "") == whole.extra.get("axes", "") == axes
    assert len(read_annotations(tmp_path / "out.csv")) == 1
    stack.image_actions.export(tmp_path / "out.geojson", "geojson")
    assert ("no place for 1 box" in stack.controller.message) == bool(axes)

    # From elsewhere, the list leads back to it.
    viewer.dims.order = (0, 1, 2)
    viewer.dims.set_point((0, 1), (30, 60))
    stack.image_actions.toggle_list()
    stack.image_actions.go_to(one.uid)
    assert set(viewer.dims.displayed) == {low, high}
    assert stack.controller.selected() == [one.uid]
    viewer.dims.order = (0, 1, 2)
    stack.refresh()

    def listed():
        table = stack.region_list.regions
        row = table.row(one.uid)
        return row >= 0 and axes.replace(" ", ", ") in table.lines[row].plane

    qtbot.waitUntil(listed, timeout=5000)


def test_the_3d_view_is_for_looking_and_a_tool_brings_back_the_other(stack, viewer, qtbot):
    stack.panel.progress.button.click()
    qtbot.waitUntil(lambda: "eady" in stack.controller.message, timeout=10000)
    for key in KEYS:
        stack.controller.layer(key)
    corners = [[7, 10, 10], [7, 10, 50], [7, 50, 50], [7, 50, 10]]
    stack.controller.layer("regions").add(np.array(corners), shape_type="rectangle")
    [uid] = stack.controller.session.uids("regions")
    viewer.dims.ndisplay = 3
    assert "3-D view is for looking" in stack.panel.status.text()
    stack.image_actions.go_to(uid)
    assert np.allclose(viewer.scene.camera.center, (7, 30, 30))
    viewer.dims.ndisplay = 2
    assert "eady" in stack.panel.status.text()
    viewer.dims.ndisplay = 3
    stack.panel.draw.buttons["Lasso"].click()
    assert viewer.dims.ndisplay == 2
    assert "2-D view" in stack.panel.status.text()
    layer = viewer.layers.selection.active
    assert (layer.name, layer.mode) == ("regions [stack]", "add_polygon_lasso")


def test_where_the_image_is_a_line_there_is_nothing_to_draw_on(dock, viewer):
    viewer.add_points(np.zeros((1, 3)))
    viewer.add_image(np.zeros((9, 20, 20)), visible=False)
    dock.panel.image.value = viewer.layers["stripes"]
    viewer.dims.order = (1, 0, 2)
    dock.panel.draw.buttons["Box"].click()
    assert "not spread over the two displayed axes" in dock.panel.status.text()
    assert all(binding.layer.mode == "pan_zoom" for binding in dock.controller.bindings.values())


def test_a_region_on_several_planes_says_so_and_no_file_holds_it(stack, viewer, qtbot, tmp_path):
    controller = stack.controller
    layer = controller.layer("regions")
    layer.add(np.array([[5, 10, 10], [5, 10, 40], [2, 40, 40]], float), shape_type="polygon")
    session = controller.session

    def said():
        return [record.problem for record in session.records.values()]

    qtbot.waitUntil(lambda: any(said()), timeout=5000)
    assert "several planes" in said()[0]
    assert "several planes" in stack.panel.status.text()
    layer.add(np.array([[3, 10, 10], [3, 10, 40], [3, 40, 40]], float), shape_type="polygon")
    qtbot.waitUntil(lambda: len(said()) == 2, timeout=5000)
    for write in (
        lambda: stack.image_actions.export(tmp_path / "out.csv"),
        lambda: stack.image_actions.export(tmp_path / "out.geojson", "geojson"),
    ):
        write()
        assert "1 region left out" in stack.panel.status.text()
    for name in ("out.csv", "out.regions.csv", "out.geojson"):
        assert len(read_annotations(tmp_path / name)) == 1, name
    # Once it lies on one plane, it is captioned like any other.
    layer.data = [np.array([[3, 10, 10], [3, 10, 40], [3, 20, 40]], float), layer.data[1]]
    viewer.dims.set_point(0, 3)
    stack.start()
    captioned(stack, qtbot, 2)
    assert said() == ["", ""]

    # The plane has one caption, whichever way its axes are turned.
    stack.image_actions.caption_whole()
    viewer.dims.order = (0, 2, 1)
    stack.image_actions.caption_whole()
    [whole] = [uid for uid, record in session.records.items() if record.subject == "image"]
    qtbot.waitUntil(lambda: bool(session.records[whole].caption), timeout=10000)
    assert controller.current_whole() is session.records[whole]
