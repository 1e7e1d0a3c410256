"""One selection, one image on display, and a wheel that only scrolls."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QScrollBar,
)

from napari_patchioner.viewer.panels.main import TOOLS

BOX = np.array([[20.0, 10], [20, 50], [60, 50], [60, 10]])


def accepted(dock):
    return {uid for uid, record in dock.controller.session.records.items() if record.reviewed}


def test_a_click_selects_what_it_meets_and_nothing_else(started, viewer, hand, qtbot):
    controller = started.controller
    regions, traces = controller.layer("regions"), controller.layer("traces")
    regions.add([BOX, BOX + np.array([0, 60])], shape_type="rectangle")
    traces.add(np.array([[90.0, 130], [90, 170]]), shape_type="path")
    session = controller.session
    qtbot.waitUntil(lambda: all(r.caption for r in session.records.values()), timeout=10000)
    [box, _], [trace] = session.uids("regions"), session.uids("traces")
    started.panel.draw.buttons["Select"].click()
    viewer.layers.selection.active = regions
    for others in ({0}, {0, 1}):
        started.image_actions.select([*(session.uids("regions")[place] for place in others), trace])
        assert set(controller.selected()) > {box}
        hand.click(40, 30)
        assert controller.selected() == [box]
        assert traces.selected_data == set()
    assert started.panel.selected.text() == "Selected shape"
    started.panel.buttons["accept"].click()
    assert accepted(started) == {box}

    group = session.group(session.uids("regions")).uid
    started.image_actions.select(session.uids("regions"))
    started.refresh()
    assert started.image_actions.chosen() == [group]
    assert started.panel.selected.text() == "2 shapes together"


def test_a_chosen_image_is_shown_and_drawn_on(started, viewer, picture):
    below = viewer.layers["stripes"]
    over = viewer.add_image(picture[::-1], name="over")
    far = viewer.add_image(picture, name="far", translate=(500, 0))
    assert started.image is far
    choice = started.panel.image
    choice.value = over
    started.image_actions.use_tool(next(tool for tool in TOOLS if tool.title == "Box"))
    drawn = viewer.layers.selection.active
    assert (drawn.name, str(drawn.mode)) == ("regions [over]", "add_rectangle")
    choice.value = below
    assert (below.visible, over.visible, far.visible) == (True, False, True)
    assert not drawn.visible
    assert "'over' is hidden" in started.panel.status.text()
    active = viewer.layers.selection.active
    assert (active.name, str(active.mode)) == ("regions [stripes]", "add_rectangle")
    assert str(drawn.mode) == "pan_zoom"
    choice.value = over
    assert (below.visible, over.visible, drawn.visible) == (False, True, True)
    # Nobody has chosen it, but it is the only one left to see.
    del viewer.layers["over"]
    viewer.layers.selection.active = below
    assert started.image is below
    assert below.visible


def box_tool():
    return next(tool for tool in TOOLS if tool.title == "Box")


def test_what_is_drawn_is_captioned_from_the_image_that_is_seen(
    started, viewer, picture, hand, qtbot
):
    below = viewer.layers["stripes"]
    over = viewer.add_image(picture[:, ::-1], name="over")
    far = viewer.add_image(picture, name="far", translate=(0, 500))
    box, layers, status = [(20, 10), (60, 50)], viewer.layers, started.panel.status

    def turn_to(image):
        viewer.reset_view()
        started.panel.image.value = image
        over.visible = far.visible = False
        started.image_actions.use_tool(box_tool())
        hand.drag(box)

    def assert_at(image):
        active = layers.selection.active
        assert started.image is started.controller.image is image
        assert (active.name, str(active.mode)) == (f"regions [{image.name}]", "add_rectangle")
        before = active.nshapes
        hand.drag(box)
        assert active.nshapes == before + 1
        records = started.controller.session.records
        qtbot.waitUntil(lambda: len(records) == active.nshapes, timeout=5000)

    turn_to(below)
    # The eye in the list of layers, there and back: the tool goes along.
    over.visible = True
    assert "'over'" in status.text()
    assert_at(over)
    over.visible = False
    assert "'stripes'" in status.text()
    assert_at(below)
    # Faint, or elsewhere, another image hides nothing; an opaque one does, however faint.
    over.opacity = 0.3
    over.visible = far.visible = True
    assert_at(below)
    over.blending = "opaque"
    assert_at(over)
    over.blending, over.opacity = "translucent", 1
    layers.move(layers.index(below), len(layers))
    assert_at(below)
    assert layers.index(layers.selection.active) > layers.index(below)
    below.opacity = 0
    assert_at(over)
    below.opacity = 1
    assert_at(below)

    # What is half drawn stays where it is; whoever draws on is told, and can have the image shown.
    started.image_actions.use_tool(next(tool for tool in TOOLS if tool.title == "Polygon"))
    for corner in [(70, 70), (70, 110), (110, 110)]:
        hand.click(*corner)
    layers.move(layers.index(over), len(layers))
    assert started.image is below
    hand.double_click(110, 70)
    assert "'stripes' is captioned, but 'over' lies over it" in status.text()
    started.image_actions.use_tool(box_tool())
    assert (below.visible, over.visible) == (True, False)
    assert "lies over" not in status.text()
    assert_at(below)
    # With nothing to see instead there is nothing to turn to.
    far.visible = below.visible = False
    assert "'stripes' is captioned, but it is hidden" in status.text()
    started.image_actions.use_tool(box_tool())
    assert below.visible
    assert_at(below)
    # One that hides a corner is told of where it is drawn on.
    corner = viewer.add_image(picture[:40, :40], name="corner", translate=(70, 120))
    layers.selection.active = started.controllers[below].layer("regions")
    started.image_actions.use_tool(box_tool())
    box[:] = [(80, 130), (100, 150)]
    assert_at(below)
    assert "drawn on 'corner' but captioned from 'stripes'" in status.text()
    assert corner.visible


def test_what_is_selected_out_of_sight_is_not_accepted(started, viewer, hand, qtbot):
    controller = started.controller
    regions, traces = controller.layer("regions"), controller.layer("traces")
    regions.add(BOX, shape_type="rectangle")
    traces.add(np.array([[90.0, 130], [90, 170]]), shape_type="path")
    session = controller.session
    qtbot.waitUntil(lambda: all(r.caption for r in session.records.values()), timeout=10000)
    [trace] = session.uids("traces")
    for mode in ("select", "direct"):
        started.image_actions.select([trace])
        assert viewer.layers.selection.active is traces
        regions.mode = mode
        viewer.layers.selection.active = regions
        assert controller.selected() == []
        # Chosen in the list, where the layer of the tool stays the active one.
        started.image_actions.select([*session.uids("regions"), trace])
        viewer.layers.selection.active = regions
        regions.mode = mode
        hand.click(110, 100)
        assert controller.selected() == []
        started.image_actions.accept()
        assert accepted(started) == set()


def test_the_dock_begins_at_the_image_that_is_active_and_seen(viewer, registry, picture, qtbot):
    from napari_patchioner.viewer import CaptionDock

    viewer.add_image(picture, name="below")
    over = viewer.add_image(picture, name="over")
    viewer.layers.selection.active = over
    dock = CaptionDock(viewer, registry=registry)
    try:
        assert (dock.image, dock.controller.image) == (over, over)
    finally:
        dock.shut_down()
        dock.deleteLater()


def test_an_image_stays_chosen_and_the_dock_narrow_whatever_it_is_called(dock, viewer, picture):
    first = viewer.layers["stripes"]
    for name in ("over", "top"):
        viewer.add_image(picture, name=name)
    box, window = dock.panel.image, viewer.window._qt_window
    for image in (first, viewer.layers["over"]):
        box.value = image
        controller, width = dock.controller, dock.minimumWidth()
        for name in ("another name", "n" * 240, "a b " * 60):
            image.name = name
            window.layout().activate()
            QApplication.processEvents()
            assert (dock.image, dock.controller) == (image, controller)
            assert box.native.currentText() == image.name
            dock.show_message(f"{image.name!r} is not there.")
            dock.projects.state.setText(f"Saved in {image.name}")
            assert dock.panel.status.text() == f"{image.name!r} is not there."
            QApplication.processEvents()
            assert dock.widget().minimumSizeHint().width() <= width
            assert dock.minimumWidth() == width
            assert image.name in box.tooltip


def test_channels_stay_together(dock, viewer):
    look = {"blending": "additive", "scale": (1, 1)}
    plane = np.zeros((120, 180), np.uint8)
    one, two = (viewer.add_image(plane, name=name, **look) for name in ("nuclei", "actin"))
    dock.panel.image.value = viewer.layers["stripes"]
    assert (one.visible, two.visible) == (False, False)
    dock.panel.image.value = one
    assert (one.visible, two.visible, viewer.layers["stripes"].visible) == (True, True, False)


def wheel(widget):
    """Turn the wheel over the middle of a widget."""
    spot = QPointF(widget.rect().center())
    event = QWheelEvent(
        spot,
        QPointF(widget.mapToGlobal(spot.toPoint())),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    QApplication.processEvents()


def state(widget):
    return widget.currentIndex() if isinstance(widget, QComboBox) else widget.value()


def test_the_wheel_changes_nothing_that_has_no_focus(dock, viewer, picture, qtbot):
    viewer.add_image(picture, name="another")
    dock.image_actions.toggle_list()
    viewer.window._qt_window.resize(1000, 500)
    qtbot.wait(100)
    seen = 0
    for root in (dock, dock.region_list):
        for kind in (QComboBox, QAbstractSpinBox, QAbstractSlider):
            for widget in root.findChildren(kind):
                if isinstance(widget, QScrollBar):
                    continue
                before = state(widget)
                wheel(widget)
                assert (state(widget), widget.hasFocus()) == (before, False)
                seen += 1
    assert seen >= 10
    bar = dock.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0, timeout=5000)
    bar.setValue(0)
    wheel(dock.models.choice)
    assert bar.value() > 0
    beams = dock.panel.options["beams"].native
    assert beams.focusPolicy() == Qt.FocusPolicy.StrongFocus


def test_nothing_is_said_of_a_hidden_image_that_is_closed(started, viewer, picture):
    below = viewer.layers["stripes"]
    viewer.add_image(picture[::-1], name="over")
    viewer.add_image(picture[:, ::-1], name="on top")
    started.panel.image.value = below
    assert "'over' and 'on top' are hidden" in started.panel.status.text()
    del viewer.layers["over"]
    assert "'over'" not in started.panel.status.text()
    assert "'on top' is hidden" in started.panel.status.text()
    del viewer.layers["on top"]
    assert "hidden" not in started.panel.status.text()
