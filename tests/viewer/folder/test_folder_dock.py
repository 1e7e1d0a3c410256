"""Going through a folder in a real window: nothing is lost, nothing comes late, nothing stays."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from guide_keys import guide_keys
from image_folder import paint, settle
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtTest import QTest

from napari_patchioner.annotations import read_project
from napari_patchioner.viewer.folder.dock import DONE, NAME, STATUS
from napari_patchioner.viewer.workers import prefetch

BOX = np.array([[5, 5], [5, 50], [30, 50], [30, 5]])


def captioned(opened, qtbot):
    layer = opened.controller.layer("regions")
    layer.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=10000)


def ready(browser, qtbot):
    """Wait until the next image has been looked at."""
    qtbot.waitUntil(
        lambda: browser.prefetcher.ready and not browser.prefetcher.active, timeout=10000
    )


def paused(captioner, qtbot):
    """Wait until it has come to an image it was to stop at."""
    qtbot.waitUntil(lambda: not captioner.hold.is_set(), timeout=10000)


def status(browser, name):
    return browser.listing.statuses[name].text


def shown(place):
    model = place.panel.table.files
    return [model.data(model.index(row, NAME)) for row in range(model.rowCount())]


@pytest.mark.every_qt
def test_the_next_image_and_only_that_is_read_ahead(quiet, browser, go, qtbot, captioner, place):
    go("i1.png")
    ready(browser, qtbot)
    qtbot.waitUntil(lambda: status(browser, "i2.png") == "read", timeout=5000)
    assert captioner.seen == [1, 2]
    assert place.panel.next_state.text() == "next: ready"
    browser.step(1)
    assert browser.opened.file.name == "i2.png", "its pixels were at hand"
    settle(browser, qtbot, "i2.png")
    ready(browser, qtbot)
    assert captioner.seen == [1, 2, 10]
    browser.step(-1)
    settle(browser, qtbot, "i1.png")
    assert captioner.seen == [1, 2, 10]


def test_work_is_saved_when_the_next_image_opens_and_comes_back(
    quiet, browser, go, qtbot, viewer, folder
):
    captioned(go("i1.png"), qtbot)
    below = go("sub/i1.png")
    assert viewer.layers[0].name == "i1"
    assert len(viewer.layers) == 3
    assert below.controller.layer("regions").nshapes == 0
    captioned(below, qtbot)
    captioned(below, qtbot)
    back = go("i1.png")
    assert back.controller.layer("regions").nshapes == 1
    assert list(back.controller.layer("regions").features["caption"]) == ["something green"]
    qtbot.waitUntil(lambda: "2 regions" in status(browser, "sub/i1.png"), timeout=5000)
    assert status(browser, "i1.png") == "1 region, 1 caption, 1 to review"
    for name, regions in (("i1.png", 1), ("sub/i1.png", 2)):
        assert len(read_project(folder / f"{name}.patchioner.json").records) == regions


def test_an_image_that_is_open_already_is_shown_and_stays(
    quiet, browser, go, qtbot, viewer, folder
):
    [image] = viewer.open(folder / "i2.png")
    image.visible = False
    captioned(go("i1.png"), qtbot)
    second = go("i2.png")
    assert second.image is image
    assert image.visible
    captioned(second, qtbot)
    go("i10.png")
    assert [layer.name for layer in viewer.layers if type(layer).__name__ == "Image"] == [
        "i2",
        "i10",
    ]
    again = go("i2.png")
    assert again.controller is second.controller
    assert again.controller.layer("regions").nshapes == 1
    assert again.project_file.save()
    assert {path.name for path in folder.glob("*.patchioner.json")} == {
        "i1.png.patchioner.json",
        "i2.png.patchioner.json",
    }


def test_what_was_drawn_last_is_in_the_file_however_quick_one_goes_on_and_the_tool_goes_along(
    browser, go, qtbot, folder, viewer
):
    opened = go("i1.png")
    opened.dock.image_actions.use_tool(opened_tool("Lasso"))
    opened.controller.layer("regions").add(BOX, shape_type="rectangle")
    browser.step(1)
    opened = settle(browser, qtbot, "i2.png")
    assert len(read_project(folder / "i1.png.patchioner.json").records) == 1
    layer = opened.controller.layer("regions")
    qtbot.waitUntil(lambda: viewer.layers.selection.active is layer, timeout=5000)
    assert layer.mode == "add_polygon_lasso"


def test_what_is_half_drawn_when_the_page_is_turned_is_finished_and_saved(
    quiet, browser, go, qtbot, folder, viewer, guide
):
    opened = go("i1.png")
    layer = opened.controller.layer("regions")
    viewer.layers.selection.active = layer
    layer.mode = "add_polygon"
    viewer.reset_view()
    hand = guide.Hand(viewer, opened.image)
    for corner in [(5, 5), (5, 50), (30, 50), (30, 5)]:
        hand.click(*corner)
    assert layer.nshapes == 1
    browser.step(1)
    settle(browser, qtbot, "i2.png")
    [saved] = read_project(folder / "i1.png.patchioner.json").records
    assert saved.seen.shape_type == "polygon"
    assert go("i1.png").controller.layer("regions").nshapes == 1


def test_jumping_through_ten_images_opens_the_last_one_only(quiet, browser, folder, qtbot, viewer):
    for number in range(20, 30):
        paint(folder / f"i{number}.png", number)
    browser.listing.refresh()
    qtbot.waitUntil(lambda: len(browser.listing.files) == 14, timeout=5000)
    names = []
    browser.shown.connect(lambda file: names.append(file.name))
    for _ in range(11):
        browser.step(1)
    opened = settle(browser, qtbot, "i27.png")
    assert names == ["i27.png"]
    assert opened.image.data[0, 0, 0] == 27
    assert len(viewer.layers) == 3


def test_reading_ahead_stops_when_one_goes_elsewhere(quiet, browser, go, qtbot, captioner):
    captioner.pauses = {10}
    go("i1.png")
    ready(browser, qtbot)
    # Read before: no encoder is asked for it. The one after it is new.
    browser.step(1)
    paused(captioner, qtbot)
    assert browser.prefetcher.file.name == "i10.png"
    browser.go(browser.listing.find("sub/i1.png"))
    qtbot.waitUntil(lambda: captioner.cancelled == 1, timeout=10000)
    captioner.hold.set()
    settle(browser, qtbot, "sub/i1.png")
    assert captioner.seen == [1, 2, 11]


def test_reading_ahead_gives_way_to_the_image_at_hand(quiet, browser, go, qtbot, captioner):
    captioner.pauses = {2}
    opened = go("i1.png")
    paused(captioner, qtbot)
    assert browser.prefetcher.active
    captioner.hold_captions.clear()
    opened.controller.layer("regions").add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: captioner.cancelled == 1, timeout=10000)
    assert opened.busy
    assert not browser.prefetcher.active
    captioner.hold.set()
    captioner.hold_captions.set()
    ready(browser, qtbot)
    assert captioner.seen == [1, 2]


def test_the_window_is_closed_while_the_next_image_is_read(
    quiet, browser, go, qtbot, captioner, viewer
):
    captioner.pauses = {2}
    go("i1.png")
    paused(captioner, qtbot)
    viewer.close()
    qtbot.waitUntil(lambda: captioner.cancelled == 1, timeout=10000)
    assert captioner.seen == [1]


# imageio leaves a file open for each of its plugins that does not know it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_opened_is_told_and_passed_over(quiet, browser, go, qtbot, folder, place):
    (folder / "i2.png").write_bytes(b"no picture")
    (folder / "i10.png").unlink()
    go("i1.png")
    qtbot.waitUntil(lambda: not browser.prefetcher.active, timeout=5000)
    message = place.panel.message
    browser.step(1)
    settle(browser, qtbot, "sub/i1.png")
    assert message.text().startswith("i2.png cannot be opened: ")
    assert message.text().endswith(" 1 more cannot be opened.")
    qtbot.waitUntil(lambda: status(browser, "i10.png") == "cannot be opened", timeout=5000)
    model = place.panel.table.files
    tips = [model.data(model.index(row, STATUS), Qt.ItemDataRole.ToolTipRole) for row in range(4)]
    assert "cannot read (" in tips[1]
    assert tips[2].endswith("the file is not there any more")
    browser.step(-1)
    settle(browser, qtbot, "i1.png")
    assert not message.text(), "what was passed over is told once"
    place.panel.again.click()
    qtbot.waitUntil(lambda: shown(place) == ["i1.png", "i2.png", "sub/i1.png"], timeout=5000)
    paint(folder / "i2.png", 2)
    place.panel.again.click()
    qtbot.waitUntil(lambda: status(browser, "i2.png") == "not opened", timeout=5000)


def test_an_image_whose_project_is_damaged_or_taken_opens(quiet, browser, go, qtbot, folder):
    captioned(go("i1.png"), qtbot)
    go("i2.png")
    project = folder / "i1.png.patchioner.json"
    project.write_bytes(project.read_bytes()[:200])
    project.with_name(f"{project.name}.bak").unlink(missing_ok=True)
    (folder / "i10.png.patchioner.json").mkdir()
    torn = project.read_bytes()
    told = []
    browser.messaged.connect(told.append)
    opened = go("i1.png")
    assert any("is damaged" in sentence for sentence in told)
    captioned(opened, qtbot)
    captioned(go("i10.png"), qtbot)
    go("i2.png")
    kept = [path.read_bytes() for path in folder.glob("i1.png.*")]
    assert torn in kept, "somebody may still find something in it"
    names = ("i1.png", "i10.png")
    qtbot.waitUntil(lambda: all("1 caption" in status(browser, n) for n in names), timeout=5000)


def test_work_that_cannot_be_saved_keeps_the_image_open_if_the_person_wants(
    browser, go, qtbot, monkeypatch
):
    opened = go("i1.png")
    captioned(opened, qtbot)
    projects = opened.dock.projects
    monkeypatch.setattr(projects.files[opened.controller], "save", lambda: False)
    monkeypatch.setattr(projects, "_ask", lambda project_file, may_stay: not may_stay)
    browser.step(1)
    qtbot.wait(100)
    assert browser.opened is opened
    assert browser.wanted is None


def test_after_five_images_nothing_of_the_first_ones_is_left(quiet, browser, folder, qtbot):
    count = 5
    for number in range(count):
        paint(folder / "many" / f"m{number}.png", number)
    browser.open_folder(folder / "many")
    qtbot.waitUntil(lambda: len(browser.listing.statuses) == count, timeout=5000)
    gone: dict[str, list[weakref.ref]] = {}
    for number in range(count):
        browser.step(1)
        opened = settle(browser, qtbot, f"m{number}.png")
        if number == 2:
            captioned(opened, qtbot)
        controller = opened.controller
        [grid] = controller.encoder.grids.values()
        kept = {"opened": opened, "image": opened.image, "pixels": opened.image.data}
        kept |= {
            "controller": controller,
            "session": controller.session,
            "reader": controller.encoder,
        }
        kept |= {"layer": controller.layer("regions"), "grid": grid.embeddings}
        for name, one in kept.items():
            gone.setdefault(name, []).append(weakref.ref(one))
        del opened, controller, kept, grid, one

    def left():
        gc.collect()
        return {
            name: [n for n, one in enumerate(ones) if one() is not None]
            for name, ones in gone.items()
        }

    qtbot.waitUntil(lambda: not browser.prefetcher.active, timeout=5000)
    grids = left()["grid"]
    qtbot.waitUntil(lambda: all(set(ones) <= {count - 1} for ones in left().values()), timeout=5000)
    assert len(grids) <= 1


def test_keys_step_on_the_canvas_and_are_letters_in_a_text(browser, go, qtbot, viewer, place):
    opened = go("i1.png")
    viewer.layers.selection.active = opened.controller.layer("regions")
    canvas = viewer.window._qt_viewer.canvas.native
    texts = [place.captions().region_list.search, place.captions().panel.caption.editor]
    regions = opened.controller.layer("regions")
    regions.add(BOX, shape_type="rectangle")
    regions.selected_data = {0}
    qtbot.waitUntil(texts[1].isEnabled)
    place.captions().region_list.toggle()
    viewer.window.activate()
    for text in texts:
        text.setFocus()
        qtbot.waitUntil(text.hasFocus)
        qtbot.keyClick(text, Qt.Key.Key_PageDown)
        assert browser.wanted is None, "the key is meant for the text"
    place.captions().region_list.toggle()
    canvas.setFocus()
    qtbot.waitUntil(canvas.hasFocus)
    qtbot.keyClick(canvas, Qt.Key.Key_PageDown)
    settle(browser, qtbot, "i2.png")
    qtbot.keyClick(place.panel.table, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: browser.listing.statuses["i2.png"].done, timeout=5000)
    assert "1 done" in place.panel.count.text()
    place.shut_down()
    assert not [key for key in viewer.keymap if "Page" in str(key)]


def opened_tool(title):
    from napari_patchioner.viewer.panels.main import TOOLS

    return next(tool for tool in TOOLS if tool.title == title)


def test_the_list_is_filtered_and_next_goes_by_it(browser, go, qtbot, place):
    browser.listing.tick([browser.listing.find("i2.png")], True)
    qtbot.waitUntil(lambda: browser.listing.statuses["i2.png"].done, timeout=5000)
    place.panel.table.clicked.emit(place.panel.table.files.index(2, DONE))
    qtbot.waitUntil(lambda: browser.listing.statuses["i10.png"].done, timeout=5000)
    place.panel.table.clicked.emit(place.panel.table.files.index(2, DONE))
    qtbot.waitUntil(lambda: not browser.listing.statuses["i10.png"].done, timeout=5000)
    place.panel.only.setCurrentText("Not done")
    assert shown(place) == ["i1.png", "i10.png", "sub/i1.png"]
    go("i1.png")
    place.panel.done.click()
    settle(browser, qtbot, "i10.png")
    qtbot.waitUntil(lambda: shown(place) == ["i10.png", "sub/i1.png"], timeout=5000)
    place.panel.search.setText("SUB")
    assert shown(place) == ["i10.png", "sub/i1.png"], "the image in the window stays listed"


def test_a_dropped_image_is_opened_in_its_folder(place, folder, qtbot):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder / "sub" / "i1.png"))])
    drop = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    place.panel.dropEvent(drop)
    settle(place.browser, qtbot, "i1.png")
    assert place.browser.listing.folder == folder / "sub"


def test_one_goes_on_where_one_was(browser, go, qtbot, viewer, registry, folder):
    from napari_patchioner.viewer import FolderDock

    captioned(go("i10.png"), qtbot)
    go("i2.png")
    qtbot.waitUntil(lambda: status(browser, "i2.png") == "read", timeout=5000)
    again = FolderDock(viewer, registry=registry)
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: len(again.browser.listing.statuses) == 4, timeout=5000)
    assert again.browser.listing.folder == folder
    assert again.browser.position.name == "i2.png"
    assert status(again.browser, "i10.png") == "1 region, 1 caption, 1 to review"
    assert status(again.browser, "i2.png") == "read"
    again.shut_down()


def test_an_image_taken_out_of_the_window_is_not_missed(quiet, browser, go, qtbot, viewer):
    opened = go("i1.png")
    viewer.layers.remove(opened.image)
    assert browser.opened is None
    go("i2.png")


def test_files_of_other_plugins_are_opened_in_the_window(viewer, folder, monkeypatch):
    monkeypatch.setattr(prefetch, "reader_of", lambda path: "somebody")
    called = []
    loaded = prefetch.load(folder / "i1.png")
    assert loaded.layers == ()
    monkeypatch.setattr(
        type(viewer), "open", lambda self, path, plugin: called.append((path, plugin)) or []
    )
    with pytest.raises(prefetch.ImageError, match="no image"):
        prefetch.show(viewer, loaded)
    assert called == [(str(folder / "i1.png"), "somebody")]


def test_every_key_of_the_guide_with_a_folder(quiet, browser, go, place, viewer, qtbot):
    table, canvas = place.panel.table, viewer.window._qt_viewer.canvas.native
    go("i1.png")

    def page():
        for widget, down, up in ((canvas, "i2.png", "i1.png"), (table, "i2.png", "i1.png")):
            widget.setFocus()
            QTest.keyClick(widget, Qt.Key.Key_PageDown)
            settle(browser, qtbot, down)
            QTest.keyClick(widget, Qt.Key.Key_PageUp)
            settle(browser, qtbot, up)

    def enter():
        table.show_here(browser.listing.find("i10.png"))
        QTest.keyClick(table, Qt.Key.Key_Return)
        settle(browser, qtbot, "i10.png")
        index = table.files.index(table.files.row("i2.png"), NAME)
        spot = table.visualRect(index).center()
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=spot)
        QTest.mouseDClick(table.viewport(), Qt.MouseButton.LeftButton, pos=spot)
        settle(browser, qtbot, "i2.png")

    def space():
        file = browser.listing.find("i2.png")
        table.show_here(file)
        for ticked in (True, False):
            QTest.keyClick(table, Qt.Key.Key_Space)
            qtbot.waitUntil(lambda ticked=ticked: browser.listing.status(file).done is ticked)

    pressed = {"Page Down, Page Up": page, "Enter, double-click": enter, "Space": space}
    assert list(pressed) == guide_keys("With a [folder of images]")
    for act in pressed.values():
        act()
