"""Points that come back, other people's layers captioned, and files opened after Start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from npe2 import PluginManager

from napari_patchioner.annotations import Annotation, ImageInfo, read_project, write_annotations
from napari_patchioner.regions import Box, Point, Polygon, Trace
from napari_patchioner.viewer.project import autosave

RED, GREEN, BLUE = "something red", "something green", "something blue"
BOX = np.array([[20, 10], [20, 50], [60, 50], [60, 10]], float)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    PluginManager.instance().discover()
    monkeypatch.setattr(autosave, "REST_MS", 20)


@pytest.fixture
def again(started, viewer, registry, picture, qtbot):
    """Close the dock and all layers, and open the picture once more."""
    made = []

    def open_again():
        from napari_patchioner.viewer import CaptionDock

        [project_file] = started.projects.files.values()
        assert project_file.save()
        started.shut_down()
        viewer.layers.clear()
        viewer.add_image(picture, name="stripes")
        dock = CaptionDock(viewer, registry=registry)
        made.append(dock)
        viewer.window.add_dock_widget(dock, name="again")
        [project_file] = dock.projects.files.values()
        qtbot.waitUntil(lambda: project_file.searched, timeout=10000)
        return dock, read_project(project_file.path)

    yield open_again
    for dock in made:
        dock.shut_down()


def captions(layer):
    return list(layer.features["caption"])


def test_points_of_the_docks_own_layer_come_back_with_undo_and_with_the_image(
    quiet, started, hand, viewer, captioner, again, qtbot
):
    panel, controller = started.panel, started.controller
    started.inspect.new_points()
    layer = viewer.layers.selection.active
    for count, column in enumerate((30, 90, 150), start=1):
        hand.click(60, column)
        # No hand clicks so fast that two would be one step.
        qtbot.waitUntil(lambda count=count: len(controller.session.records) == count, timeout=5000)
    qtbot.waitUntil(lambda: captions(layer) == [RED, GREEN, BLUE], timeout=10000)
    panel.buttons["undo"].click()
    assert captions(layer) == [RED, GREEN]
    panel.buttons["redo"].click()
    assert captions(layer) == [RED, GREEN, BLUE]
    np.testing.assert_allclose(layer.data[:, 1], [30, 90, 150], atol=1)

    controller.delete([controller.session.uids("points")[1]])
    assert captions(layer) == [RED, BLUE]
    panel.buttons["undo"].click()
    assert captions(layer) == [RED, GREEN, BLUE]

    viewer.layers.remove(layer)
    assert not controller.session.records
    panel.buttons["undo"].click()
    layer = viewer.layers["points [stripes]"]
    assert captions(layer) == [RED, GREEN, BLUE]
    started.inspect.new_points()
    assert viewer.layers.selection.active is layer, "there is one"

    asked = len(captioner.captioned)
    dock, project = again()
    assert sorted(record.caption for record in project.records) == sorted([RED, GREEN, BLUE])
    layer = viewer.layers["points [stripes]"]
    assert captions(layer) == [RED, GREEN, BLUE]
    assert dock.controller.owns(layer)
    assert len(captioner.captioned) == asked
    dock.panel.buttons["undo"].click()
    assert "nothing to undo" in dock.panel.status.text()


def test_a_layer_of_somebodys_own_is_captioned_and_otherwise_left_as_it_is(
    quiet, started, viewer, picture, qtbot
):
    controller, look = started.controller, started.inspect
    table = pd.DataFrame({"cell": pd.Categorical(["a", "b"]), "score": [7.5, 8.5]})
    shapes = viewer.add_shapes(
        [BOX, np.add(BOX, [0, 60])],
        shape_type=["rectangle", "ellipse"],
        name="mine",
        features=table,
        face_color=["yellow", "magenta"],
        edge_width=3,
    )
    colours = shapes.face_color.copy()
    viewer.layers.selection.active = shapes
    look.fill_menu()
    actions = {action.text(): action for action in started.inspect.menu.actions()}
    actions["Caption this layer"].trigger()
    assert "mine" in started.panel.status.text()
    qtbot.waitUntil(lambda: captions(shapes) == [RED, GREEN], timeout=10000)
    assert list(shapes.features["cell"]) == ["a", "b"]
    assert shapes.features["cell"].dtype == table["cell"].dtype
    assert list(shapes.features["score (before)"]) == [7.5, 8.5]
    np.testing.assert_array_equal(shapes.face_color, colours)
    assert list(shapes.edge_width) == [3, 3]
    assert shapes.shape_type == ["rectangle", "ellipse"]
    shapes.add(np.add(BOX, [0, 120]), shape_type="rectangle")
    qtbot.waitUntil(lambda: captions(shapes) == [RED, GREEN, BLUE], timeout=10000)

    # Selected on the canvas, it is what the buttons are about; its shapes are not ours to delete.
    viewer.layers.selection.active = shapes
    shapes.selected_data = {0}
    assert controller.current().caption == RED
    controller.edit(controller.current().uid, "written by me")
    assert captions(shapes)[0] == "written by me"
    started.panel.buttons["undo"].click()
    assert captions(shapes)[0] == RED
    own = controller.layer("regions")
    own.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: captions(own) == [RED], timeout=10000)
    controller.delete(list(controller.session.records))
    assert (shapes.nshapes, own.nshapes) == (3, 0)
    controller.undo()
    assert "deletion of 1 region" in started.panel.status.text()
    controller.redo()

    # Points, labels, and what cannot be captioned.
    dots = viewer.add_points([[40, 30], [40, 150]], name="dots")
    look.caption_layer()
    qtbot.waitUntil(lambda: captions(dots) == [RED, BLUE], timeout=10000)
    pixels = np.zeros((120, 180), int)
    pixels[40:60, 70:90] = 3
    labels = viewer.add_labels(pixels, name="cells")
    look.caption_layer()
    qtbot.waitUntil(lambda: list(labels.features.get("caption", ())) == [GREEN], timeout=10000)
    viewer.add_vectors(np.zeros((1, 2, 2)), name="arrows")
    look.caption_layer()
    assert "choose one that is" in started.panel.status.text()
    viewer.layers.selection.active = started.image
    look.caption_layer()
    assert "Select the layer" in started.panel.status.text()


def test_files_opened_after_start_join_the_work_with_all_they_say(
    quiet, started, viewer, tmp_path, captioner, again, qtbot
):
    controller, session = started.controller, started.controller.session
    layer = controller.layer("regions")
    layer.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: captions(layer) == [RED], timeout=10000)
    saved = [
        Annotation("u1", "", Box(20, 70, 60, 110), "my words", None, "human", "", {}),
        Annotation("u2", "", Polygon([[20, 130], [60, 130], [60, 170]]), "a model's", 0.25, "model",
                   "mini", {"reviewed": "true"}),
        Annotation("u3", "", Trace([[90, 20], [90, 40]]), "", None, "", "", {}),
        Annotation("u4", "", Point(90, 150), "a dot", 0.5, "model", "mini", {}),
    ]  # fmt: skip
    path = tmp_path / "from elsewhere.geojson"
    write_annotations(path, saved, {}, "geojson")
    viewer.open(str(path), plugin="napari-patchioner")
    qtbot.waitUntil(lambda: {"u1", "u2", "u3", "u4"} <= session.records.keys(), timeout=10000)
    assert controller.message.count("joined") == 3, "of each layer of the file"
    first, second = session.records["u1"], session.records["u2"]
    assert (first.caption, first.source) == ("my words", "human")
    assert (second.caption, second.score, second.reviewed) == ("a model's", 0.25, True)
    qtbot.waitUntil(lambda: session.records["u3"].caption == RED, timeout=10000)
    assert session.records["u4"].caption == "a dot"
    # The same file once more brings nothing twice.
    before, there = set(session.records), list(viewer.layers)
    viewer.open(str(path), plugin="napari-patchioner")
    message = controller.message
    assert all(f"{name} [from" in message for name in ("regions", "traces", "points"))
    assert message.count("here already") == 3
    qtbot.waitUntil(lambda: list(viewer.layers) == there, timeout=5000)
    assert set(session.records) == before
    # What a person wrote in it meanwhile is taken over, but not over a person's words here.
    theirs = replace(saved[0], caption="their words")
    spot = replace(saved[3], caption="a spot", source="human")
    changed = [theirs, replace(saved[1], caption="by a model"), saved[2], spot]
    write_annotations(path, changed, {}, "geojson")
    viewer.open(str(path), plugin="napari-patchioner")
    qtbot.waitUntil(lambda: session.records["u4"].caption == "a spot", timeout=5000)
    assert session.records["u4"].source in ("human", "edited")
    assert session.records["u1"].caption == "my words"
    assert session.records["u2"].caption == "a model's"
    assert "1 caption taken over from there" in controller.message
    assert "1 say something else there" in controller.message
    qtbot.waitUntil(lambda: list(viewer.layers) == there, timeout=5000)
    controller.undo()
    assert session.records["u4"].caption == "a dot"
    controller.redo()

    def said():
        return {record.caption for record in session.records.values()}

    # Every program counts from 1: the regions of another file are others.
    for name, left in (("anna.geojson", 10), ("bert.geojson", 90)):
        region = Box(5, left, 35, left + 60)
        write_annotations(
            tmp_path / name, [Annotation("1", "", region, name, None, "human")], {}, "geojson"
        )
        viewer.open(str(tmp_path / name), plugin="napari-patchioner")
        qtbot.waitUntil(lambda name=name: name in said(), timeout=10000)
    assert {"anna.geojson", "bert.geojson"} <= said()
    known = set(session.records)
    viewer.open(str(tmp_path / "bert.geojson"), plugin="napari-patchioner")
    assert set(session.records) == known
    assert "bert" in controller.message
    # What names an image that is not open says so.
    lone = tmp_path / "lone.geojson"
    write_annotations(
        lone, [replace(saved[0], uid="l1", image="coffee.png")],
        {"coffee.png": ImageInfo("coffee.png", 120, 180)}, "geojson",
    )  # fmt: skip
    [stranger] = viewer.open(str(lone), plugin="napari-patchioner")
    assert "coffee" in controller.message
    assert "Caption this layer" in controller.message
    viewer.layers.remove(stranger)

    # What the dock has exported comes back with its captions, by napari's own reader.
    started.image_actions.export(tmp_path / "stripes.csv")
    uid = next(uid for uid, record in session.records.items() if record.layer == "regions")
    controller.delete([uid])
    [table] = viewer.open(str(tmp_path / "stripes.csv"), plugin="napari")
    qtbot.waitUntil(lambda: uid in session.records, timeout=10000)
    assert session.records[uid].caption == RED
    assert RED in captions(table)
    known = {uid: record.caption for uid, record in session.records.items()}

    # Another image takes none of these layers for its own.
    other = viewer.add_image(255 - started.image.data, name="other")
    assert started.image is other
    assert not started.controller.session.records
    viewer.layers.selection.active = table
    started.panel.image.value = other
    started.inspect.caption_layer()
    assert "another image" in started.panel.status.text()
    project_file = started.projects.files[controller]
    assert project_file.save()
    viewer.layers.remove(other)

    # All of it comes back with the image, without the files.
    asked = len(captioner.captioned)
    dock, project = again()
    records = dock.controller.session.records
    for name in ("u1", "u2", "u3", "u4", uid):
        assert records[name].caption == known[name]
    assert records["u2"].reviewed
    assert {records[name].layer for name in ("u1", "u2")} == {"regions"}
    assert (records["u3"].layer, records["u4"].layer) == ("traces", "points")
    assert len(captioner.captioned) == asked
    assert len(project.records) >= 5


def test_a_joined_or_captioned_layer_that_is_deleted_is_a_step_and_stays_deleted(
    quiet, started, viewer, tmp_path, again, qtbot
):
    controller, session = started.controller, started.controller.session
    regions = controller.layer("regions")
    regions.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: captions(regions) == [RED], timeout=10000)
    saved = [
        Annotation("u1", "", Box(20, 70, 60, 110), "my words", None, "human", "", {}),
        Annotation("u2", "", Box(20, 130, 60, 170), "a model's", 0.25, "model", "mini", {}),
    ]
    path = tmp_path / "from elsewhere.geojson"
    write_annotations(path, saved, {}, "geojson")
    viewer.open(str(path), plugin="napari-patchioner")
    qtbot.waitUntil(lambda: {"u1", "u2"} <= session.records.keys(), timeout=10000)
    joined = next(layer for layer in viewer.layers if layer.name.startswith("regions [from"))
    mine = viewer.add_shapes([np.add(BOX, [40, 0])], name="mine")
    started.inspect.caption_layer()
    qtbot.waitUntil(lambda: captions(mine) == [RED], timeout=10000)
    controller.edit(session.uids("shapes:mine")[0], "written by me")
    [project_file] = started.projects.files.values()

    def texts():
        assert project_file.save()
        return sorted(record.caption for record in read_project(project_file.path).records)

    everything = sorted([RED, "my words", "a model's", "written by me"])
    assert texts() == everything
    for layer in (joined, mine):
        held = captions(layer)
        viewer.layers.remove(layer)
        assert "Undo" in started.panel.status.text()
        qtbot.waitUntil(lambda lost=held: not set(lost) & set(texts()), timeout=5000)
        started.panel.buttons["undo"].click()
        assert layer in viewer.layers
        assert captions(layer) == held
        assert captions(regions) == [RED], "Undo has taken nothing else"
        assert texts() == everything
        started.panel.buttons["redo"].click()
        assert layer not in viewer.layers
        started.panel.buttons["undo"].click()
        assert layer in viewer.layers
        assert texts() == everything
        viewer.layers.remove(layer)
        qtbot.waitUntil(lambda lost=held: not set(lost) & set(texts()), timeout=5000)
        viewer.layers.selection.active = regions
        everything = sorted(set(everything) - set(held))
    dock, project = again()
    assert [record.caption for record in project.records] == [RED]
    assert [one.caption for one in dock.controller.session.records.values()] == [RED]
