"""A person at the window: real widgets, a real canvas, mouse events as Qt sends them."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest


def shown(dock, key="regions"):
    return list(dock.controller.layer(key).features["caption"])


def until_captioned(dock, qtbot, key="regions", count=1):
    def done():
        captions = shown(dock, key)
        return len(captions) == count and all(captions)

    qtbot.waitUntil(done, timeout=10000)


def use(dock, title):
    dock.panel.draw.buttons[title].click()


def draw_box(dock, hand, top=20, left=10, bottom=60, right=50):
    use(dock, "Box")
    hand.drag([(top, left), (bottom, right)])


@pytest.mark.every_qt
def test_every_tool_makes_a_captioned_shape(started, hand, guide, qtbot):
    draw_box(started, hand)
    use(started, "Polygon")
    for corner in [(20, 70), (20, 110), (60, 110)]:
        hand.click(*corner)
    hand.double_click(60, 70)
    use(started, "Lasso")
    hand.drag(guide.loop(60, 150, 30, 20))
    use(started, "Ellipse")
    hand.drag([(80, 70), (110, 110)])
    use(started, "Trace")
    hand.drag([(90, 10), (100, 30), (95, 50)])
    until_captioned(started, qtbot, count=4)
    until_captioned(started, qtbot, "traces")
    assert shown(started) == [
        "something red",
        "something green",
        "something blue",
        "something green",
    ]
    assert shown(started, "traces") == ["something red"]
    kinds = started.controller.layer("regions").shape_type
    assert kinds == ["rectangle", "polygon", "polygon", "ellipse"]


def test_what_was_drawn_is_with_the_worker_before_it_is_painted(
    started, viewer, hand, captioner, qtbot
):
    use(started, "Box")
    layer, canvas = started.controller.layer("regions"), viewer.window._qt_viewer.canvas.native
    captioner.hold_captions.clear()
    at_work = []

    def on_painted():
        if layer.nshapes and not layer._is_creating:
            at_work.append(started.controller.queue.active)

    canvas.frameSwapped.connect(on_painted)
    hand.drag([(20, 10), (60, 50)])
    qtbot.waitUntil(lambda: len(at_work) > 0, timeout=5000)
    canvas.frameSwapped.disconnect(on_painted)
    captioner.hold_captions.set()
    assert at_work[0]
    until_captioned(started, qtbot)


def test_a_tool_shows_the_layer_it_draws_on(started, viewer, hand, qtbot):
    use(started, "Box")
    layer = started.controller.layer("regions")
    ways = {
        "hidden": lambda: setattr(layer, "visible", False),
        "faint": lambda: setattr(layer, "opacity", 0),
        "under": lambda: viewer.layers.move(viewer.layers.index(layer), 0),
    }
    for count, (way, lose) in enumerate(ways.items(), 1):
        lose()
        draw_box(started, hand)
        until_captioned(started, qtbot, count=count)
        assert (layer.visible, layer.opacity) == (True, 1), way
        assert viewer.layers.index(layer) > viewer.layers.index(started.image), way
        assert viewer.layers.selection.active is layer, way
        assert layer.mode == "add_rectangle", way


def test_what_is_drawn_while_reading_is_captioned_when_the_grid_arrives(
    dock, hand, captioner, qtbot
):
    captioner.hold.clear()
    dock.panel.progress.button.click()
    qtbot.waitUntil(captioner.reached.is_set, timeout=10000)
    draw_box(dock, hand)
    qtbot.wait(300)
    assert shown(dock) == [""]
    assert "Waiting" in dock.panel.caption.verdict.text()
    captioner.hold.set()
    until_captioned(dock, qtbot)
    another_wording_can_be_picked(dock, qtbot)


def another_wording_can_be_picked(started, qtbot):
    wordings = started.panel.caption.wordings
    qtbot.waitUntil(lambda: wordings.count() == 2, timeout=5000)
    wordings.itemClicked.emit(wordings.item(0))
    assert shown(started) == ["a red thing"]
    assert (started.controller.current().source, started.controller.current().reviewed) == (
        "model",
        True,
    )
    assert "red 80%" in started.panel.caption.concepts.text()


def test_a_moved_box_is_captioned_again_but_what_was_edited_stays(started, hand, qtbot):
    draw_box(started, hand)
    until_captioned(started, qtbot)
    use(started, "Select")
    hand.click(40, 30)
    hand.drag([(40, 30), (40, 150)])
    qtbot.waitUntil(lambda: shown(started) == ["something blue"], timeout=10000)
    editor = started.panel.caption.editor
    qtbot.waitUntil(lambda: editor.toPlainText() == "something blue", timeout=5000)
    editor.setFocus()
    editor.selectAll()
    QTest.keyClicks(editor, "a red stripe ")
    QTest.keyClicks(editor, "of mine")
    assert editor.toPlainText() == "a red stripe of mine"
    assert shown(started) == ["a red stripe of mine"]
    assert started.panel.caption.verdict.text() == "Edited by you"
    hand.drag([(40, 150), (40, 30)])
    started.panel.buttons["caption_again"].click()
    qtbot.wait(400)
    assert shown(started) == ["a red stripe of mine"]
    assert "kept" in started.panel.status.text()


def test_an_aborted_polygon_leaves_no_row(started, hand, viewer, qtbot):
    draw_box(started, hand)
    until_captioned(started, qtbot)
    use(started, "Polygon")
    hand.click(20, 70)
    QTest.keyClick(hand.canvas, Qt.Key.Key_Escape)
    qtbot.wait(300)
    layer = started.controller.layer("regions")
    assert len(layer.features) == layer.nshapes == 1
    draw_box(started, hand, 20, 130, 60, 170)
    until_captioned(started, qtbot, count=2)
    assert shown(started) == ["something red", "something blue"]
    several_shapes_as_one_region(started, hand, qtbot)


def several_shapes_as_one_region(started, hand, qtbot):
    use(started, "Select")
    hand.click(40, 30)
    started.controller.layer("regions").selected_data = {0, 1}
    started.panel.buttons["caption_together"].click()
    editor = started.panel.caption.editor
    qtbot.waitUntil(lambda: editor.toPlainText().count("something") == 2, timeout=5000)
    assert shown(started) == ["something red", "something blue"]
    assert started.panel.selected.text() == "2 shapes together"


def test_a_pasted_shape_is_captioned_where_it_ends_up(started, hand, qtbot):
    draw_box(started, hand)
    until_captioned(started, qtbot)
    use(started, "Select")
    hand.click(40, 30)
    QTest.keyClick(hand.canvas, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(hand.canvas, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    hand.drag([(40, 30), (40, 150)])
    until_captioned(started, qtbot, count=2)
    qtbot.waitUntil(lambda: shown(started) == ["something red", "something blue"], timeout=10000)
    assert started.controller.layer("regions").features["uid"].is_unique


def test_deleting_while_captioning_moves_no_caption(started, hand, captioner, qtbot):
    captioner.hold_captions.clear()
    draw_box(started, hand)
    draw_box(started, hand, 20, 130, 60, 170)
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    use(started, "Select")
    hand.click(40, 30)
    QTest.keyClick(hand.canvas, Qt.Key.Key_Delete)
    captioner.hold_captions.set()
    until_captioned(started, qtbot)
    assert shown(started) == ["something blue"]


def test_a_triangle_that_loses_a_vertex_is_gone_with_its_row(started, hand, qtbot):
    use(started, "Polygon")
    hand.click(20, 10)
    hand.click(20, 50)
    hand.double_click(60, 30)
    draw_box(started, hand, 20, 130, 60, 170)
    until_captioned(started, qtbot, count=2)
    layer = started.controller.layer("regions")
    layer.selected_data = {0}
    layer.mode = "vertex_remove"
    hand.click(*layer.data[0][0])
    qtbot.wait(300)
    assert layer.nshapes == 1
    assert shown(started) == ["something blue"]


def test_the_whole_image_has_its_own_place_and_a_shape_outside_says_so(
    started, viewer, hand, qtbot
):
    started.panel.buttons["caption_whole"].click()
    editor = started.panel.whole.editor
    qtbot.waitUntil(lambda: editor.toPlainText() == "something green", timeout=5000)
    layer = started.controller.layer("regions")
    assert layer.nshapes == 0
    box = np.array([[300, 300], [300, 340], [340, 340], [340, 300]])
    layer.add(box, shape_type="rectangle")
    layer.selected_data = {0}
    verdict = started.panel.caption.verdict
    qtbot.waitUntil(lambda: "outside" in verdict.text(), timeout=5000)
    assert shown(started) == [""]
    a_click_finds_a_shape_on_the_other_layer(started, viewer, hand, qtbot)


def a_click_finds_a_shape_on_the_other_layer(started, viewer, hand, qtbot):
    draw_box(started, hand)
    use(started, "Trace")
    hand.drag([(90, 130), (90, 150), (90, 170)])
    until_captioned(started, qtbot, "traces")
    use(started, "Select")
    hand.click(40, 30)
    assert viewer.layers.selection.active is started.controller.layer("regions")
    assert started.controller.current().layer == "regions"
    assert started.controller.layer("traces").selected_data == set()


def test_while_the_layer_at_hand_is_hidden_the_dock_says_so(started, viewer, hand, qtbot):
    """The keys of its tools do nothing then."""
    use(started, "Box")
    draw_box(started, hand)
    until_captioned(started, qtbot)
    layer = started.controller.layer("regions")
    hand.key(Qt.Key.Key_V)
    assert not layer.visible
    assert f"{layer.name!r} is hidden: press V" in started.panel.status.text()
    hand.key(Qt.Key.Key_V)
    assert layer.visible
    assert "hidden" not in started.panel.status.text()
