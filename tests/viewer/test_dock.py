from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from npe2 import PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QAbstractButton, QLabel, QMenu, QPushButton
from superqt import QCollapsible

from napari_patchioner.viewer.workers.job import JobProgress

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\*\*([^*\n]+)\*\*")


def test_a_box_is_captioned(dock, viewer, qtbot):
    dock.start()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)
    regions = dock.controller.layer("regions")
    regions.add(np.array([[10, 10], [10, 50], [50, 50], [50, 10]]), shape_type="rectangle")
    qtbot.waitUntil(lambda: list(regions.features["caption"]) == ["something red"], timeout=5000)


def test_a_bar_that_comes_and_goes_works_off_no_events_meanwhile(dock, qtbot):
    """What goes on when it is asked for could come to its end there."""
    worked_off = []
    row = dock.panel.progress
    QTimer.singleShot(0, lambda: worked_off.append(True))
    for progress in (JobProgress(), None, JobProgress()):
        row.follow(progress)
    assert worked_off == []
    qtbot.waitUntil(lambda: row._activity is not None, timeout=5000)
    QTimer.singleShot(0, lambda: worked_off.append(True))
    row.follow(None)
    assert worked_off == [True]
    qtbot.waitUntil(lambda: worked_off == [True, True], timeout=2000)


def test_opened_by_the_menu_it_knows_its_layers_and_warns_of_nothing(
    viewer, picture, npe2pm, recwarn
):
    npe2pm.register(PluginManifest.from_distribution("napari-patchioner"))
    viewer.add_image(picture, name="stripes")
    _, dock = viewer.window.add_plugin_dock_widget(
        "napari-patchioner", "Patch-ioner: caption regions"
    )
    dock.panel.draw.buttons["Box"].click()
    regions = viewer.layers["regions [stripes]"]
    assert dock.controller.bindings["regions"].layer is regions
    assert dock.panel.draw.buttons["Box"].isChecked()
    regions.add(np.array([[10, 10], [10, 50], [50, 50], [50, 10]]), shape_type="rectangle")
    assert not [one for one in recwarn if "Private attribute" in str(one.message)]
    viewer.layers.remove("stripes")
    dock.shut_down()


def test_nothing_is_clipped_on_a_small_screen_and_everything_says_what_it_is_for(
    dock, viewer, qtbot
):
    viewer.window._qt_window.resize(1280, 780)
    qtbot.wait(100)
    dock.region_list.toggle()
    qtbot.waitUntil(lambda: dock.region_list.isVisible(), timeout=3000)
    for collapsible in dock.findChildren(QCollapsible):
        collapsible.expand(animate=False)
    qtbot.wait(100)
    assert viewer.window._qt_window.height() <= 800
    assert dock.widget().minimumSizeHint().width() <= dock.viewport().width()
    assert not dock.horizontalScrollBar().isVisible()
    buttons = [*dock.findChildren(QPushButton), *dock.region_list.findChildren(QPushButton)]
    assert buttons
    silent = [one.text() for one in buttons if not one.toolTip() and not _is_heading(one)]
    assert silent == []


def _is_heading(button):
    return isinstance(button.parent(), QCollapsible)


def test_the_help_lists_the_keys(dock, qtbot):
    dock.panel.help.button.click()
    dialog = dock.panel.help
    assert dialog.isVisible()
    [text] = [label.text() for label in dialog.findChildren(QLabel) if label.text()]
    assert "Ctrl+1 to Ctrl+9" in text
    dialog.close()


def test_the_guide_names_buttons_and_menus_as_they_stand_there(dock, viewer):
    pages = [ROOT / "README.md", *(ROOT / "docs" / f"{n}.md" for n in ("guide", "projects"))]
    named = [n for page in pages for n in NAMED.findall(page.read_text(encoding="utf-8"))]
    # What is in a menu is named with it.
    said = {part.removesuffix(" ▾") for name in named for part in name.split(" > ")}
    dock.inspect.menu.aboutToShow.emit()
    widgets = [dock, dock.region_list]
    buttons = [b for w in widgets for b in w.findChildren(QAbstractButton)]
    actions = [a for w in widgets for menu in w.findChildren(QMenu) for a in menu.actions()]
    shown = {one.text().split(" (")[0].strip() for one in (*buttons, *actions)}
    shown |= {one.text().removesuffix("…") for one in buttons}
    # What the button says while the image is read, and what is no button.
    assert said - shown <= {"Cancel", "regions", "traces", "pixels", "Content hash."}
    assert {"Start", "Layers", "More", "Export…"} <= said


def test_no_button_moves_while_somebody_aims_at_it(started, hand, qtbot):
    """Aiming at Reword, somebody hit Teach: the message above had become a line shorter."""
    panel, controller = started.panel, started.controller
    started.panel.draw.buttons["Box"].click()
    hand.drag([(20, 10), (60, 50)])
    qtbot.waitUntil(lambda: not controller.queue.active, timeout=10000)
    [uid] = controller.session.uids("regions")

    def places():
        qtbot.wait(60)
        aimed_at = *panel.buttons.values(), panel.reword, started.ask.ask, started.teach.teach
        return [made.mapTo(panel, made.rect().topLeft()).y() for made in aimed_at]

    controller.show_message("Short.")
    controller.select([uid])
    before = places()
    message = " ".join(["Much was done here, and all of it is said at length."] * 12)
    controller.show_message(message)
    assert places() == before
    # All of it can be read.
    assert panel.status.toolTip() == panel.status.text() == message
    assert QLabel.text(panel.status).endswith("…")
    controller.edit(uid, "a dog that sits here and waits " * 30)
    controller.session.accept([uid])
    controller.session.suggest("suggestion", {uid: ["a dog", "a cat"]}, by="check of the sentence")
    controller.show()
    assert places() == before
    controller.select([])
    assert places() == before
    controller.show_message("")
    assert places() == before


def test_with_the_words_of_a_caption_on_display_no_button_moves_either(started, hand, qtbot):
    panel, controller = started.panel, started.controller
    for corners in ([(20, 10), (60, 50)], [(20, 70), (60, 110)]):
        panel.draw.buttons["Box"].click()
        hand.drag(corners)
    qtbot.waitUntil(lambda: not controller.queue.active, timeout=10000)
    short, long = controller.session.uids("regions")
    controller.edit(long, "a dog that sits here and waits " * 30)
    started.image_actions.toggle_why()
    seen = set()
    for uids in ([short], [long], [], [short, long]):
        controller.select(uids)
        started.refresh()
        qtbot.wait(300)
        seen.add(panel.reword.mapTo(panel, panel.reword.rect().topLeft()).y())
    assert len(seen) == 1
