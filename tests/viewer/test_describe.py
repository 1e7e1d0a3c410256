"""Place and size behind captions, and the paragraph about the whole image, in a real window."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_patchioner.annotations import read_annotations
from napari_patchioner.annotations.paragraph import FROM_REGIONS
from napari_patchioner.annotations.place import WITH_PLACE
from napari_patchioner.viewer import CaptionDock
from napari_patchioner.viewer.io.export import export_csv, export_file

# Rows, columns and sides: three in red, one in green, one in blue.
SQUARES = ((10, 5, 40), (70, 5, 20), (100, 30, 10), (20, 80, 20), (20, 130, 40))
SAID = {"red": "a nucleus", "green": "cup or bowl?", "blue": "a dark vessel"}


@pytest.fixture
def captioner(captioner, monkeypatch):
    """It calls red a nucleus, blue a vessel, and is not sure of green."""
    name = captioner._one

    def say(grid, region):
        caption = name(grid, region)
        colour = caption.text.split()[-1]
        verdict = "unsure" if colour == "green" else "sure"
        return replace(caption, text=SAID[colour], verdict=verdict, alternatives=())

    def caption(grid, regions, *, pixel_size=None, **options):
        return every(grid, regions, **options)

    every = captioner.caption
    monkeypatch.setattr(captioner, "_one", say)
    monkeypatch.setattr(captioner, "caption", caption)
    return captioner


def box(row, column, side):
    low, high = (row, column), (row + side, column + side)
    return np.array([low, (low[0], high[1]), high, (high[0], low[1])], float)


@pytest.fixture
def dock(viewer, registry, picture):
    """The dock on an image of half a micrometre per pixel."""
    viewer.add_image(picture, name="stripes", scale=(0.5, 0.5), units=("µm", "µm"))
    made = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(made, name="Patch-ioner")
    yield made
    made.shut_down()


@pytest.fixture
def captioned(started, qtbot):
    """The dock with five captioned boxes."""
    layer = started.controller.layer("regions")
    layer.add([box(*square) for square in SQUARES], shape_type="rectangle")
    started.controller.bindings["regions"].sync()
    started.controller.settle()
    session = started.controller.session

    def captioned():
        return len(session.records) == 5 and all(r.caption for r in session.records.values())

    qtbot.waitUntil(captioned, timeout=10000)
    return started


def uids(dock):
    return dock.controller.session.uids("regions")


def captions(dock):
    records = dock.controller.session.records
    return [records[uid].caption for uid in uids(dock)]


def choose(dock, title):
    """Choose a line of the menu Reword."""
    [line] = [action for action in dock.panel.reword.menu().actions() if action.text() == title]
    line.trigger()


def wait(dock, qtbot):
    qtbot.waitUntil(lambda: not dock.controller.describer.is_busy, timeout=10000)


def add_places(dock, qtbot, chosen=()):
    dock.controller.select(chosen)
    choose(dock, "Add place and size")
    wait(dock, qtbot)


def write(dock, qtbot):
    """Press the button; return the record of the whole image."""
    QTest.mouseClick(dock.panel.buttons["describe_whole"], Qt.MouseButton.LeftButton)
    wait(dock, qtbot)
    return dock.controller.current_whole()


PLACED = [
    "a nucleus, the largest of three, 23 µm across, left of the vessel",
    "a nucleus, the second largest of three, 11 µm across, left of the vessel",
    "a nucleus, the smallest of three, 5.6 µm across, below and left of the vessel",
    "cup or bowl? (11 µm across, between the largest nucleus and the vessel)",
    "a dark vessel, 23 µm across, right of the largest nucleus",
]


@pytest.mark.every_qt
def test_place_and_size_are_added_once_undone_and_exported(quiet, captioned, qtbot, tmp_path):
    dock, before = captioned, captions(captioned)
    add_places(dock, qtbot)
    said = captions(dock)
    assert said == PLACED
    record = dock.controller.session.records[uids(dock)[0]]
    assert record.reworded_by == WITH_PLACE
    assert record.alternatives[0] == "a nucleus"
    assert "5 captions" in dock.controller.message
    add_places(dock, qtbot)
    assert captions(dock) == said
    assert "already" in dock.controller.message
    _, tidy = export_csv(tmp_path / "out.csv", dock.controller.session, dock.image)
    [first, *_] = read_annotations(tidy)
    assert first.extra["place"] == "the largest of three nuclei, left of the vessel"
    assert first.extra["size"] == "23 µm across"
    dock.image_actions.undo()
    assert captions(dock) == before
    dock.image_actions.redo()
    assert captions(dock) == said


def test_only_what_is_selected_and_what_people_wrote_is_left_to_them(quiet, captioned, qtbot):
    dock = captioned
    first, second, *_ = uids(dock)
    dock.controller.edit(first, "nucleus")
    dock.controller.session.lock([second], True)
    add_places(dock, qtbot, [first, second])
    records = dock.controller.session.records
    assert captions(dock) == ["nucleus", *[SAID["red"]] * 2, SAID["green"], SAID["blue"]]
    assert records[first].alternatives[0] == (
        "nucleus, the largest of three, 23 µm across, left of the vessel"
    )
    assert records[second].alternatives[0].startswith("a nucleus, the second largest")
    assert "offered for 2 captions" in dock.controller.message
    dock.controller.select([first])
    dock.image_actions.choose(0)
    assert captions(dock)[0] == "nucleus, the largest of three, 23 µm across, left of the vessel"
    assert records[first].is_human


def test_what_changes_meanwhile_stays_as_it_is_then(quiet, captioned, qtbot):
    dock = captioned
    uid = uids(dock)[0]
    dock.controller.describer.add_places([uid])
    dock.controller.edit(uid, "a cell of mine")
    wait(dock, qtbot)
    assert captions(dock)[0] == "a cell of mine"
    assert "changed meanwhile" in dock.controller.message


def test_without_captions_there_is_nothing_to_add(quiet, dock, qtbot):
    dock.controller.layer("regions")
    add_places(dock, qtbot)
    assert "Start" in dock.controller.message
    assert write(dock, qtbot) is None
    assert "No region" in dock.controller.message


@pytest.mark.every_qt
def test_a_paragraph_leads_to_its_regions_and_is_one_step(quiet, captioned, qtbot):
    dock = captioned
    record = write(dock, qtbot)
    assert record.caption.startswith("The image shows three nuclei and a dark vessel. ")
    assert record.caption.endswith("Another region may be a cup or a bowl.")
    assert record.reworded_by == FROM_REGIONS
    assert (record.source, record.score) == ("model", None)
    panel = dock.panel
    assert panel.paragraph.isVisibleTo(panel)
    assert not panel.whole.editor.isVisibleTo(panel)
    assert panel.whole.verdict.text() == "Put together from its regions"
    links = dock.controller.describer.links(record)
    texts = [record.caption[link.start : link.stop] for link in links]
    assert texts[:2] == ["three nuclei", "a dark vessel"]
    panel.paragraph.follow("1")
    assert dock.controller.selected() == [uids(dock)[4]]
    panel.paragraph.follow("0")
    assert set(dock.controller.selected()) == set(uids(dock)[:3])
    # The same again is no step.
    assert write(dock, qtbot) is record
    assert "Nothing has changed" in dock.controller.message
    dock.image_actions.undo()
    assert dock.controller.current_whole() is None
    assert not panel.paragraph.isVisibleTo(panel)
    assert panel.whole.editor.isVisibleTo(panel)


def test_a_phrase_is_clicked_with_the_mouse_and_pointed_at(quiet, captioned, qtbot):
    dock = captioned
    write(dock, qtbot)
    view = dock.panel.paragraph
    dock.ensureWidgetVisible(view)
    qtbot.wait(100)
    pointed = []
    view.pointed.connect(pointed.append)
    # Past "The image shows", in the middle of "three nuclei".
    x = view.fontMetrics().horizontalAdvance("The image shows three")
    spot = QPoint(x, view.fontMetrics().height() // 2)

    def is_pointed():
        # What is above may have grown, and a cursor that was there already does not move.
        dock.ensureWidgetVisible(view)
        QTest.mouseMove(view, QPoint(1, 1))
        QTest.mouseMove(view, spot)
        return dock.controller.overlays.pointed == set(uids(dock)[:3])

    qtbot.waitUntil(is_pointed, timeout=3000)
    assert pointed
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=spot)
    assert set(dock.controller.selected()) == set(uids(dock)[:3])


def test_place_that_may_be_another_by_now_is_outdated_until_it_is_added_again(
    quiet, captioned, qtbot
):
    dock, describer = captioned, captioned.controller.describer
    add_places(dock, qtbot)
    first, second, third, guess, vessel = uids(dock)
    assert not describer.moved()
    dock.controller.edit(guess, "a cup")
    assert not describer.moved()
    dock.controller.select([third])
    dock.image_actions.delete()
    # The vessel lies right of "the largest nucleus".
    assert describer.moved() == {first, second, vessel}
    dock.region_list.toggle()
    dock.region_list.refresh()
    dock.controller.select([first])
    dock.refresh()
    outdated = "with place and size, outdated: the regions have changed"
    assert outdated in dock.panel.caption.verdict.text()
    lines = {line.uid: line for line in dock.region_list.regions.lines}
    assert lines[vessel].author.startswith("outdated: the regions have changed; model, with ")
    assert "outdated" not in lines[guess].author
    add_places(dock, qtbot)
    assert not describer.moved()
    assert captions(dock)[0].startswith("a nucleus, the larger of two, ")
    assert "outdated" not in dock.panel.caption.verdict.text()
    dock.image_actions.undo()
    assert describer.moved() == {first, second, vessel}
    # With all as it was, the words hold again.
    dock.image_actions.undo()
    assert not describer.moved()
    dock.image.scale = (1, 1)
    assert describer.moved() == {first, second, third, vessel}


def test_a_paragraph_whose_regions_change_is_outdated_and_written_anew(quiet, captioned, qtbot):
    dock, view = captioned, captioned.panel.paragraph
    record = write(dock, qtbot)
    assert not dock.controller.describer.is_outdated(record)
    assert "Outdated" not in view.text()
    add_places(dock, qtbot)
    assert not dock.controller.describer.is_outdated(record)
    vessel = uids(dock)[4]
    dock.controller.select([vessel])
    dock.image_actions.delete()
    dock.refresh()
    assert dock.controller.describer.is_outdated(record)
    assert "Outdated" in view.text()
    view.follow("1")
    assert "deleted" in dock.controller.message
    view.follow("anew")
    wait(dock, qtbot)
    assert "vessel" not in dock.controller.current_whole().caption
    assert "Outdated" not in view.text()


def test_what_a_person_wrote_of_the_whole_image_is_kept(quiet, captioned, qtbot):
    dock = captioned
    record = write(dock, qtbot)
    dock.panel.paragraph.follow("edit")
    assert dock.panel.whole.editor.isVisibleTo(dock.panel)
    dock.panel.whole.editor.setPlainText("My tissue.")
    record = write(dock, qtbot)
    assert (record.caption, record.source) == ("My tissue.", "edited")
    assert record.alternatives[0].startswith("The image shows three nuclei")
    assert not dock.panel.paragraph.isVisibleTo(dock.panel)
    assert "kept" in dock.controller.message
    assert write(dock, qtbot) is record
    dock.image_actions.undo()
    assert not dock.controller.current_whole().alternatives


def test_people_are_quoted_first(quiet, captioned, qtbot):
    dock = captioned
    dock.controller.edit(uids(dock)[3], "Spindle, odd")
    assert write(dock, qtbot).caption.startswith(
        "By hand, one region is described as “Spindle, odd”. The image also shows three nuclei"
    )


def test_the_report_links_its_phrases_to_rows(quiet, captioned, qtbot, tmp_path):
    dock = captioned
    dock.controller.edit(uids(dock)[3], "<b>bold</b>")
    record = write(dock, qtbot)
    session, image = dock.controller.session, dock.image
    path, _ = export_file(tmp_path / "out.html", session, image, "html")
    page = path.read_text("utf8")
    assert '<a href="#c1">three nuclei</a>' in page
    assert '<a href="#c4">“&lt;b&gt;bold&lt;/b&gt;”</a>' in page
    assert "<b>bold" not in page
    whole = next(item for item in read_annotations(path) if item.kind == "image")
    assert whole.caption == record.caption
    assert json.loads(whole.extra["origin"])["reworded"]["by"] == FROM_REGIONS


def test_regions_of_other_planes_are_neither_counted_nor_neighbours(viewer, registry, qtbot, quiet):
    viewer.add_image(np.zeros((3, 100, 100), np.uint8), name="stack")
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock, name="Patch-ioner")
    try:
        viewer.dims.set_point(0, 1)
        layer = dock.controller.layer("regions")
        for plane, row, side in ((1, 5, 40), (1, 60, 10), (2, 5, 20)):
            corners = np.insert(box(row, 5, side), 0, plane, axis=1)
            layer.add(corners, shape_type="rectangle")
        dock.controller.bindings["regions"].sync()
        for uid in uids(dock):
            dock.controller.edit(uid, "a cell")
        assert "two regions are described" in write(dock, qtbot).caption
        add_places(dock, qtbot)
        records = dock.controller.session.records
        offered = [records[uid].alternatives[0] for uid in uids(dock)]
        assert "the larger of two" in offered[0]
        assert "of two" not in offered[2]
    finally:
        dock.shut_down()


def test_a_paragraph_comes_back_with_its_links_and_is_not_outdated(
    quiet, captioned, viewer, registry, picture, qtbot
):
    add_places(captioned, qtbot)
    record = write(captioned, qtbot)
    links = captioned.controller.describer.links(record)
    captioned.save_now()
    captioned.shut_down()
    viewer.layers.clear()
    viewer.add_image(picture, name="stripes", scale=(0.5, 0.5), units=("µm", "µm"))
    other = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(other, name="again")
    try:
        qtbot.waitUntil(lambda: "Restored" in other.panel.status.text(), timeout=5000)
        again = other.controller.current_whole()
        assert (again.caption, again.reworded_by) == (record.caption, FROM_REGIONS)
        assert other.controller.describer.links(again) == links
        assert not other.controller.describer.is_outdated(again)
        assert other.panel.paragraph.isVisibleTo(other.panel)
        assert captions(other)[0] == PLACED[0]
        assert not other.controller.describer.moved()
        other.controller.select(uids(other)[1:2])
        other.image_actions.delete()
        assert other.controller.describer.moved() == set(uids(other))
    finally:
        other.shut_down()


def test_the_whole_image_has_no_place(quiet, captioned, qtbot):
    record = write(captioned, qtbot)
    captioned.controller.describer.add_places([record.uid])
    wait(captioned, qtbot)
    assert "no place" in captioned.controller.message


def test_another_size_takes_the_place_of_the_one_that_was_offered(quiet, captioned, qtbot):
    dock = captioned
    first, second, *_ = uids(dock)
    records = dock.controller.session.records
    for uid in (first, second):
        dock.controller.edit(uid, "nucleus")
    before = records[first].alternatives
    for scale in (1, 3, 5):
        dock.image.scale = (scale, scale)
        add_places(dock, qtbot, [first, second])
    offered = [text for text in records[first].alternatives if text not in before]
    assert len(offered) == 1
    dock.controller.select([first, second])
    dock.image_actions.choose(0)
    assert all("nucleus, " in records[uid].caption for uid in (first, second))
    dock.controller.select([first])
    dock.refresh()
    assert dock.panel.caption.verdict.text().startswith("Edited by you, with place and size")
    dock.image_actions.undo()
    records = dock.controller.session.records
    assert [records[uid].caption for uid in (first, second)] == ["nucleus", "nucleus"]


@pytest.mark.parametrize("turned", [{"rotate": 90}, {"scale": (-0.5, 0.5)}])
def test_directions_that_are_not_those_of_the_screen_are_said_once(turned, quiet, captioned, qtbot):
    dock = captioned
    add_places(dock, qtbot)
    assert "stored image" not in dock.controller.message
    for name, value in turned.items():
        setattr(dock.image, name, value)
    write(dock, qtbot)
    assert "Directions are those of the stored image" in dock.controller.message
    dock.controller.edit(uids(dock)[0], "my nucleus")
    write(dock, qtbot)
    assert "stored image" not in dock.controller.message
