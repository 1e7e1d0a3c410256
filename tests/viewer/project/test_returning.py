"""Captions of points and labels, which come back with layers that other people make."""

from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.annotations import read_project
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.project import autosave
from napari_patchioner.viewer.project import restore as restore_module

PLACES = np.array([[10.5, 20.25], [30.0, 90.0], [100.0, 150.125]])
BOX = np.array([[10.0, 10.0], [10.0, 50.0], [40.0, 50.0], [40.0, 10.0]])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(autosave, "REST_MS", 20)


@pytest.fixture
def warned(monkeypatch):
    told = []
    monkeypatch.setattr(restore_module, "show_warning", told.append)
    return told


@pytest.fixture
def desk(registry, picture, qtbot):
    """Open the image in a viewer without a window, as often as wanted."""
    from napari.components import ViewerModel

    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.project.project_file import ProjectFile

    all_opened = []

    def open_image(*layers, data=picture):
        viewer = ViewerModel()
        image = viewer.add_image(data, name="stripes")
        for layer in layers:
            viewer.add_layer(layer)
        controller = Controller(viewer, image, registry)
        controller.sentences = []
        controller.project_file = ProjectFile(controller)
        controller.project_file.messaged.connect(controller.sentences.append)
        all_opened.append(controller)
        qtbot.waitUntil(lambda: controller.project_file.searched, timeout=10000)
        return controller

    yield open_image
    for controller in all_opened:
        shut(controller)


def shut(controller):
    controller.project_file.close()
    controller.close()


def points(places=PLACES, **facts):
    from napari.layers import Points

    return Points(places, name=facts.pop("name", "cells"), **facts)


def labels(values, **facts):
    from napari.layers import Labels

    return Labels(values, name=facts.pop("name", "nuclei"), **facts)


def follow(controller, layer, qtbot, expected):
    controller.sources.follow(layer)
    qtbot.waitUntil(lambda: len(foreign(controller)) == expected, timeout=5000)
    return foreign(controller)


def foreign(controller):
    return [r for r in controller.session.records.values() if ":" in r.layer]


def write_on(controller, records):
    """One caption by a model and accepted, one by a person, one locked without a text."""
    session = controller.session
    answer = Caption("something red", 0.8125, alternatives=("a red thing",))
    one, two, three = (record.uid for record in records)
    [request] = [r for r in session.take(lambda _: True) if r.uid == one]
    session.deliver(request, answer, "colours", {"grid": "abc"})
    session.accept([one])
    session.edit(two, "written by me")
    session.lock([three], True)
    controller.show()


KEPT = "caption score source model details reviewed locked origin"


def told_of(controller):
    """What is known of the regions, whatever they are called."""
    return sorted(
        [*record.seen.vertices.ravel(), *(repr(getattr(record, name)) for name in KEPT.split())]
        for record in foreign(controller)
    )


def squares(ndim=2):
    values = np.zeros((120, 180), int)
    for number, (top, left) in enumerate([(5, 5), (40, 90), (80, 150)], start=1):
        values[top : top + 20, left : left + 10] = number
    return values


@pytest.mark.parametrize("there", [False, True])
def test_captions_come_back_to_points_added_again(desk, qtbot, warned, there):
    first = desk()
    layer = first.viewer.add_layer(points())
    write_on(first, follow(first, layer, qtbot, 3))
    before = told_of(first)
    shut(first)
    again = desk(points()) if there else desk()
    if not there:
        again.viewer.add_layer(points(PLACES[::-1] + 1e-9))
    qtbot.waitUntil(lambda: len(foreign(again)) == 3, timeout=5000)
    for old, new in zip(before, told_of(again), strict=True):
        np.testing.assert_allclose(new[:2], old[:2], atol=1e-6)
        assert new[2:] == old[2:]
    layer = again.viewer.layers["cells"]
    assert sorted(layer.features["caption"]) == ["", "something red", "written by me"]
    qtbot.waitUntil(lambda: any("Restored 2 captions" in s for s in again.sentences), timeout=2000)
    assert warned == []
    assert again.session.take(lambda record: record.protected) == []


@pytest.mark.parametrize("kept", [True, False])
def test_captions_come_back_to_labels_added_again(desk, qtbot, warned, kept):
    first = desk()
    layer = first.viewer.add_layer(labels(squares()))
    write_on(first, follow(first, layer, qtbot, 3))
    before = told_of(first)
    shut(first)
    # Other numbers for the same pixels are no other content.
    again = desk(labels(squares() if kept else 7 * squares()))
    qtbot.waitUntil(lambda: len(foreign(again)) == 3, timeout=5000)
    assert told_of(again) == before
    assert warned == []


def test_what_fits_nothing_is_told_and_stays_in_the_project(desk, qtbot, warned):
    first = desk()
    layer = first.viewer.add_layer(labels(squares()))
    write_on(first, follow(first, layer, qtbot, 3))
    uids = {record.caption: record.uid for record in foreign(first)}
    shut(first)
    changed = squares()
    changed[40:60, 90:100] = 0
    changed[42:60, 90:100] = 2
    again = desk(labels(changed))
    qtbot.waitUntil(lambda: bool(warned), timeout=5000)
    assert "1 saved caption could not be matched: 'nuclei'" in warned[0]
    assert sorted(r.caption for r in foreign(again)) == ["", "", "something red"]
    shut(again)
    kept = {one.uid: one.caption for one in read_project(again.project_file.path).records}
    assert kept[uids["written by me"]] == "written by me"
    assert len(kept) == 4
    last = desk(labels(squares()))
    qtbot.waitUntil(lambda: len(foreign(last)) == 3, timeout=5000)
    assert "written by me" in [r.caption for r in foreign(last)]
    assert len(warned) == 1


def test_a_table_brought_along_is_known_by_its_uids_even_where_points_moved(desk, qtbot, warned):
    first = desk()
    layer = first.viewer.add_layer(points())
    write_on(first, follow(first, layer, qtbot, 3))
    table = layer.features[["uid"]].copy()
    uids = [record.uid for record in foreign(first)]
    shut(first)
    again = desk(points(PLACES + np.array([[0], [5], [0]]), features=table, name="other"))
    qtbot.waitUntil(lambda: len(foreign(again)) == 3, timeout=5000)
    assert [record.uid for record in foreign(again)] == uids
    assert [record.caption for record in foreign(again)] == ["something red", "written by me", ""]
    assert foreign(again)[2].locked
    shut(again)
    project = read_project(again.project_file.path)
    assert sorted(record.uid for record in project.records) == sorted(uids)
    assert not project.warning


def test_the_table_of_a_layer_is_newer_than_what_was_saved_and_neither_is_lost(desk, qtbot):
    first = desk()
    layer = first.viewer.add_layer(points())
    write_on(first, follow(first, layer, qtbot, 3))
    table = layer.features.copy()
    shut(first)
    table["caption"] = ["", "better words", ""]
    table["source"] = ["", "human", ""]
    table["reviewed"] = False
    again = desk(points(features=table))
    qtbot.waitUntil(lambda: len(foreign(again)) == 3, timeout=5000)
    assert [r.caption for r in foreign(again)] == ["something red", "better words", ""]
    shut(again)
    kept = [one.caption for one in read_project(again.project_file.path).records]
    assert sorted(kept) == ["", "better words", "something red", "written by me"]


def test_layers_that_nothing_waits_for_are_left_alone(desk, qtbot, warned):
    first = desk()
    layer = first.viewer.add_layer(points())
    write_on(first, follow(first, layer, qtbot, 3))
    shut(first)
    again = desk(points(PLACES + 3), points(name="others"), labels(squares(), name="cells"))
    qtbot.wait(200)
    assert again.sources.following == {}
    assert warned == []
    shut(again)
    assert len(read_project(again.project_file.path).records) == 3


def test_a_layer_left_and_followed_again_has_its_captions_at_once(desk, qtbot, warned):
    first = desk()
    layer = first.viewer.add_layer(points())
    write_on(first, follow(first, layer, qtbot, 3))
    before = told_of(first)
    first.sources.leave(layer)
    assert foreign(first) == []
    layer.features = layer.features[[]]
    follow(first, layer, qtbot, 3)
    assert told_of(first) == before
    first.viewer.layers.remove(layer)
    first.viewer.add_layer(points())
    qtbot.waitUntil(lambda: len(foreign(first)) == 3, timeout=5000)
    assert told_of(first) == before


def test_planes_of_a_stack_that_are_not_seen_again_are_kept(desk, qtbot, warned):
    stack = np.random.default_rng(0).integers(0, 255, (2, 120, 180), np.uint8)
    values = np.stack([squares(), squares()])
    first = desk(data=stack)
    layer = first.viewer.add_layer(labels(values))
    first.viewer.dims.set_point(0, 0)
    follow(first, layer, qtbot, 3)
    first.viewer.dims.set_point(0, 1)
    qtbot.waitUntil(lambda: len(foreign(first)) == 6, timeout=5000)
    for number, record in enumerate(foreign(first)):
        first.session.edit(record.uid, f"text {number}")
    first.sources.leave(layer)
    follow(first, layer, qtbot, 3)
    assert first.project_file.save()
    assert len(read_project(first.project_file.path).records) == 6
    shut(first)
    again = desk(labels(values), data=stack)
    qtbot.waitUntil(lambda: len(foreign(again)) == 3, timeout=5000)
    again.viewer.dims.set_point(0, 1 - again.viewer.dims.current_step[0])
    qtbot.waitUntil(lambda: len(foreign(again)) == 6, timeout=5000)
    texts = {r.seen.vertices[0][0]: set() for r in foreign(again)}
    for record in foreign(again):
        texts[record.seen.vertices[0][0]].add(record.caption)
    assert texts == {0: {"text 0", "text 1", "text 2"}, 1: {"text 3", "text 4", "text 5"}}
    assert warned == []


def test_a_caption_of_shapes_and_points_together_comes_back_with_the_last_of_them(desk, qtbot):
    first = desk()
    layer = first.viewer.add_layer(points())
    first.layer("regions").add([BOX], shape_type=["rectangle"])
    first.layer("regions").add([BOX + 9], shape_type=["rectangle"])
    point = follow(first, layer, qtbot, 3)[0]
    one, two = first.session.uids("regions")
    first.session.edit(first.session.group([one, two, point.uid]).uid, "all three")
    shut(first)
    again = desk()
    groups = [r for r in again.session.records.values() if r.subject == "group"]
    assert groups == [], "two of three are no group of three"
    again.viewer.add_layer(points())
    together = [one, two, point.uid]
    qtbot.waitUntil(lambda: again.session.find_group(together) is not None, timeout=5000)
    assert again.session.find_group(together).caption == "all three"
    assert not again.session.find_group(together).wanted


def test_a_file_stays_readable_where_a_member_of_a_waiting_group_is_deleted(desk, qtbot):
    first = desk()
    layer = first.viewer.add_layer(points())
    first.layer("regions").add([BOX], shape_type=["rectangle"])
    point = follow(first, layer, qtbot, 3)[0]
    first.session.edit(first.session.group([*first.session.uids("regions"), point.uid]).uid, "both")
    shut(first)
    again = desk()
    shapes = again.layer("regions")
    shapes.selected_data = {0}
    shapes.remove_selected()
    shut(again)
    project = read_project(again.project_file.path)
    assert not project.warning
    assert [one.subject for one in project.records] == ["shape"] * 3


def test_a_dock_closed_and_opened_forgets_no_points(desk, qtbot, registry):
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.project.project_file import ProjectFile

    first = desk()
    first.layer("regions").add([BOX], shape_type=["rectangle"])
    layer = first.viewer.add_layer(points())
    write_on(first, follow(first, layer, qtbot, 3))
    before = told_of(first)
    shut(first)
    again = Controller(first.viewer, first.image, registry)
    again.project_file = ProjectFile(again)
    qtbot.waitUntil(lambda: len(foreign(again)) == 3, timeout=5000)
    assert told_of(again) == before
    shut(again)
    assert len(read_project(again.project_file.path).records) == 4
