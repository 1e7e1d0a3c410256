"""Teaching in the middle of everything else."""

from __future__ import annotations

import numpy as np
from taught_pictures import draw
from taught_window import Class, corners

from napari_patchioner.regions import Box


def test_examples_whose_shapes_are_deleted_stay_and_undo_brings_both_back(quiet, lesson):
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.settle()
    controller, panel = lesson.dock.controller, lesson.dock.teach
    lesson.select(0, 1)
    lesson.dock.image_actions.delete()
    lesson.settle()
    assert len(lesson.records) == 5
    assert panel.lexicon.counts == {"leaf": 1, "nucleus": 1}
    assert lesson.captions()[:4] == ["nucleus", "leaf"] * 2
    controller.undo()
    lesson.settle()
    assert [r.example for r in lesson.records][:3].count(True) >= 1
    controller.undo()
    lesson.settle()
    assert panel.lexicon.counts == {"nucleus": 1}


def test_an_example_that_is_moved_is_learned_from_where_it_is_now(quiet, lesson):
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.settle()
    before = lesson.dock.teach.lexicon.described
    data = lesson.layer.data
    data[1] = corners(lesson.boxes[3])
    lesson.layer.data = data
    lesson.until(lambda: lesson.dock.teach.lexicon.described is not before)
    lesson.settle()
    assert lesson.dock.teach.lexicon.counts == {"leaf": 1, "nucleus": 1}
    assert lesson.captions()[2] == "nucleus"


def test_points_traces_labels_groups_and_the_whole_image_teach(quiet, lesson, viewer):
    dock, controller = lesson.dock, lesson.dock.controller
    session, boxes = controller.session, lesson.boxes
    points = controller.layer("points")
    points.add(np.array([[(boxes[1].top + boxes[1].bottom) / 2, boxes[1].left + 20]]))
    traces = controller.layer("traces")
    traces.add([np.array([(20.0, 15.0), (25.0, 25.0)])], shape_type="path")
    pixels = np.zeros(dock.image.data.shape[:2], int)
    pixels[10:30, 10:30] = 3
    labels = viewer.add_labels(pixels, name="painted")
    controller.sources.follow(labels)
    lesson.select(3, 5)
    controller.group_selected()
    controller.whole_image()
    lesson.until(lambda: len(session.records) == 12)
    lesson.settle()
    by_kind = {}
    for record in session.records.values():
        kind = record.seen.shape_type if record.seen else record.subject
        by_kind.setdefault(kind, record.uid)
    assert by_kind.keys() == {"rectangle", "point", "path", "label", "group", "image"}
    for kind, uid in by_kind.items():
        dock.teacher.teach(controller, [uid], f"a {kind}")
    lesson.settle()
    assert sorted(dock.teach.lexicon.counts) == sorted(f"a {kind}" for kind in by_kind)
    assert not dock.teacher.unread


def test_it_is_taught_while_the_image_is_read_and_the_window_closes_meanwhile(
    dock, drawn_boxes, qtbot, quiet
):
    lesson = Class(dock, drawn_boxes[1], qtbot)
    lesson.add()
    lesson.until(lambda: len(lesson.records) == 7)
    dock.panel.progress.button.click()
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.until(lambda: dock.controller.encoder.ready)
    lesson.dock.teacher.touch()
    lesson.until(lambda: dock.teacher._job is not None or dock.teach.lexicon is not None)
    records = lesson.dock.controller.session.records
    dock.shut_down()
    assert [record.example for record in records.values()][:2] == [True, True]


def test_another_image_comes_in_the_middle(quiet, lesson, viewer, qtbot):
    dock, first = lesson.dock, lesson.dock.controller
    pixels, boxes = draw(2, ["leaf", "nucleus"])
    lesson.teach("nucleus", 0)
    other = viewer.add_image(pixels, name="other")
    lesson.until(lambda: dock.image is other)
    dock.panel.progress.button.click()
    lesson.until(lambda: dock.controller.encoder.ready)
    second = Class(dock, boxes, qtbot)
    second.add()
    second.until(lambda: len(second.records) == 2)
    second.teach("leaf", 0)
    second.settle()
    assert dock.teach.lexicon.counts == {"leaf": 1, "nucleus": 1}
    captions = [record.caption for record in first.session.records.values()]
    assert captions[2:6] == ["nucleus", "leaf"] * 2
    # What was taught on the one is taken back there, and the other's stays.
    first.undo()
    second.settle()
    assert dock.teach.lexicon.counts == {"leaf": 1}


def test_of_a_stack_planes_are_read_where_something_is_taught(dock, viewer, qtbot, quiet):
    planes = [draw(seed, ["nucleus", "leaf", "nucleus", "leaf"]) for seed in (1, 2)]
    stack = viewer.add_image(np.stack([pixels for pixels, _ in planes]), rgb=True, name="stack")
    viewer.dims.set_point(0, 0)
    qtbot.waitUntil(lambda: dock.image is stack, timeout=5000)
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60_000)
    lesson = Class(dock, planes[0][1], qtbot)

    def add(plane, boxes: list[Box]):
        outlines = [np.insert(corners(box), 0, plane, axis=1) for box in boxes]
        lesson.layer.add(outlines, shape_type="rectangle")

    add(0, planes[0][1])
    lesson.until(lambda: len(lesson.records) == 4 and all(lesson.captions()))
    lesson.teach("nucleus", 0)
    lesson.teach("leaf", 1)
    lesson.until(lambda: lesson.captions() == ["nucleus", "leaf"] * 2)
    viewer.dims.set_point(0, 1)
    add(1, planes[1][1])
    lesson.until(lambda: len(lesson.records) == 8)
    lesson.until(lambda: lesson.captions()[4:] == ["nucleus", "leaf"] * 2)
