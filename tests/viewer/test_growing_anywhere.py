"""Regions are grown wherever an image lies, of whatever kind it is: by mouse, on stripes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
import shapely.affinity
from qtpy.QtCore import QEvent, Qt
from shapely.geometry import box

from napari_patchioner.annotations import read_tidy_csv
from napari_patchioner.viewer.layers.geometry import record_plane, record_region

SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
# Of the stripes, 120 x 180 pixels: where each is, in x and y
RED, GREEN, BLUE = (box(60 * n, 0, 60 * (n + 1), 120) for n in range(3))


def regions(dock):
    session = dock.controller.session
    return [record_region(r, session, (0, 1)).inside() for r in session.records.values()]


def until(dock, qtbot, *wanted):
    """Wait until there are regions that cover just these, in any order."""

    def are_there():
        shown = regions(dock)
        return len(shown) == len(wanted) and all(
            max(one.intersection(w).area / one.union(w).area for one in shown) > 0.9 for w in wanted
        )

    qtbot.waitUntil(are_there, timeout=10_000)
    return list(dock.controller.session.records.values())


@pytest.fixture
def growing(quiet, started):
    started.panel.draw.buttons["Grow"].click()
    return started


def test_clicks_begin_regions_and_escape_ends_one_and_then_the_tool(
    growing, hand, viewer, picture, qtbot
):
    dock, bar = growing, growing.panel.draw.buttons
    # On the layers of another image, another tool is taken up first.
    viewer.layers.clear()
    hand.image = viewer.add_image(picture, name="stripes")
    viewer.reset_view()
    qtbot.wait(100)
    dock.panel.progress.button.click()
    encoder = dock.controller.encoder
    qtbot.waitUntil(lambda: encoder.ready and not encoder.active)
    bar["Select"].click()
    bar["Grow"].click()
    assert bar["Grow"].isChecked()
    hand.click(60, 30)
    [red] = until(dock, qtbot, RED)
    assert dock.panel.selected.text() == "Selected shape, grown from 1 click"
    hand.click(60, 90)
    until(dock, qtbot, RED, GREEN)
    hand.click(20, 150, SHIFT)
    _, last = until(dock, qtbot, RED, GREEN.union(BLUE))
    assert last.outlined_by == "grown from 2 clicks"
    hand.key(Qt.Key.Key_Escape)
    assert "begins another region" in dock.controller.message
    dock.controller.layer("regions").selected_data = set()
    hand.click(20, 150, SHIFT)
    until(dock, qtbot, RED, GREEN.union(BLUE), BLUE)
    # The one that is selected is gone on with.
    dock.controller.layer("regions").selected_data = {0}
    hand.click(100, 90, SHIFT)
    until(dock, qtbot, RED.union(GREEN), GREEN.union(BLUE), BLUE)
    assert [red.uid] == dock.controller.selected()
    for _ in range(2):
        hand.key(Qt.Key.Key_Escape)
    assert not bar["Grow"].isChecked()
    assert not dock.controller.grower.on
    hand.click(60, 30)
    qtbot.wait(200)
    assert len(regions(dock)) == 3
    assert dock.controller.layer("regions").mouse_pan


def test_what_is_dragged_over_is_added_and_the_image_stays(growing, hand, viewer, qtbot):
    centre = tuple(viewer.scene.camera.center)
    hand.drag([(60, 30), (60, 150)])
    [record] = until(growing, qtbot, shapely.union_all([RED, GREEN, BLUE]))
    assert len(record.clicks[0]) >= 3
    # Dragged from within the region at hand, from elsewhere, and not dragged
    growing.panel.buttons["undo"].click()
    hand.click(60, 30)
    [red] = until(growing, qtbot, RED)
    hand.drag([(60, 30), (60, 90)])
    [more] = until(growing, qtbot, RED.union(GREEN))
    assert more.uid == red.uid
    growing.panel.buttons["undo"].click()
    hand.drag([(60, 90), (60, 150)])
    until(growing, qtbot, RED, GREEN.union(BLUE))
    hand.click(30, 90)
    until(growing, qtbot, RED, GREEN.union(BLUE), GREEN)
    assert tuple(viewer.scene.camera.center) == centre


def test_keys_make_it_larger_and_smaller(growing, hand, qtbot):
    session, grower = growing.controller.session, growing.controller.grower
    hand.key(Qt.Key.Key_BracketRight)
    assert "Click on something first" in growing.controller.message
    hand.click(60, 90)
    [record] = until(growing, qtbot, GREEN)

    def areas_of_all(key, end):
        """Press a key until it says that this is the end; return the areas on the way."""
        areas = [area_of(growing)]
        while end not in growing.controller.message:
            assert len(areas) < 10
            hand.key(key)
            qtbot.waitUntil(lambda: not grower.working and grower.asked is None, timeout=10_000)
            areas.append(area_of(growing))
        # The last press changed nothing.
        assert areas.pop() == areas[-1]
        return areas

    smaller = areas_of_all(Qt.Key.Key_BracketLeft, "does not get any smaller")
    larger = areas_of_all(Qt.Key.Key_BracketRight, "does not get any larger")
    # Every other press did.
    assert smaller == sorted(set(smaller), reverse=True)
    assert larger == sorted(set(larger))
    assert len(larger) > 1
    assert session.records[record.uid].outlined["clicks"] == record.outlined["clicks"]
    # So does every step back.
    back = [area_of(growing)]
    for _ in range(len(smaller) + len(larger) - 2):
        growing.panel.buttons["undo"].click()
        back.append(area_of(growing))
    assert back == [*reversed(larger), *reversed(smaller[:-1])]
    hand.key(Qt.Key.Key_BracketLeft)
    qtbot.waitUntil(lambda: session.records[record.uid].grown_size < 0, timeout=10_000)
    size = session.records[record.uid].grown_size
    # A further click goes with the size.
    hand.click(60, 150, SHIFT)
    qtbot.waitUntil(lambda: len(session.records[record.uid].clicks[0]) == 2, timeout=5000)
    assert session.records[record.uid].grown_size == size


def area_of(dock):
    [region] = regions(dock)
    return region.area


def test_while_the_button_is_held_it_is_drawn_and_nothing_is_kept(growing, hand, viewer, qtbot):
    controller = growing.controller
    hand.press(60, 30)
    qtbot.waitUntil(lambda: controller.grower.outline is not None, timeout=5000)
    lines, colours = controller.overlays.growth
    assert len(lines) == len(colours) > 4
    outline = shapely.Polygon(controller.grower.outline[:, ::-1])
    assert outline.intersection(RED).area > 0.9 * RED.area
    assert not controller.session.records
    hand.send(QEvent.Type.MouseMove, 60, 32)
    hand.key(Qt.Key.Key_Escape)
    hand.release(60, 32)
    qtbot.wait(200)
    assert not controller.session.records
    assert controller.overlays.growth is None


def test_other_tools_and_layers_end_it(growing, hand, viewer, qtbot):
    grower, bar = growing.controller.grower, growing.panel.draw.buttons
    bar["Box"].click()
    assert (grower.on, bar["Grow"].isChecked(), bar["Box"].isChecked()) == (False, False, True)
    hand.drag([(10, 10), (50, 50)])
    [record] = growing.controller.session.records.values()
    assert record.seen.shape_type == "rectangle"
    hand.key(Qt.Key.Key_G, SHIFT)
    assert grower.on
    hand.key(Qt.Key.Key_G, SHIFT)
    assert not grower.on
    bar["Grow"].click()
    viewer.layers.selection.active = growing.image
    qtbot.waitUntil(lambda: not grower.on, timeout=5000)
    assert not bar["Grow"].isChecked()


def test_what_cannot_be_grown_is_said(quiet, dock, hand, qtbot):
    controller = dock.controller
    dock.panel.draw.buttons["Grow"].click()
    hand.click(60, 30)
    assert "Press Start first" in controller.message
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: controller.encoder.ready and not controller.encoder.active)
    hand.click(-9, 30)
    assert "Click on the image itself" in controller.message
    hand.click(60, 30, ALT)
    assert "Click on something first" in controller.message
    assert not controller.session.records
    dock.panel.draw.propose.click()
    qtbot.waitUntil(lambda: controller.search.progress is None, timeout=10_000)


PLACES = {
    "stretched": {"scale": (2.0, 0.5)},
    "moved and turned": {"translate": (-100.25, 33.5), "rotate": 20},
    "sheared": {"shear": [0.3]},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_wherever_the_image_lies_its_pixels_are_meant(quiet, started, hand, viewer, qtbot, place):
    for name, value in place.items():
        setattr(started.image, name, value)
    viewer.reset_view()
    qtbot.wait(100)
    started.panel.draw.buttons["Grow"].click()
    hand.click(60, 90)
    until(started, qtbot, GREEN)
    hand.click(60, 150, SHIFT)
    until(started, qtbot, GREEN.union(BLUE))


def test_on_a_stack_it_is_the_plane_on_display(quiet, dock, viewer, hand, picture, qtbot):
    stack = np.stack([np.full((120, 180), 128), picture[..., 0]]).astype(np.uint8)
    image = viewer.add_image(stack, name="stack")
    dock.panel.image.value = image
    viewer.dims.set_point(0, 1)
    controller = dock.controller
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: controller.encoder.ready and not controller.encoder.active)
    dock.panel.draw.buttons["Grow"].click()
    hand.image = image
    hand.place = lambda row, column: type(hand).place(_flat(hand), row, column)
    hand.click(60, 30)
    qtbot.waitUntil(lambda: len(controller.session.records) == 1, timeout=10_000)
    [record] = controller.session.records.values()
    assert record_plane(record, controller.session, (1, 2)).index == (1,)
    region = record_region(record, controller.session, (1, 2)).inside()
    assert region.intersection(RED).area > 0.9 * region.union(RED).area
    # Another plane is read first.
    said = []
    controller.messaged.connect(said.append)
    viewer.dims.set_point(0, 0)
    hand.click(60, 30)
    assert any("is being read" in message for message in said)
    qtbot.waitUntil(lambda: len(controller.session.records) == 2, timeout=10_000)
    [_, other] = controller.session.records.values()
    assert record_plane(other, controller.session, (1, 2)).index == (0,)
    # A click beside the image changes nothing.
    hand.click(-9, 30)
    assert "Click on the image itself" in controller.message
    hand.click(60, 150, ALT)
    qtbot.waitUntil(lambda: controller.session.records[other.uid].clicks[1] != [], timeout=5000)
    # Another image is not grown on by clicks meant for this one.
    dock.panel.image.value = viewer.layers["stripes"]
    assert not controller.grower.on
    hand.click(60, 30)
    qtbot.wait(200)
    assert len(controller.session.records) == 2


def test_on_a_pyramid_it_is_in_full_pixels(quiet, dock, viewer, hand, picture, qtbot):
    image = viewer.add_image(
        [np.kron(picture, np.ones((8, 8, 1), np.uint8)), picture], multiscale=True, rgb=True
    )
    dock.panel.image.value = image
    viewer.reset_view()
    qtbot.wait(100)
    controller = dock.controller
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: controller.encoder.ready and not controller.encoder.active)
    dock.panel.draw.buttons["Grow"].click()
    hand.image = image
    hand.click(480, 720)
    green = shapely.affinity.scale(GREEN, 8, 8, origin=(0, 0))
    until(dock, qtbot, green)


def _flat(hand):
    """The same hand over a plane of a stack."""
    from types import SimpleNamespace

    world = SimpleNamespace(data_to_world=lambda at: hand.image.data_to_world((1, *at)))
    return SimpleNamespace(image=world, viewer=hand.viewer, canvas=hand.canvas)


def test_clicks_are_kept_in_the_project_and_in_exports(growing, hand, viewer, tmp_path, qtbot):
    hand.click(60, 30)
    hand.click(60, 90, SHIFT)
    [record] = until(growing, qtbot, RED.union(GREEN))
    session = growing.controller.session
    qtbot.waitUntil(lambda: bool(session.records[record.uid].caption), timeout=5000)
    growing.export_csv(tmp_path / "out.csv")
    [row] = read_tidy_csv(tmp_path / "out.regions.csv")
    clicks = json.loads(row.extra["origin"])["outlined"]["clicks"]
    assert np.abs(np.array(clicks) - [(60, 30), (60, 90)]).max() < 2
    growing.save_now()
    from napari_patchioner.annotations.project.file import record_to_json

    assert record_to_json(session.records[record.uid])["outlined"] == {"clicks": clicks}
    # What a person changes by hand was grown no more.
    layer = growing.controller.layer("regions")
    layer.data = [layer.data[0] + 3]
    growing.controller.bindings["regions"].sync(replaced=True)
    assert session.records[record.uid].outlined_by == ""
    growing.panel.buttons["undo"].click()
    assert session.records[record.uid].outlined_by == "grown from 2 clicks"


def test_it_is_gone_on_with_when_the_image_is_opened_again(
    quiet, dock, viewer, hand, registry, picture, qtbot
):
    def started():
        viewer_dock = docks[-1]
        viewer_dock.panel.progress.button.click()
        encoder = viewer_dock.controller.encoder
        qtbot.waitUntil(lambda: encoder.ready and not encoder.active)
        viewer_dock.panel.draw.buttons["Grow"].click()
        return viewer_dock

    docks = [dock]
    first = started()
    hand.click(60, 30)
    [record] = until(first, qtbot, RED)
    qtbot.waitUntil(lambda: bool(first.controller.session.records[record.uid].caption))
    first.save_now()
    first.shut_down()
    viewer.window.remove_dock_widget(first)
    viewer.layers.clear()
    hand.image = viewer.add_image(picture, name="stripes")
    viewer.reset_view()
    docks.append(type(dock)(viewer, registry=registry))
    viewer.window.add_dock_widget(docks[-1], name="Patch-ioner again")
    again = docks[-1]
    qtbot.waitUntil(lambda: len(again.controller.session.records) == 1, timeout=10_000)
    [back] = again.controller.session.records.values()
    assert (back.uid, back.outlined_by) == (record.uid, "grown from 1 click")
    started()
    again.controller.layer("regions").selected_data = {0}
    hand.click(60, 90, SHIFT)
    [more] = until(again, qtbot, RED.union(GREEN))
    assert (more.uid, more.outlined_by) == (record.uid, "grown from 2 clicks")
    again.shut_down()
