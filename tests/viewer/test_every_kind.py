"""Each kind of region in the window, with mouse and keys alone, and what may go wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

pytestmark = pytest.mark.usefixtures("quiet")

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
Key = Qt.Key


def shown(dock, key="regions"):
    return list(dock.controller.layer(key).features["caption"])


def until(qtbot, dock, captions, key="regions"):
    wanted = [f"something {colour}" for colour in captions.split()]

    def there():
        assert shown(dock, key) == wanted

    qtbot.waitUntil(there, timeout=5000)
    check(dock, key)


def check(dock, key="regions"):
    """One row and one uid for each shape, and every caption is that of its own place."""
    layer = dock.controller.layer(key)
    assert len(layer.features) == layer.nshapes
    assert layer.features["uid"].is_unique
    for vertices, caption in zip(layer.data, layer.features["caption"], strict=True):
        column = int(np.clip(vertices[:, 1].mean() // 60, 0, 2))
        assert caption == f"something {('red', 'green', 'blue')[column]}"


def use(dock, title):
    dock.panel.draw.buttons[title].click()


def box(dock, hand, left, top=20):
    use(dock, "Box")
    hand.drag([(top, left), (top + 40, left + 40)])


@pytest.fixture
def boxes(started, hand, qtbot):
    """A box on each stripe, as if it were drawn."""
    corners = np.array([(20, 10), (20, 50), (60, 50), (60, 10)])
    layer = started.controller.layer("regions")
    layer.add([corners + np.array((0, left)) for left in (0, 60, 120)], shape_type="rectangle")
    started.viewer.layers.selection.active = layer
    until(qtbot, started, "red green blue")
    return started


def test_lines_of_all_kinds_by_key_and_click(started, hand, qtbot):
    use(started, "Trace")
    hand.key(Key.Key_L)
    hand.drag([(20, 10), (40, 50)])
    hand.key(Key.Key_L, SHIFT)
    for corner in [(20, 70), (40, 90)]:
        hand.click(*corner)
    hand.double_click(20, 110)
    hand.key(Key.Key_T)
    hand.click(20, 130)
    for column in range(130, 170, 4):
        hand.move(20 + column % 8, column)
    hand.click(20, 170)
    until(qtbot, started, "red green blue", "traces")
    assert started.controller.layer("traces").shape_type == ["line", "path", "path"]
    kinds = {record.subject for record in started.controller.session.records.values()}
    assert kinds == {"shape"}
    a_click_where_a_drag_was_meant_is_no_trouble(started, hand, qtbot)


def a_click_where_a_drag_was_meant_is_no_trouble(started, hand, qtbot):
    for title in ("Box", "Ellipse", "Lasso", "Trace"):
        use(started, title)
        hand.click(60, 30)
    hand.key(Key.Key_Escape)
    qtbot.wait(300)
    for key in ("regions", "traces"):
        layer = started.controller.layer(key)
        assert len(layer.features) == layer.nshapes
    box(started, hand, 130)
    qtbot.waitUntil(lambda: shown(started)[-1:] == ["something blue"], timeout=5000)


def test_polygons_broken_off_leave_nothing_of_another_shape(boxes, hand, viewer, qtbot):
    layer = boxes.controller.layer("regions")
    ways = {
        "escape": lambda: hand.key(Key.Key_Escape),
        "mode": lambda: use(boxes, "Box"),
        "layer": lambda: setattr(viewer.layers.selection, "active", boxes.image),
        "delete": lambda: hand.key(Key.Key_Delete),
        "undo": lambda: hand.key(Key.Key_Z, CONTROL),
        "enter": lambda: hand.key(Key.Key_Return),
    }
    for way, break_off in ways.items():
        before = layer.nshapes
        use(boxes, "Polygon")
        hand.click(80, 70)
        hand.click(80, 110)
        break_off()
        hand.key(Key.Key_Escape)
        # On another layer napari goes on with the polygon, which has no name until it is done.
        use(boxes, "Select")
        qtbot.wait(150)
        assert len(layer.features) == layer.nshapes >= before, way
        uids = boxes.controller.session.uids("regions")
        assert list(layer.features["uid"]) == uids, way
        assert shown(boxes)[:3] == ["something red", "something green", "something blue"], way
    box(boxes, hand, 10, top=70)
    qtbot.waitUntil(lambda: shown(boxes)[-1] == "something red", timeout=5000)


def test_corners_are_moved_added_and_taken_away(started, hand, qtbot):
    use(started, "Polygon")
    for corner in [(20, 10), (20, 50), (60, 50)]:
        hand.click(*corner)
    hand.double_click(60, 10)
    box(started, hand, 130)
    until(qtbot, started, "red blue")
    use(started, "Select")
    hand.click(40, 30)
    hand.key(Key.Key_D)
    for corner in [(20, 50), (60, 50), (20, 10), (60, 10)]:
        hand.drag([corner, (corner[0], corner[1] + 120)])
    until(qtbot, started, "blue blue")
    hand.key(Key.Key_1)
    uids = list(started.controller.layer("regions").features["uid"])
    for corner in [(20, 170), (60, 170)]:
        hand.click(*corner)
    qtbot.wait(300)
    assert shown(started) == ["something blue"]
    assert list(started.controller.layer("regions").features["uid"]) == uids[1:]
    hand.key(Key.Key_Z, CONTROL)
    until(qtbot, started, "blue blue")
    assert list(started.controller.layer("regions").features["uid"]) == uids


def test_a_box_is_turned_and_sized_by_its_handles(boxes, hand, captioner, qtbot):
    layer = boxes.controller.layer("regions")
    use(boxes, "Select")
    hand.click(40, 90)
    assert layer.selected_data == {1}
    handle = layer._selected_box[9]
    before = np.array(layer.data[1])
    hand.drag([tuple(handle), (20, 70)])
    qtbot.wait(200)
    assert not np.allclose(layer.data[1], before)
    until(qtbot, boxes, "red green blue")
    corner = layer._selected_box[0]
    hand.drag([tuple(corner), tuple(np.array(corner) - (8, 8))])
    until(qtbot, boxes, "red green blue")
    for _ in range(2):
        hand.key(Key.Key_Z, CONTROL)
    assert np.allclose(layer.data[1], before)
    check(boxes)
    typing_in_the_caption_while_another_shape_is_captioned(boxes, hand, captioner, qtbot)


def typing_in_the_caption_while_another_shape_is_captioned(boxes, hand, captioner, qtbot):
    captioner.hold_captions.clear()
    use(boxes, "Select")
    hand.click(40, 30)
    hand.drag([(40, 30), (80, 150)])
    qtbot.waitUntil(lambda: boxes.controller.queue.active, timeout=5000)
    hand.key(Key.Key_C)
    editor = boxes.panel.caption.editor
    QTest.keyClicks(editor, "my own words")
    captioner.hold_captions.set()
    qtbot.waitUntil(lambda: not boxes.controller.queue.active, timeout=5000)
    qtbot.wait(200)
    assert shown(boxes) == ["my own words", "something green", "something blue"]
    assert editor.toPlainText() == "my own words"


def test_several_are_picked_with_shift_moved_and_captioned_as_one(boxes, hand, qtbot):
    use(boxes, "Trace")
    hand.drag([(90, 130), (90, 150), (90, 170)])
    until(qtbot, boxes, "blue", "traces")
    use(boxes, "Select")
    hand.click(40, 30)
    hand.click(40, 90, SHIFT)
    assert boxes.controller.layer("regions").selected_data == {0, 1}
    hand.key(Key.Key_G)
    editor = boxes.panel.caption.editor
    qtbot.waitUntil(lambda: editor.toPlainText().count("something") == 2, timeout=5000)
    assert boxes.panel.selected.text() == "2 shapes together"
    hand.drag([(40, 90), (40, 150)])
    qtbot.waitUntil(
        lambda: shown(boxes) == ["something green", "something blue", "something blue"],
        timeout=5000,
    )
    qtbot.waitUntil(
        lambda: (
            sorted(editor.toPlainText().split())
            == sorted(["something", "blue", "and", "something", "green"])
        ),
        timeout=5000,
    )


def test_copies_of_a_turned_layer_and_of_several_have_captions_of_their_own(boxes, hand, qtbot):
    use(boxes, "Select")
    hand.key(Key.Key_A)
    assert boxes.controller.layer("regions").selected_data == {0, 1, 2}
    hand.key(Key.Key_C, CONTROL)
    hand.key(Key.Key_V, CONTROL)
    hand.key(Key.Key_V, CONTROL)
    layer = boxes.controller.layer("regions")
    for count, act in ((9, None), (6, (Key.Key_Delete,)), (9, (Key.Key_Z, CONTROL))):
        if act:
            hand.key(*act)
        qtbot.waitUntil(lambda n=count: len(shown(boxes)) == n and all(shown(boxes)), timeout=5000)
        check(boxes)
        assert layer.nshapes == count


def test_labels_painted_by_hand_with_a_hole_and_loose_parts(started, hand, viewer, qtbot):
    layer = viewer.add_labels(np.zeros((120, 180), int), name="cells")
    started.controller.sources.follow(layer)
    viewer.layers.selection.active = layer
    layer.selected_label, layer.brush_size, layer.mode = 1, 10, "paint"
    hand.drag([(30, 20), (30, 45), (70, 45), (70, 20), (30, 20)])
    hand.drag([(100, 20), (100, 45)])
    layer.selected_label = 2
    hand.drag([(50, 140), (50, 160)])

    def captions():
        table = layer.features
        return (
            dict(zip(table["index"], table["caption"], strict=True)) if "caption" in table else {}
        )

    qtbot.waitUntil(lambda: captions() == {1: "something red", 2: "something blue"}, timeout=10000)
    ring = next(r.seen for r in started.controller.session.records.values() if r.seen.value == 1)
    assert not ring.pixels[50 - 25, 33 - 15]
    assert ring.pixels.sum() == (np.asarray(layer.data) == 1).sum()
    qtbot.waitUntil(
        lambda: started.panel.caption.editor.toPlainText() == "something blue", timeout=5000
    )
    layer.mode = "erase"
    hand.drag([(50, 135), (50, 165)])
    qtbot.waitUntil(lambda: captions() == {1: "something red"}, timeout=10000)


def test_points_are_put_moved_and_deleted_by_hand(started, hand, qtbot):
    started.inspect.new_points()
    layer = started.viewer.layers.selection.active
    for column in (30, 90, 150):
        hand.click(60, column)
    wanted = ["something red", "something green", "something blue"]
    qtbot.waitUntil(lambda: list(layer.features["caption"]) == wanted, timeout=5000)
    layer.mode = "select"
    hand.drag([(60, 30), (60, 170)])
    qtbot.waitUntil(lambda: layer.features["caption"][0] == "something blue", timeout=5000)
    qtbot.waitUntil(
        lambda: started.panel.caption.editor.toPlainText() == "something blue", timeout=5000
    )
    hand.key(Key.Key_Delete)
    qtbot.waitUntil(lambda: list(layer.features["caption"]) == wanted[1:], timeout=5000)
    qtbot.waitUntil(lambda: len(started.controller.session.records) == 2, timeout=5000)
