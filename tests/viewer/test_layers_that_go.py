"""Images and layers deleted, opened again, renamed, reordered: work goes on, none is lost."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import _layer_actions
from napari.utils.notifications import notification_manager
from PIL import Image
from qtpy.QtCore import Qt

from napari_patchioner.annotations import read_project
from napari_patchioner.viewer.project import autosave

BOXES = ([(20, 10), (60, 50)], [(20, 70), (60, 110)], [(20, 130), (60, 170)], [(80, 10), (110, 50)])
TEXTS = ["something red", "something green", "something blue", "something red"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(autosave, "REST_MS", 20)


@pytest.fixture
def image_file(tmp_path, picture):
    path = tmp_path / "stripes.png"
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def desk(viewer, registry, image_file, guide, qtbot):
    """The dock on an image from a file, and a hand to draw with."""
    from napari_patchioner.viewer import CaptionDock

    viewer.open(image_file)
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock, name="Patch-ioner")
    viewer.window._qt_window.resize(1280, 800)
    qtbot.wait(200)
    yield Desk(viewer, dock, guide, qtbot)
    dock.shut_down()


class Desk:
    """What a person does at the window."""

    def __init__(self, viewer, dock, guide, qtbot):
        self.viewer, self.dock, self.guide, self.qtbot = viewer, dock, guide, qtbot

    def start(self):
        self.dock.panel.progress.button.click()
        self.until(lambda: self.controller.encoder.ready and not self.controller.encoder.active)

    def draw(self, box):
        self.viewer.reset_view()
        self.dock.panel.draw.buttons["Box"].click()
        self.guide.Hand(self.viewer, self.dock.image).drag(box)

    def key(self, key, modifiers):
        self.guide.Hand(self.viewer, self.dock.image).key(key, modifiers)

    def begin(self, boxes=BOXES[:1]):
        """Start, draw, and wait until all is captioned and saved."""
        self.until(lambda: self.project_file.searched)
        self.start()
        for box in boxes:
            self.draw(box)
        self.until(lambda: all(self.captions()) and self.layer.nshapes >= len(boxes))

    def until(self, done):
        self.qtbot.waitUntil(done, timeout=10000)

    @property
    def controller(self):
        return self.dock.controller

    @property
    def project_file(self):
        return self.dock.projects.files[self.controller]

    @property
    def layer(self):
        return self.controller.layer("regions")

    def captions(self):
        return list(self.layer.features["caption"])

    def saved(self):
        assert self.project_file.save()
        return sorted(record.caption for record in read_project(self.project_file.path).records)

    def above(self, layer):
        layers = list(self.viewer.layers)
        return layers.index(layer) > layers.index(self.dock.image)


def test_an_image_deleted_and_opened_again_goes_on(quiet, desk, image_file):
    desk.begin()
    old = desk.layer
    desk.viewer.layers.remove(desk.dock.image)
    desk.viewer.open(image_file)
    desk.begin(BOXES[1:2])
    assert desk.captions() == TEXTS[:2]
    assert desk.above(desk.layer)
    assert desk.layer is old
    assert desk.saved() == sorted(TEXTS[:2])


def test_labels_that_stay_are_captioned_on_when_their_image_comes_back(quiet, desk, image_file):
    desk.begin()
    values = np.zeros(desk.dock.image.data.shape[:2], np.uint8)
    values[80:110, 70:110] = 1
    layer = desk.viewer.add_labels(values, name="nuclei")
    desk.controller.sources.follow(layer)
    desk.until(lambda: len(desk.saved()) == 2 and all(desk.saved()))
    saved = desk.saved()
    desk.viewer.layers.remove(desk.dock.image)
    desk.viewer.open(image_file)
    desk.until(lambda: desk.project_file.searched and len(desk.controller.session.records) == 2)
    assert layer in desk.controller.sources.following
    assert [image.name for image in desk.dock.controllers] == ["stripes"]
    assert desk.saved() == saved
    names = {path.name for path in image_file.parent.glob("*.patchioner.json")}
    assert names == {"stripes.png.patchioner.json"}, "one image, one project"


def half_draw(desk, corners=((70, 70), (70, 110), (110, 110), (110, 70))):
    """Click the corners of a polygon, and leave it there."""
    desk.viewer.reset_view()
    desk.dock.panel.draw.buttons["Polygon"].click()
    hand = desk.guide.Hand(desk.viewer, desk.dock.image)
    for corner in corners:
        hand.click(*corner)


def outlines(layer):
    return [(kind, len(data)) for kind, data in zip(layer.shape_type, layer.data, strict=True)]


def test_what_is_half_drawn_when_its_image_goes_is_finished_and_nothing_doubled(
    quiet, desk, image_file
):
    desk.begin()
    half_draw(desk)
    path = desk.project_file.path
    desk.viewer.layers.remove(desk.dock.image)
    kinds = sorted(record.seen.shape_type for record in read_project(path).records)
    assert kinds == ["polygon", "rectangle"]
    desk.viewer.open(image_file)
    desk.until(lambda: desk.project_file.searched)
    desk.start()
    desk.until(lambda: desk.layer.nshapes == 2 and all(desk.captions()))
    assert [kind for kind, _ in outlines(desk.layer)] == ["rectangle", "polygon"]
    # Too little for a polygon: nothing is left of it.
    half_draw(desk, [(20, 70)])
    desk.viewer.layers.remove(desk.dock.image)
    desk.viewer.open(image_file)
    desk.until(lambda: desk.project_file.searched)
    assert len(desk.saved()) == desk.layer.nshapes == 2


def test_what_is_half_drawn_when_the_dock_closes_is_finished_and_saved(
    quiet, desk, registry, qtbot
):
    from napari_patchioner.viewer import CaptionDock

    desk.begin()
    half_draw(desk)
    path, layer = desk.project_file.path, desk.layer
    desk.dock.shut_down()
    assert len(read_project(path).records) == 2
    before = outlines(layer)
    again = CaptionDock(desk.viewer, registry=registry)
    try:
        [project_file] = again.projects.files.values()
        qtbot.waitUntil(lambda: project_file.searched, timeout=10000)
        assert again.controller.layer("regions") is layer
        assert outlines(layer) == before
        assert len(again.controller.session.records) == 2
    finally:
        again.shut_down()
        again.deleteLater()


def test_a_deleted_layer_is_a_step_and_what_was_on_it_is_never_lost(quiet, desk):
    desk.begin(BOXES[:2])
    # Other names and another order take nothing away.
    desk.dock.image.name = "renamed"
    desk.layer.name = "my regions"
    layers = desk.viewer.layers
    layers.move(layers.index(desk.layer), 0)
    desk.draw(BOXES[2])
    desk.until(lambda: desk.captions() == TEXTS[:3])
    assert desk.saved() == sorted(TEXTS[:3])

    first = desk.layer
    layers.remove(first)
    assert "Undo" in desk.dock.panel.status.text()
    assert desk.saved() == sorted(TEXTS[:3]), "the file is not emptied by a slip"
    layers.selection.active = desk.dock.image
    desk.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert desk.layer is not first
    assert desk.captions() == TEXTS[:3]
    np.testing.assert_allclose(desk.layer.data[2], first.data[2])
    assert set(map(tuple, desk.layer.edge_color)) == set(map(tuple, first.edge_color))

    layers.remove(desk.layer)
    desk.start()
    desk.draw(BOXES[3])
    desk.until(lambda: desk.captions() == TEXTS[3:])
    assert desk.saved() == TEXTS[3:]
    [aside] = desk.project_file.others
    assert sorted(record.caption for record in read_project(aside).records) == sorted(TEXTS[:3])
    assert any("Merge" in note.message for note in notification_manager.records)
    desk.dock.panel.buttons["undo"].click()
    desk.dock.panel.buttons["undo"].click()
    assert desk.captions() == TEXTS[:3]
    desk.dock.panel.buttons["redo"].click()
    desk.dock.panel.buttons["redo"].click()
    assert desk.captions() == TEXTS[3:]


def test_what_only_bears_the_name_of_a_deleted_layer_is_left_to_whose_it_is(quiet, desk):
    desk.begin()
    layers, name = desk.viewer.layers, desk.layer.name
    points = desk.controller.layer("points")
    points.add([40.0, 30.0])
    desk.until(lambda: list(points.features["caption"]) == TEXTS[:1])
    copies = []
    for ours in (desk.layer, points):
        layers.selection = {ours}
        _layer_actions._duplicate_layer(layers)
        [copy] = [one for one in layers if one.name == f"{ours.name} copy"]
        assert list(copy.text.values) == list(ours.text.values)
        np.testing.assert_array_equal(copy.text.translation, ours.text.translation)
        ours.name, copy.name = f"my {ours.name}", ours.name
        copies.append(copy)
    mine = desk.viewer.add_shapes([[[80.0, 10], [110, 50]]], shape_type="rectangle")

    layers.remove(desk.layer)
    layers.remove(points)
    layers.selection.active = desk.dock.image
    assert list(desk.controller.bindings) == ["traces"]
    assert not desk.controller.sources.following
    mine.name, copies[0].name = name, "another"
    layers.selection.active = mine
    assert list(desk.controller.bindings) == ["traces"]
    mine.name, copies[0].name = "mine", name
    layers.selection.active = copies[0]
    copies[0].add([[80.0, 10], [110, 50]], shape_type="rectangle")
    copies[1].add([90.0, 30.0])
    desk.dock.panel.buttons["undo"].click()
    desk.dock.panel.buttons["undo"].click()
    assert desk.captions() == TEXTS[:1]
    assert list(desk.controller.layer("points").features["caption"]) == TEXTS[:1]
    assert desk.layer not in (mine, *copies)
    assert (mine.nshapes, copies[0].nshapes, len(copies[1].data)) == (1, 2, 2)
    assert copies[1] not in desk.controller.sources.following
    assert not any(copy.locked for copy in copies)
    assert len(desk.saved()) == 2


def test_a_deletion_done_again_deletes_the_layer_and_the_file_keeps_what_was_on_it(quiet, desk):
    desk.begin(BOXES[:2])
    desk.controller.layer("points").add([40.0, 30.0])
    points = desk.controller.layer("points")
    desk.until(lambda: list(points.features["caption"]) == TEXTS[:1])
    everything = desk.saved()
    names = {layer.name for layer in (desk.layer, points)}
    for layer in (desk.layer, points):
        desk.viewer.layers.remove(layer)
    undo, redo = desk.controller.undo, desk.controller.redo

    def walk(step):
        while "There is nothing" not in desk.controller.message:
            step()
        desk.controller.show_message("")

    def shown():
        return names & {layer.name for layer in desk.viewer.layers}

    for _ in range(2):
        walk(undo)
        assert desk.layer.nshapes == len(desk.controller.layer("points").data) == 0
        # Quicker than anything is saved.
        walk(redo)
        assert not shown()
        assert list(desk.controller.bindings) == ["traces"]
        assert not desk.controller.session.records
        assert desk.saved() == everything
        undo()
        undo()
        assert shown() == names
        assert desk.captions() == TEXTS[:2]
        assert list(desk.controller.layer("points").features["caption"]) == TEXTS[:1]
        assert desk.saved() == everything


def test_all_layers_cleared_and_the_file_opened_twice(quiet, desk, image_file, qtbot):
    desk.begin()
    orphans = [desk.layer]
    desk.viewer.layers.clear()
    assert desk.controller is None
    assert not orphans[0].keymap, "its keys would do something to another image"
    desk.viewer.open(image_file)
    desk.until(lambda: desk.project_file.searched)
    assert desk.captions() == TEXTS[:1]
    desk.begin(BOXES[1:2])
    assert desk.saved() == sorted(TEXTS[:2])
    first = desk.dock.image
    before = desk.captions()
    desk.viewer.open(image_file)
    assert desk.dock.image is not first
    desk.begin(BOXES[2:3])
    assert desk.captions() == TEXTS[:3]
    desk.saved()
    last = desk.project_file.path
    desk.dock.panel.image.value = first
    assert desk.captions() == before
    desk.draw(BOXES[3])
    desk.until(lambda: desk.captions() == [*before, TEXTS[3]])
    assert desk.saved() == sorted([*before, TEXTS[3]])
    assert desk.project_file.path != last, "neither writes over the other"
    assert len(read_project(last).records) == 3


def test_another_image_takes_nothing_over_and_new_pixels_go_on(
    quiet, desk, image_file, picture, registry
):
    from napari_patchioner.viewer import CaptionDock

    desk.begin()
    desk.saved()
    old, project = desk.layer, desk.project_file.path
    desk.viewer.layers.remove(desk.dock.image)
    desk.viewer.add_image(picture[:, ::-1], name="stripes")
    desk.until(lambda: desk.project_file.searched)
    assert desk.controller.bindings == {}, "what lay on an image of the same name is not its own"
    desk.begin()
    assert desk.layer is not old
    assert desk.captions() == ["something blue"]
    assert (old.nshapes, desk.layer.nshapes) == (1, 1)

    # The same array, deleted and added again, is the same image.
    mine = desk.layer
    desk.viewer.layers.remove(desk.dock.image)
    desk.viewer.add_image(picture[:, ::-1].copy(), name="stripes")
    assert desk.layer is mine
    desk.begin(BOXES[1:2])

    # New pixels of the same size, then of another: what is drawn stays, and work goes on.
    desk.dock.image.data = np.ascontiguousarray(picture)
    desk.begin(BOXES[2:3])
    assert desk.captions()[-1] == "something blue"
    earlier = desk.controller
    desk.dock.image.data = np.concatenate([picture, picture])
    assert desk.controller is not earlier
    desk.begin([[(140, 10), (160, 50)]])
    assert desk.captions()[-1] == "something red"
    assert desk.saved() == sorted(desk.captions())
    assert [record.caption for record in read_project(project).records] == TEXTS[:1]

    # A second dock in the same window: the first one saves, and gives way.
    other = CaptionDock(desk.viewer, registry=registry)
    desk.viewer.window.add_dock_widget(other, name="second")
    assert desk.dock.controllers == {}
    desk.dock = other
    desk.begin(BOXES[3:])
    assert desk.captions()[-1] == "something red"
    assert len(desk.saved()) == 5
