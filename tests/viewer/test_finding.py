"""More of what is selected is found: in a real window, with the model that ships."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from embedded_dock import read
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data
from taught_pictures import draw

from napari_patchioner.annotations import read_annotations
from napari_patchioner.regions import Box
from napari_patchioner.viewer.layers.overlays import add_halo
from napari_patchioner.viewer.layers.proposals import ProposalLayers
from napari_patchioner.viewer.workers import find

pytestmark = pytest.mark.embedded
KINDS = ["nucleus", "leaf", "nucleus", "grain", "leaf", "nucleus", "leaf", "nucleus"]
PIXELS, BOXES = draw(1, KINDS)
NUCLEI = [box for box, kind in zip(BOXES, KINDS, strict=True) if kind == "nucleus"]
SHIFT = Qt.KeyboardModifier.ShiftModifier
PLAIN = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def picture():
    return PIXELS


def middle(box):
    return (box.top + box.bottom) / 2, (box.left + box.right) / 2


def outline(box, lead=()):
    corners = [(box.top, box.left), (box.top, box.right)]
    corners += [(box.bottom, box.right), (box.bottom, box.left)]
    return np.array([(*lead, *corner) for corner in corners], float)


def example(dock, qtbot, box=NUCLEI[0], name="nucleus", lead=()):
    """Have one example drawn, named and selected; return its uid."""
    layer, session = dock.controller.layer("regions"), dock.controller.session
    layer.add(outline(box, lead), shape_type="rectangle")
    dock.controller.bindings["regions"].sync()
    uid = session.uids("regions")[-1]
    if name:
        dock.controller.edit(uid, name)
    dock.controller.select([uid])
    return uid


def until_found(dock, qtbot):
    search = dock.controller.search
    qtbot.waitUntil(
        lambda: search.proposals is not None and search.progress is None, timeout=60_000
    )
    return search


def search_for(dock, qtbot):
    dock.panel.buttons["find_like"].click()
    return until_found(dock, qtbot)


@pytest.fixture
def searched(dock, qtbot):
    """The dock with the image read, a nucleus as an example, and what is like it."""
    read(dock, qtbot)
    example(dock, qtbot)
    search_for(dock, qtbot)
    return dock


def overlays(viewer):
    return [layer for layer in viewer.layers if layer.name.startswith(("proposals", "heat"))]


def until_heat(viewer, qtbot):
    """Return the heat map, which follows the boxes."""
    qtbot.waitUntil(lambda: len(overlays(viewer)) == 2, timeout=10000)
    [heat] = (layer for layer in overlays(viewer) if layer.name.startswith("heat"))
    return heat


def captions(dock):
    return [record.caption for record in dock.controller.session.records.values()]


def covers(heat, image, lead=()):
    """Whether a heat map lies exactly on an image, or on one plane of it."""
    size = (image.data[0] if image.multiscale else image.data).shape[len(lead) : len(lead) + 2]
    own = heat.data.shape[len(lead) :]
    nothing = (0,) * len(lead)
    return all(
        np.allclose(heat.data_to_world((*nothing, *cell)), image.data_to_world((*lead, *pixel)))
        for cell, pixel in (
            ((-0.5, -0.5), (-0.5, -0.5)),
            (np.subtract(own, 0.5), np.subtract(size, 0.5)),
        )
    )


def place(dock, wanted):
    """Return the number of the proposal on a thing; 0 for none."""
    return dock.controller.search.proposals.at(*middle(wanted))


@pytest.mark.every_qt
def test_from_one_example_by_mouse_and_keys(quiet, dock, hand, viewer, qtbot):
    read(dock, qtbot)
    dock.panel.draw.buttons["Box"].click()
    first = NUCLEI[0]
    hand.drag([(first.top, first.left), (first.bottom, first.right)])
    qtbot.waitUntil(lambda: len(dock.controller.session.records) == 1, timeout=5000)
    [uid] = dock.controller.session.records
    dock.panel.draw.buttons["Select"].click()
    hand.click(*middle(first))
    hand.key(Qt.Key.Key_C)
    QTest.keyClicks(dock.panel.caption.editor, "nucleus")
    QTest.keyClick(dock.panel.caption.editor, Qt.Key.Key_Return)
    dock.verticalScrollBar().setValue(dock.verticalScrollBar().maximum())
    hand.key(Qt.Key.Key_F, SHIFT)
    search = until_found(dock, qtbot)
    panel = dock.find
    # Wherever the dock was scrolled to
    qtbot.waitUntil(lambda: not panel.title.visibleRegion().isEmpty(), timeout=2000)
    assert panel.isVisibleTo(dock.panel)
    assert panel.title.text() == "More like 'nucleus'"
    assert not panel.caution.isVisibleTo(panel)
    boxes, heat = search.proposals.shown(), until_heat(viewer, qtbot)
    # The others are found, the example itself is not.
    assert all(place(dock, wanted) for wanted in NUCLEI[1:])
    assert not place(dock, first)
    assert panel.count.text() == f"0.50: {len(boxes)} of {len(search.proposals.open())}"
    assert panel.list.count() == len(boxes)
    drawn = viewer.layers["proposals [stripes]"]
    assert drawn.nshapes == len(boxes)
    # Numbers can be read beside the image as well.
    assert add_halo(viewer, drawn)
    assert viewer.layers.selection.active.name == "proposals [stripes]"
    # One is accepted by a click, one rejected with Shift held.
    hand.click(*middle(NUCLEI[1]))
    assert captions(dock) == ["nucleus"] * 2
    [accepted] = [r for r in dock.controller.session.records.values() if r.uid != uid]
    assert (accepted.source, accepted.wanted, accepted.reviewed) == ("taught", False, True)
    assert 0.5 <= accepted.score <= 1
    assert accepted.seen.shape_type == "rectangle"
    assert dock.controller.layer("regions").features["source"].tolist() == ["edited", "taught"]
    hand.click(*middle(NUCLEI[2]), modifiers=SHIFT)
    assert captions(dock) == ["nucleus"] * 2
    assert not place(dock, NUCLEI[1])
    assert not place(dock, NUCLEI[2])
    # Where the image is dragged nothing is accepted.
    hand.drag([middle(NUCLEI[3]), (middle(NUCLEI[3])[0] + 5, middle(NUCLEI[3])[1] + 5)])
    assert captions(dock) == ["nucleus"] * 2
    # A step back makes each a proposal again, the last one first.
    for nucleus, left in ((NUCLEI[2], 2), (NUCLEI[1], 1)):
        hand.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        qtbot.waitUntil(lambda nucleus=nucleus: place(dock, nucleus) > 0, timeout=5000)
        assert captions(dock) == ["nucleus"] * left
    hand.click(*middle(NUCLEI[2]), modifiers=SHIFT)
    assert not place(dock, NUCLEI[2])
    # The same key goes on from what is there.
    hand.key(Qt.Key.Key_F, SHIFT)
    qtbot.waitUntil(lambda: search.progress is None, timeout=30_000)
    assert place(dock, NUCLEI[1])
    assert not place(dock, NUCLEI[2])
    QTest.keyClick(panel.list, Qt.Key.Key_Escape)
    assert overlays(viewer) == []
    assert heat not in viewer.layers
    assert not panel.isVisibleTo(dock.panel)
    # What was active before is active again.
    assert viewer.layers.selection.active is dock.controller.layer("regions")


def test_every_key_of_the_list(quiet, searched, viewer, guide, qtbot):
    from guide_keys import guide_keys

    dock, search = searched, searched.controller.search
    panel, listed = dock.find, dock.find.list
    listed.setFocus()
    boxes = viewer.layers["proposals [stripes]"]
    total = listed.count()
    assert total >= 3

    def up_and_down():
        QTest.keyClick(listed, Qt.Key.Key_Down)
        assert listed.numbers() == [search.proposals.shown()[0].number]
        QTest.keyClick(listed, Qt.Key.Key_Down)
        assert listed.numbers() == [search.proposals.shown()[1].number]
        assert search.selected == listed.numbers()[0]
        # One more box around it
        qtbot.waitUntil(lambda: boxes.nshapes == total + 1, timeout=2000)
        QTest.keyClick(listed, Qt.Key.Key_Up)

    def accept():
        number = listed.numbers()[0]
        QTest.keyClick(listed, Qt.Key.Key_Return)
        assert captions(dock) == ["nucleus"] * 2
        # The next one is selected.
        assert listed.numbers() not in ([], [number])

    def reject():
        before = listed.count()
        QTest.keyClick(listed, Qt.Key.Key_Delete)
        assert listed.count() == before - 1
        assert panel.buttons["restore_found"].isEnabled()
        panel.buttons["restore_found"].click()
        assert listed.count() == before
        assert not panel.buttons["restore_found"].isEnabled()

    def judge():
        before = listed.count()
        QTest.keyClick(listed, Qt.Key.Key_N)
        assert listed.count() == before - 1
        panel.buttons["restore_found"].click()
        listed.clearSelection()
        listed.setCurrentRow(0)
        QTest.keyClick(listed, Qt.Key.Key_Y)
        assert captions(dock) == ["nucleus"] * 3
        QTest.keyClick(listed, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert captions(dock) == ["nucleus"] * 2

    def accept_all():
        count = listed.count()
        QTest.keyClick(listed, Qt.Key.Key_A)
        assert captions(dock) == ["nucleus"] * (2 + count)
        assert listed.count() == 0

    def undo():
        QTest.keyClick(listed, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert captions(dock) == ["nucleus"] * 2
        qtbot.waitUntil(lambda: listed.count() > 0, timeout=2000)
        held = Qt.KeyboardModifier.ControlModifier | SHIFT
        QTest.keyClick(listed, Qt.Key.Key_Z, held)
        assert len(captions(dock)) > 2

    def again():
        QTest.keyClick(listed, Qt.Key.Key_F)
        assert search.progress is not None
        qtbot.waitUntil(lambda: search.progress is None, timeout=30_000)
        assert len(search.proposals.examples) == len(captions(dock))

    def end():
        QTest.keyClick(listed, Qt.Key.Key_Escape)
        assert overlays(viewer) == []

    pressed = {
        "Up, Down": up_and_down,
        "Enter, double-click": accept,
        "Y, N": judge,
        "Delete": reject,
        "A": accept_all,
        "Ctrl+Z, Ctrl+Shift+Z": undo,
        "F": again,
        "Esc": end,
    }
    keys = guide_keys("With what was found")
    assert set(keys) == {"Click, Shift+click", *pressed}
    for act in pressed.values():
        act()


def test_what_is_shown_goes_by_the_threshold_and_is_nobodys_region(
    quiet, searched, viewer, tmp_path, qtbot
):
    dock, search = searched, searched.controller.search
    slider, boxes = dock.find.slider, viewer.layers["proposals [stripes]"]
    total = len(search.proposals.open())
    slider.setFocus()
    QTest.keyClick(slider, Qt.Key.Key_Home)
    assert dock.find.count.text() == f"0.02: {total} of {total}"
    qtbot.waitUntil(lambda: boxes.nshapes == total, timeout=2000)
    assert list(boxes.features["number"]) == [str(n + 1) for n in range(total)]
    QTest.keyClick(slider, Qt.Key.Key_End)
    assert dock.find.list.count() == 0
    qtbot.waitUntil(lambda: boxes.nshapes == 0, timeout=2000)
    assert "Lower the score" in dock.find.text.text()
    # The dock says it once.
    assert dock.find.text.text() not in dock.panel.status.text()
    assert dock.controller.message == "Nothing scores high enough."
    assert search.progress is None
    # Nothing that is hidden is accepted.
    dock.image_actions.accept_all_found()
    assert captions(dock) == ["nucleus"]
    QTest.keyClick(slider, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: boxes.nshapes == total, timeout=2000)
    what_is_shown_is_nobodys_region(dock, viewer, tmp_path, qtbot)


def what_is_shown_is_nobodys_region(dock, viewer, tmp_path, qtbot):
    sources = dock.controller.sources
    until_heat(viewer, qtbot)
    assert list(dock.panel.image.choices) == [dock.image]
    assert not set(overlays(viewer)) & set(sources.offers())
    dock.inspect.caption_layer()
    assert "accept proposals" in dock.panel.status.text()
    dock.export_csv(tmp_path / "out.csv")
    assert len(read_annotations(tmp_path / "out.regions.csv")) == 1
    # It follows its image, and is drawn again where somebody has changed it.
    boxes, heat = viewer.layers["proposals [stripes]"], until_heat(viewer, qtbot)
    dock.image.translate = (1000, 0)
    assert (boxes.extent.world[0] >= (1000 - 20, -20)).all()
    assert covers(heat, dock.image)
    dock.image.visible = False
    assert not boxes.visible
    dock.image.visible = True
    assert (boxes.visible, heat.visible) == (True, True)
    # A search for things of another size gives other cells.
    layers = ProposalLayers(viewer, dock.image, dock.controller.encoder.here()[0], list)
    for cells in ((12, 7), (5, 9)):
        layers.draw_heat(np.zeros(cells, np.float32))
        assert covers(layers.heat, dock.image)
    dock.image.translate = (1000, 20)
    assert covers(layers.heat, dock.image)
    layers.close()
    count = boxes.nshapes
    boxes.data = boxes.data[:1]
    qtbot.waitUntil(lambda: boxes.nshapes == count, timeout=2000)
    dock.find.heat.click()
    assert overlays(viewer) == [boxes]
    dock.find.heat.click()
    until_heat(viewer, qtbot)
    # A person who deletes the heat map does not want it; without the boxes all is over.
    viewer.layers.remove(viewer.layers["heat [stripes]"])
    assert not dock.find.heat.isChecked()
    viewer.layers.remove(boxes)
    assert dock.controller.search.proposals is None
    qtbot.waitUntil(lambda: overlays(viewer) == [], timeout=2000)


def test_without_a_name_the_model_captions(quiet, dock, viewer, qtbot):
    read(dock, qtbot)
    uid = example(dock, qtbot, name="")
    session = dock.controller.session
    qtbot.waitUntil(lambda: bool(session.records[uid].caption), timeout=30_000)
    search = search_for(dock, qtbot)
    assert dock.find.title.text() == "More like 1 example"
    dock.find.buttons["accept_all_found"].click()
    count = len(session.records)
    assert count > 2
    qtbot.waitUntil(lambda: all(captions(dock)), timeout=60_000)
    assert {record.source for record in session.records.values()} == {"model"}
    assert search.proposals.accepted
    dock.controller.undo()
    assert captions(dock) == [session.records[uid].caption]


def test_what_cannot_be_an_example(quiet, dock, viewer, qtbot):
    find_like = dock.image_actions.find_like
    find_like()
    assert "Select a shape first" in dock.panel.status.text()
    uid = example(dock, qtbot)
    find_like()
    assert "Press Start first" in dock.panel.status.text()
    read(dock, qtbot)
    traces = dock.controller.layer("traces")
    traces.add(np.array([(10.0, 10), (60, 90)]), shape_type="path")
    dock.controller.bindings["traces"].sync()
    [line] = dock.controller.session.uids("traces")
    dock.controller.select([line])
    find_like()
    assert "select a box" in dock.panel.status.text()
    # Beside an area it does no harm.
    dock.controller.select([uid, line])
    find_like()
    search = until_found(dock, qtbot)
    assert search.proposals.examples == (uid,)
    assert "1 selected shape without an area" in dock.panel.status.text()
    assert dock.controller.search.progress is None


# Longer than what is searched in one piece
LONG = np.pad(PIXELS, ((0, 0), (0, 2100 - PIXELS.shape[1]), (0, 0)), constant_values=225)
STACK = np.stack([np.full_like(PIXELS, 225), PIXELS, np.full_like(PIXELS, 225)])
PLACED = {
    "scaled": {"scale": (0.5, 2), "translate": (30, -200)},
    "rotated": {"rotate": 30, "shear": [0.2]},
    "pyramid": {"data": [LONG, LONG[::2, ::2]]},
    "stack": {"data": STACK},
    "transposed": {"data": STACK},
}


@pytest.mark.parametrize("how", PLACED)
def test_boxes_lie_where_the_things_are(quiet, viewer, registry, qtbot, how):
    from napari_patchioner.viewer import CaptionDock

    given = {"data": PIXELS, "rgb": True, **PLACED[how]}
    image = viewer.add_image(given.pop("data"), name="placed", **given)
    lead = (1,) if image.ndim == 3 else ()
    if lead:
        viewer.dims.set_point(0, 1)
    if how == "transposed":
        viewer.dims.order = (0, 2, 1)
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock)
    try:
        read(dock, qtbot)
        example(dock, qtbot, lead=lead)
        search_for(dock, qtbot)
        boxes, heat = viewer.layers["proposals [placed]"], until_heat(viewer, qtbot)
        assert covers(heat, image, lead)
        dock.image_actions.accept_all_found()
        layer = dock.controller.layer("regions")
        middles = np.array([vertices.mean(axis=0) for vertices in layer.data])
        world = np.array([layer.data_to_world(spot) for spot in middles])
        for wanted in NUCLEI:
            spot = np.asarray(image.data_to_world((*lead, *middle(wanted))))
            pixel = np.array([image.world_to_data(place) for place in world])
            apart = np.abs(pixel - image.world_to_data(spot)).max(axis=1)
            assert apart.min() < 6
        assert boxes.nshapes == 0
        if lead:
            # On another plane nothing stale is seen; back there, everything.
            dock.controller.undo()
            qtbot.waitUntil(lambda: boxes.nshapes > 0, timeout=2000)
            viewer.dims.set_point(0, 2)
            qtbot.waitUntil(lambda: not boxes.visible, timeout=2000)
            assert not heat.visible
            assert "another plane" in dock.find.text.text()
            dock.image_actions.accept_all_found()
            assert len(dock.controller.session.records) == 1
            viewer.dims.set_point(0, 1)
            qtbot.waitUntil(lambda: boxes.visible, timeout=2000)
    finally:
        dock.shut_down()


def test_on_a_photograph_that_lies_on_its_side(quiet, viewer, registry, tmp_path, qtbot):
    from napari_patchioner.viewer import CaptionDock

    exif = Image.Exif()
    exif[274] = 6
    stored = Image.fromarray(PIXELS).transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "turned.tiff", exif=exif)
    viewer.open(tmp_path / "turned.tiff", plugin="napari")
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock)
    try:
        assert dock.image.data.shape == PIXELS.shape
        read(dock, qtbot)
        example(dock, qtbot)
        search_for(dock, qtbot)
        assert all(place(dock, wanted) for wanted in NUCLEI[1:])
    finally:
        dock.shut_down()


@pytest.fixture
def held(monkeypatch):
    """Searches wait before they learn, until the event is set."""
    gate, reached = threading.Event(), threading.Event()

    class Waiting(find.Finder):
        def __init__(self, *arguments):
            reached.set()
            assert gate.wait(30)
            super().__init__(*arguments)

    monkeypatch.setattr(find, "Finder", Waiting)
    yield gate, reached
    gate.set()


def begin(dock, reached):
    """Begin a search that waits."""
    reached.clear()
    dock.panel.buttons["find_like"].click()
    assert reached.wait(30)


def until_over(dock, qtbot):
    qtbot.waitUntil(lambda: dock.controller.search.progress is None, timeout=30_000)


def test_what_happens_meanwhile(quiet, dock, viewer, held, qtbot):
    gate, reached = held
    controller, search = dock.controller, dock.controller.search
    read(dock, qtbot)
    uid = example(dock, qtbot)
    begin(dock, reached)
    assert dock.panel.progress.button.text() == "Cancel"
    assert "Looking for more like 'nucleus'" in dock.panel.status.text()
    dock.panel.progress.button.click()
    gate.set()
    until_over(dock, qtbot)
    assert (search.proposals, overlays(viewer)) == (None, [])
    assert dock.panel.status.text().endswith("Cancelled")
    qtbot.wait(100)
    assert search.proposals is None
    # The answer to an earlier question is not taken for that to a later one.
    gate.clear()
    begin(dock, reached)
    leaf = example(dock, qtbot, BOXES[1], "leaf")
    begin(dock, reached)
    gate.set()
    until_over(dock, qtbot)
    assert (search.name(), search.proposals.examples) == ("leaf", (leaf,))
    search.clear()
    # What the example shows is looked for even if it is gone; it is found like the others.
    gate.clear()
    controller.select([uid])
    begin(dock, reached)
    controller.delete([uid])
    gate.set()
    until_over(dock, qtbot)
    assert search.name() == "nucleus"
    assert place(dock, NUCLEI[0])
    # Undo brings it back, and it is no proposal any more.
    controller.undo()
    qtbot.waitUntil(lambda: not place(dock, NUCLEI[0]), timeout=5000)
    # With other pixels there is nothing to show, of this search or of the next one.
    gate.clear()
    controller.select([uid])
    begin(dock, reached)
    dock.image.data = PIXELS[:, ::-1].copy()
    assert (search.proposals, overlays(viewer)) == (None, [])
    gate.set()
    until_over(dock, qtbot)
    qtbot.wait(100)
    assert (search.proposals, overlays(viewer)) == (None, [])
    # The window goes on as ever, without what was drawn for other pixels.
    read(dock, qtbot)
    controller.delete(list(controller.session.records))
    controller.select([example(dock, qtbot, mirrored(NUCLEI[0]))])
    search_for(dock, qtbot)
    assert all(place(dock, mirrored(wanted)) for wanted in NUCLEI[1:])
    # Read anew as it is, it is the same image.
    dock.start()
    qtbot.waitUntil(lambda: not controller.encoder.active, timeout=30_000)
    qtbot.wait(150)
    until_heat(viewer, qtbot)


def mirrored(box):
    width = PIXELS.shape[1] - 1
    return Box(box.top, width - box.right, box.bottom, width - box.left)


@pytest.mark.parametrize("what", ["image", "everything", "dock", "window"])
def test_what_was_found_goes_with_the_image(quiet, searched, viewer, held, qtbot, what):
    gate, reached = held
    dock = searched
    viewer.layers.selection.active = dock.controller.layer("regions")
    begin(dock, reached)
    if what == "image":
        viewer.layers.remove(dock.image)
    elif what == "everything":
        viewer.layers.clear()
    elif what == "dock":
        dock.shut_down()
    else:
        viewer.window._qt_window._save_current_window_settings = lambda: None
        viewer.close()
    gate.set()
    if what != "window":
        qtbot.waitUntil(lambda: overlays(viewer) == [], timeout=5000)
    qtbot.wait(100)
    assert what == "window" or overlays(viewer) == []


def test_of_a_photograph_the_window_expects_little(quiet, viewer, registry, qtbot):
    from napari_patchioner.viewer import CaptionDock

    viewer.add_image(data.astronaut()[::2, ::2], name="photograph")
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock)
    try:
        read(dock, qtbot)
        example(dock, qtbot, Box(20, 80, 100, 140), "a face")
        search_for(dock, qtbot)
        assert dock.find.caution.isVisibleTo(dock.find)
        assert "photograph" in dock.find.caution.text()
    finally:
        dock.shut_down()


def test_no_hint_moves_the_buttons_below_it(quiet, searched, qtbot):
    button, text = searched.panel.buttons["undo"], searched.find.text

    def place():
        qtbot.wait(60)
        return button.mapTo(searched.panel, button.rect().topLeft()).y()

    before = place()
    for said in ("Short.", "Much is to be known about what was found here. " * 6, ""):
        text.setText(said)
        assert place() == before
