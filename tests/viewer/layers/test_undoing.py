"""Undo and redo on real layers: first without a display, then by the keys in a window."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from shapes_hand import OUTLINES, SQUARE, add_corner, finish, move, remove, start_polygon

from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.layers.binding import LayerBinding, redo, undo
from napari_patchioner.viewer.layers.image_layers import ensure_layer
from napari_patchioner.viewer.session.session import Session

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def bound(image=None):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((200, 200)) if image is None else image)
    layer = ensure_layer(viewer, image, "regions")
    session = Session()
    return layer, session, [LayerBinding(layer, image, "regions", session, lambda: None)]


def answer(session, bindings):
    for request in session.take(lambda record: True):
        session.deliver(request, Caption(f"about {request.fingerprint[:4]}", 0.5), "m")
    bindings[0].show()


def outlines(layer):
    return [(kind, data.tobytes()) for kind, data in zip(layer.shape_type, layer.data, strict=True)]


@pytest.mark.parametrize("kind", sorted(OUTLINES))
def test_a_deleted_shape_comes_back_in_its_place_with_its_caption(kind):
    layer, session, bindings = bound()
    layer.add([OUTLINES[kind] + 20 * place for place in range(3)], shape_type=kind)
    answer(session, bindings)
    before, rows = outlines(layer), layer.features.copy()
    remove(layer, {0, 1})
    assert undo(session, bindings) == "Undid: deletion of 2 shapes"
    assert outlines(layer) == before
    assert layer.features.equals(rows)
    assert list(layer.text.values) == list(rows["caption"])


def test_shapes_in_a_stack_come_back_on_their_plane():
    layer, session, bindings = bound(np.zeros((4, 60, 60)))
    for plane in (1, 3):
        layer.add(np.insert(SQUARE, 0, plane, axis=1), shape_type="polygon")
    remove(layer, {0})
    undo(session, bindings)
    assert [data[0, 0] for data in layer.data] == [1, 3]
    redo(session, bindings)
    assert [data[0, 0] for data in layer.data] == [3]


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("kind", sorted(OUTLINES))
def test_in_the_3d_display_all_comes_back_as_well(kind, depth):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((*[4] * depth, 60, 60)))
    layer, session = ensure_layer(viewer, image, "traces"), Session()
    bindings = [LayerBinding(layer, image, "traces", session, lambda: None)]
    for place in range(3):
        outline = OUTLINES[kind] + 20 * place
        layer.add(np.hstack([np.zeros((len(outline), depth)), outline]), shape_type=kind)
    answer(session, bindings)
    before, rows = outlines(layer), layer.features.copy()
    remove(layer, {1})
    viewer.dims.ndisplay = 3
    assert undo(session, bindings) == "Undid: deletion of 1 shape"
    assert outlines(layer) == before
    assert layer.features.equals(rows)
    assert redo(session, bindings) == "Redid: deletion of 1 shape"
    assert (layer.nshapes, len(layer.features)) == (2, 2)
    viewer.dims.ndisplay = 2
    undo(session, bindings)
    assert outlines(layer) == before


def test_a_shape_that_comes_back_looks_as_it_did():
    layer, session, bindings = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    layer.selected_data = {0}
    layer.current_edge_color = "red"
    layer.current_edge_width = 7
    colours, depths = layer.edge_color.copy(), list(layer.z_index)
    remove(layer, {0, 1})
    undo(session, bindings)
    assert np.array_equal(layer.edge_color, colours)
    assert layer.edge_width[0] == 7
    assert layer.z_index == depths


def test_shapes_that_stay_keep_a_colour_they_were_given_meanwhile():
    layer, session, bindings = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    move(layer, [0], (5, 5))
    layer.edge_color = "red"
    undo(session, bindings)
    assert np.array_equal(layer.edge_color, [[1, 0, 0, 1]] * 2)
    assert np.array_equal(layer.data[0], SQUARE)


def test_selection_and_mode_survive():
    layer, session, bindings = bound()
    layer.add([SQUARE + 20 * place for place in range(4)], shape_type="rectangle")
    remove(layer, {1})
    layer.mode = "direct"
    layer.selected_data = {0, 2}
    undo(session, bindings)
    assert (set(layer.selected_data), layer.mode) == ({0, 3}, "direct")
    redo(session, bindings)
    assert (set(layer.selected_data), layer.mode) == ({0, 2}, "direct")


def test_the_box_around_a_selected_shape_goes_back_with_it():
    layer, session, bindings = bound()
    layer.add(SQUARE, shape_type="rectangle")
    move(layer, [0], (40, 40))
    undo(session, bindings)
    assert np.allclose(layer.interaction_box({0})[:8].mean(axis=0), 4.5)
    assert np.allclose(layer._selected_box[:8].mean(axis=0), 4.5)


def test_nothing_happens_while_a_shape_is_drawn():
    layer, session, bindings = bound()
    layer.add(SQUARE, shape_type="rectangle")
    start_polygon(layer, SQUARE[0] + 50)
    for way in (undo, redo):
        assert way(session, bindings).startswith("Finish the shape")
    assert layer._is_creating
    for corner in (SQUARE[1] + 50, SQUARE[2] + 50, SQUARE[3] + 50):
        add_corner(layer, corner)
    finish(layer)
    assert undo(session, bindings) == "Undid: drawing of 1 shape"
    assert layer.shape_type == ["rectangle"]


def test_an_undone_vertex_makes_a_rectangle_of_the_polygon_again():
    layer, session, bindings = bound()
    layer.add(SQUARE, shape_type="rectangle")
    layer._data_view.edit(0, SQUARE + np.eye(4)[:, 2:] * 5, new_type="polygon")
    layer.events.data(value=layer.data, action="changed", data_indices=(0,), vertex_indices=((3,),))
    assert undo(session, bindings) == "Undid: reshaping of 1 shape"
    assert layer.shape_type == ["rectangle"]
    redo(session, bindings)
    assert layer.shape_type == ["polygon"]


def test_a_layer_pushed_aside_keeps_its_shapes_where_they_are_drawn():
    layer, session, bindings = bound()
    layer.add(SQUARE, shape_type="rectangle")
    move(layer, [0], (10, 10))
    answer(session, bindings)
    layer.translate = (7, 0)
    undo(session, bindings)
    assert np.array_equal(layer.data[0], SQUARE)
    [record] = session.records.values()
    assert np.allclose(record.seen.vertices, SQUARE + np.array([7, 0]))
    assert record.wanted


def test_without_the_private_word_for_editing_in_place_it_works_as_well(monkeypatch):
    from napari_patchioner.viewer.layers import shapes

    monkeypatch.setattr(shapes, "ARRANGING", ("no such method",))
    layer, session, bindings = bound()
    layer.add([SQUARE + 20 * place for place in range(4)], shape_type="rectangle")
    answer(session, bindings)
    before, rows = outlines(layer), layer.features.copy()
    move(layer, [1, 3], (2, 2))
    undo(session, bindings)
    assert outlines(layer) == before
    assert layer.features.equals(rows)


def test_shapes_in_another_order_are_drawn_as_if_new():
    """The triangles that are kept are those that napari would compute."""
    layer, session, bindings = bound()
    kinds = sorted(OUTLINES)
    layer.add([(OUTLINES[kind] + 20 * i, kind) for i, kind in enumerate(kinds)])
    remove(layer, {0, 2})
    undo(session, bindings)
    fresh = ViewerModel().add_shapes(layer.data, shape_type=layer.shape_type, **looks(layer))
    mesh, other = layer._data_view._mesh, fresh._data_view._mesh
    for name in ("vertices", "triangles", "triangles_colors", "displayed_triangles"):
        assert np.allclose(getattr(mesh, name), getattr(other, name)), name
    assert np.array_equal(layer.to_labels((200, 200)), fresh.to_labels((200, 200)))
    assert len(layer.data) == 5


def looks(layer):
    names = ("edge_color", "face_color", "edge_width", "z_index")
    return {name: getattr(layer, name) for name in names}


def test_colours_that_follow_the_table_still_do():
    layer, session, bindings = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    layer.features = layer.features.assign(kind=["cat", "dog"])
    layer.edge_color = "kind"
    colours = layer.edge_color.copy()
    assert not np.array_equal(colours[0], colours[1])
    remove(layer, {0})
    undo(session, bindings)
    assert layer.edge_color_mode == "cycle"
    assert np.array_equal(layer.edge_color, colours)


# in a window


def press(hand, key, modifiers=CONTROL):
    hand.canvas.setFocus()
    QTest.keyClick(hand.canvas, key, modifiers)


def draw_box(dock, hand, top=20, left=10, bottom=60, right=50):
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(top, left), (bottom, right)])


def shown(dock, key="regions"):
    return list(dock.controller.layer(key).features["caption"])


def test_the_keys_undo_and_redo_a_box_with_its_caption(started, hand, qtbot):
    draw_box(started, hand)
    qtbot.waitUntil(lambda: shown(started) == ["something red"], timeout=10000)
    press(hand, Qt.Key.Key_Z)
    assert shown(started) == []
    assert started.controller.message == "Undid: drawing of 1 shape"
    press(hand, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert shown(started) == ["something red"]
    press(hand, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert started.controller.message == "There is nothing to redo."


def test_an_undone_move_by_the_mouse_brings_the_old_caption_back(started, hand, qtbot):
    draw_box(started, hand)
    qtbot.waitUntil(lambda: shown(started) == ["something red"], timeout=10000)
    before = np.array(started.controller.layer("regions").data[0])
    started.panel.draw.buttons["Select"].click()
    hand.click(40, 30)
    hand.drag([(40, 30), (40, 150)])
    qtbot.waitUntil(lambda: shown(started) == ["something blue"], timeout=10000)
    press(hand, Qt.Key.Key_Z)
    layer = started.controller.layer("regions")
    assert shown(started) == ["something red"]
    assert np.array_equal(layer.data[0], before)
    assert set(layer.selected_data) == {0}
    hand.drag([(40, 30), (40, 100)])
    qtbot.waitUntil(lambda: shown(started) == ["something green"], timeout=10000)


def test_each_visit_to_the_caption_box_is_a_step(started, hand, qtbot):
    draw_box(started, hand)
    qtbot.waitUntil(lambda: shown(started) == ["something red"], timeout=10000)
    started.controller.layer("regions").selected_data = {0}
    started.refresh()
    editor = started.panel.caption.editor
    for text in ("a red", "a red square"):
        editor.setPlainText(text)
    editor.setFocus()
    QTest.keyClick(editor, Qt.Key.Key_Return)
    editor.setPlainText("a red box")
    started.controller.undo()
    assert shown(started) == ["a red square"]
    started.controller.undo()
    assert shown(started) == ["something red"]


def test_a_caption_on_its_way_does_not_reach_what_was_undone(started, hand, captioner, qtbot):
    draw_box(started, hand)
    qtbot.waitUntil(lambda: shown(started) == ["something red"], timeout=10000)
    [uid] = started.controller.session.uids("regions")
    captioner.hold_captions.clear()
    started.controller.again([uid])
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    assert shown(started) == ["something red"]
    assert started.controller.session.records[uid].wanted
    press(hand, Qt.Key.Key_Z)
    assert shown(started) == ["something red"]
    assert not started.controller.session.records[uid].wanted
    captioner.hold_captions.set()
    qtbot.waitUntil(lambda: not started.controller.queue.active, timeout=5000)
    assert shown(started) == ["something red"]
    assert started.controller.message == "Undid: writing of 1 caption"


def test_what_is_selected_on_both_layers_stays_selected(started, hand, qtbot):
    draw_box(started, hand)
    draw_box(started, hand, 20, 130, 60, 170)
    started.panel.draw.buttons["Trace"].click()
    hand.drag([(90, 10), (100, 30), (95, 50)])
    qtbot.waitUntil(lambda: len(started.controller.session.records) == 3, timeout=5000)
    controller = started.controller
    uid = controller.session.uids("regions")[0]
    chosen = [uid, *controller.session.uids("traces")]
    controller.edit(uid, "mine")
    controller.select(chosen)
    controller.undo()
    assert sorted(controller.selected()) == sorted(chosen)


def test_undo_in_the_middle_of_a_polygon_only_says_so(started, hand, qtbot):
    draw_box(started, hand)
    qtbot.waitUntil(lambda: len(shown(started)) == 1, timeout=5000)
    started.panel.draw.buttons["Polygon"].click()
    hand.click(20, 70)
    hand.click(20, 110)
    press(hand, Qt.Key.Key_Z)
    assert started.controller.message.startswith("Finish the shape")
    hand.click(60, 110)
    hand.double_click(60, 70)
    qtbot.waitUntil(lambda: len(started.controller.session.records) == 2, timeout=5000)
    press(hand, Qt.Key.Key_Z)
    assert started.controller.layer("regions").shape_type == ["rectangle"]


def test_our_undo_is_free_in_napari():
    from napari.layers import Labels, Shapes
    from napari.utils.shortcuts import default_shortcuts

    taken = {str(key) for keys in default_shortcuts.values() for key in keys}
    taken |= {str(key) for key in Shapes.class_keymap}
    assert not {"Ctrl+Z", "Ctrl+Shift+Z", "Control-Z", "Control-Shift-Z"} & taken
    assert Labels.class_keymap
