"""What a person does with mouse and keys while a worker is at it, and what they then see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt

from napari_patchioner.annotations import read_project

pytestmark = pytest.mark.usefixtures("quiet")
Key, CONTROL = Qt.Key, Qt.KeyboardModifier.ControlModifier


def shown(controller):
    return list(controller.layer("regions").features["caption"])


def box(dock, hand, left):
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, left), (60, left + 40)])


def reading(dock, captioner, qtbot):
    captioner.hold.clear()
    captioner.reached.clear()
    dock.panel.progress.button.click()
    qtbot.waitUntil(captioner.reached.is_set, timeout=10000)


def test_another_image_is_chosen_while_the_first_is_read(
    dock, hand, viewer, picture, captioner, guide, qtbot
):
    reading(dock, captioner, qtbot)
    box(dock, hand, 10)
    first = dock.controller
    other = viewer.add_image(picture[:, ::-1], name="mirrored")
    assert dock.image is other
    hand = guide.Hand(viewer, other)
    box(dock, hand, 10)
    second = dock.controller
    assert second is not first
    dock.panel.progress.button.click()
    captioner.hold.set()
    for controller, captions in ((first, ["something red"]), (second, ["something blue"])):
        qtbot.waitUntil(lambda a=controller, c=captions: shown(a) == c, timeout=10000)
    viewer.layers.selection.active = first.image
    hand.click(40, 30)
    assert dock.controller is first
    assert captioner.encoded == 2


def test_the_image_goes_in_the_middle_of_a_polygon_while_it_is_read(
    dock, hand, viewer, captioner, qtbot
):
    reading(dock, captioner, qtbot)
    box(dock, hand, 10)
    dock.panel.draw.buttons["Polygon"].click()
    hand.click(80, 70)
    hand.click(80, 110)
    viewer.layers.remove(dock.image)
    captioner.hold.set()
    assert dock.controller is None
    assert not dock.panel.draw.isEnabled()
    hand.key(Key.Key_Escape)
    qtbot.wait(200)
    layer = next(layer for layer in viewer.layers if layer.name == "regions [stripes]")
    assert layer.features["caption"][0] == ""


def test_shapes_come_go_and_move_while_captions_are_made(started, hand, captioner, qtbot):
    captioner.hold_captions.clear()
    for left in (10, 70, 130):
        box(started, hand, left)
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    started.panel.draw.buttons["Select"].click()
    hand.click(40, 90)
    hand.key(Key.Key_Delete)
    hand.click(40, 150)
    hand.key(Key.Key_C, CONTROL)
    hand.key(Key.Key_V, CONTROL)
    hand.drag([(40, 150), (40, 90)])
    captioner.hold_captions.set()
    wanted = ["something blue", "something green", "something red"]
    qtbot.waitUntil(lambda: sorted(shown(started.controller)) == wanted, timeout=10000)
    layer = started.controller.layer("regions")
    for corners, caption in zip(layer.data, shown(started.controller), strict=True):
        colour = ("red", "green", "blue")[int(corners[:, 1].mean() // 60)]
        assert caption == f"something {colour}"


def test_undo_while_a_shape_is_dragged_and_captioned(started, hand, captioner, qtbot):
    box(started, hand, 10)
    qtbot.waitUntil(lambda: shown(started.controller) == ["something red"], timeout=5000)
    started.panel.draw.buttons["Select"].click()
    hand.click(40, 30)
    captioner.hold_captions.clear()
    hand.press(40, 30)
    for column in (60, 100, 150):
        hand.send(QEvent.Type.MouseMove, 40, column)
    qtbot.wait(150)
    hand.key(Key.Key_Z, CONTROL)
    assert started.controller.message.startswith("Finish the shape")
    hand.release(40, 150)
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    hand.key(Key.Key_Z, CONTROL)
    captioner.hold_captions.set()
    qtbot.waitUntil(lambda: not started.controller.queue.active, timeout=5000)
    qtbot.wait(200)
    assert shown(started.controller) == ["something red"]
    assert abs(started.controller.layer("regions").data[0][:, 1].mean() - 30) < 1


def test_the_window_is_closed_while_captions_are_made(started, hand, viewer, captioner, qtbot):
    captioner.hold_captions.clear()
    box(started, hand, 10)
    qtbot.waitUntil(lambda: started.controller.queue.active, timeout=5000)
    viewer.close()
    captioner.hold_captions.set()
    qtbot.wait(200)
    assert not captioner.captioned or captioner.captioned == [1]


ROWS, COLUMNS = 9, 12


@pytest.fixture
def many(started, qtbot):
    """More captioned boxes than one batch holds, two of them told apart."""
    layer, session = started.controller.layer("regions"), started.controller.session
    corners = np.array([(0, 0), (0, 8), (8, 8), (8, 0)], float)
    places = [(12 * row, 14 * column) for row in range(ROWS) for column in range(COLUMNS)]
    layer.add([corners + place for place in places], shape_type="rectangle")
    qtbot.waitUntil(lambda: len(shown(started.controller)) == len(places), timeout=5000)
    qtbot.waitUntil(lambda: all(shown(started.controller)), timeout=20000)
    qtbot.waitUntil(lambda: not started.controller.queue.active, timeout=5000)
    first, second = session.uids("regions")[-2:]
    words = {
        uid: (f"the {side} box", 0.5, "told apart", {})
        for uid, side in ((first, "left"), (second, "right"))
    }
    session.reword("telling apart", words)
    started.controller.show()
    return started


def hold_after(captioner, monkeypatch, regions):
    """Let so many regions be captioned in other words, and hold the next."""
    caption, done = captioner.caption, []

    def slow(grid, asked, **options):
        if sum(done) >= regions:
            captioner.hold_captions.clear()
            captioner.reached.set()
        said = caption(grid, asked, **options)
        done.append(len(asked))
        return [replace(item, text=f"new: {item.text}") for item in said]

    captioner.reached.clear()
    monkeypatch.setattr(captioner, "caption", slow)


def pressed_again(dock, captioner, qtbot):
    """Ask for all captions once more; return who waits once some are there."""
    controller = dock.controller
    controller.select(controller.session.uids("regions"))
    dock.image_actions.caption_again()
    qtbot.waitUntil(captioner.reached.is_set, timeout=10000)
    qtbot.waitUntil(lambda: any(text.startswith("new") for text in shown(controller)), timeout=5000)
    qtbot.wait(100)


def test_captions_stay_until_new_ones_come_and_after_cancel(many, captioner, monkeypatch, qtbot):
    controller = many.controller
    before = shown(controller)
    hold_after(captioner, monkeypatch, 33)
    pressed_again(many, captioner, qtbot)
    # Nobody sees or saves a blank meanwhile.
    assert all(shown(controller))
    assert all(record.caption for record in controller.session.records.values())
    last = controller.session.uids("regions")[-1]
    controller.select([last])
    many.refresh()
    assert many.panel.caption.editor.toPlainText() == "the right box"
    assert many.panel.caption.verdict.text() == "Being written… This is the old caption."
    many.panel.progress.button.click()
    captioner.hold_captions.set()
    qtbot.waitUntil(lambda: not controller.queue.active, timeout=5000)
    qtbot.wait(200)
    after = shown(controller)
    new = [text for text in after if text.startswith("new: ")]
    assert 0 < len(new) < len(after)
    assert [old for old, now in zip(before, after, strict=True) if not now.startswith("new: ")] == [
        now for now in after if not now.startswith("new: ")
    ]
    total = len(before)
    assert controller.message == (
        f"{len(new)} of {total} captions were made anew; the others are as they were."
    )
    assert controller.session.records[last].reworded_by == "told apart"
    assert "old caption" not in many.panel.caption.verdict.text()
    controller.undo()
    assert shown(controller) == before


def test_cancel_stops_what_was_asked_while_captions_are_made(many, captioner, monkeypatch, qtbot):
    controller = many.controller
    before = shown(controller)
    hold_after(captioner, monkeypatch, 17)
    pressed_again(many, captioner, qtbot)
    new = [text.startswith("new: ") for text in shown(controller)]
    # As a slider of an option does, several times.
    controller.again(controller.session.uids("regions"))
    controller.again(controller.session.uids("regions"))
    controller.cancel()
    captioner.hold_captions.set()
    qtbot.wait(300)
    qtbot.waitUntil(lambda: not controller.queue.active, timeout=5000)
    after = shown(controller)
    assert [text.startswith("new: ") for text in after] == new
    assert all(now in (old, f"new: {old}") for old, now in zip(before, after, strict=True))


def test_captions_stay_where_the_model_fails_at_new_ones(many, captioner, monkeypatch, qtbot):
    controller, caption, done = many.controller, captioner.caption, []
    before = shown(controller)

    def broken(grid, asked, **options):
        done.append(len(asked))
        if sum(done) > 40:
            raise MemoryError
        return caption(grid, asked, **options)

    monkeypatch.setattr(captioner, "caption", broken)
    controller.again(controller.session.uids("regions"))
    controller.show()
    qtbot.waitUntil(lambda: sum(done) > 40, timeout=10000)
    qtbot.waitUntil(lambda: not controller.queue.active, timeout=5000)
    assert shown(controller)[:-2] == before[:-2]
    assert "the others are as they were" in controller.message


def test_an_image_closed_while_captions_are_made_anew_keeps_the_old_ones(
    many, viewer, captioner, monkeypatch, qtbot
):
    hold_after(captioner, monkeypatch, 17)
    pressed_again(many, captioner, qtbot)
    session, file = many.controller.session, many.projects.files[many.controller]
    many.projects.save_now()
    viewer.layers.remove(many.image)
    captioner.hold_captions.set()
    qtbot.wait(200)
    assert all(record.caption for record in session.records.values())
    assert file.path is not None
    assert all(record.caption for record in read_project(file.path).records)


def test_new_options_leave_what_was_told_apart(many, captioner, qtbot):
    controller, session = many.controller, many.controller.session
    uids = session.uids("regions")
    controller.select(uids[-3:])
    many.image_actions.apply_options()
    assert controller.message.startswith("2 captions told apart, reworded or by a server are kept")
    qtbot.waitUntil(lambda: not session.records[uids[-3]].wanted, timeout=10000)
    assert [session.records[uid].caption for uid in uids[-2:]] == ["the left box", "the right box"]


def test_new_options_that_change_no_caption_say_so_and_are_no_step(many, qtbot):
    controller, session = many.controller, many.controller.session
    uid = session.uids("regions")[0]
    before = session.records[uid]
    controller.select([uid])
    many.image_actions.apply_options()
    qtbot.waitUntil(lambda: "no caption is another one" in controller.message, timeout=10000)
    assert session.records[uid].caption == before.caption
    controller.undo()
    assert "writing" not in controller.message
