"""Getting, removing and adding models by hand, in a real window, from a made-up store."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog

from napari_patchioner.errors import ModelError

BOX = np.array([[20, 10], [20, 50], [60, 50], [60, 10]])


def press_start(dock):
    dock.panel.progress.button.click()


def status(dock):
    return dock.panel.status.text()


def choose(dock, model="paper"):
    dock.models.choice.value = model


def captions(dock):
    return list(dock.controller.layer("regions").features["caption"])


def asked(dock, qtbot):
    qtbot.waitUntil(lambda: dock.models.question is not None, timeout=5000)
    return dock.models.question


def fetching(dock, shop, qtbot):
    """A download that goes on until `shop.hold` is set."""
    shop.hold.clear()
    choose(dock)
    press_start(dock)
    asked(dock, qtbot).answers["Get"][0].click()
    qtbot.waitUntil(shop.reached.is_set, timeout=5000)


def idle(dock, qtbot):
    worked = [time.monotonic()]

    def rested():
        threads = [t for t in threading.enumerate() if t.name.startswith("patchioner-")]
        if threads or dock.models.active:
            worked[0] = time.monotonic()
        # What was just read is captioned once the window has settled, a moment later.
        return time.monotonic() - worked[0] > 0.3

    qtbot.waitUntil(rested, timeout=15000)


def read(dock, qtbot):
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)


def test_nothing_is_downloaded_before_a_person_agrees(dock, shop, monkeypatch, qtbot):
    choose(dock)
    assert "604 MB to get" in status(dock)
    press_start(dock)
    question = asked(dock, qtbot)
    assert "604 MB" in question.informativeText()
    assert str(shop.place) in question.informativeText()
    assert question.defaultButton() is question.no
    question.no.click()
    qtbot.waitUntil(lambda: dock.models.question is None, timeout=5000)
    assert shop.calls == []
    assert not dock.controller.encoder.active
    escape_and_return_both_decline(dock, qtbot)
    no_folder_chosen_gets_nothing(dock, monkeypatch, qtbot)
    assert shop.calls == []


def escape_and_return_both_decline(dock, qtbot):
    from qtpy.QtCore import Qt

    for key in (Qt.Key.Key_Escape, Qt.Key.Key_Return):
        press_start(dock)
        question = asked(dock, qtbot)
        qtbot.waitExposed(question)
        qtbot.keyClick(question, key)
        qtbot.waitUntil(lambda: dock.models.question is None, timeout=5000)


def no_folder_chosen_gets_nothing(dock, monkeypatch, qtbot):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    press_start(dock)
    asked(dock, qtbot).answers["Choose a folder…"][0].click()
    qtbot.waitUntil(lambda: dock.models.question is None, timeout=5000)


@pytest.mark.every_qt
def test_what_was_got_reads_the_image_by_itself(dock, hand, guide, shop, loads, qtbot):
    fetching(dock, shop, qtbot)
    guide.use(dock, "Box")
    hand.drag([(20, 70), (60, 110)])
    qtbot.waitUntil(lambda: captions(dock) == [""], timeout=5000)
    assert "you can draw meanwhile" in status(dock)
    qtbot.waitUntil(lambda: dock.panel.progress.bar.value() == 50, timeout=5000)
    assert dock.panel.progress.bar.toolTip() == "302 of 604 MB, 4.1 MB/s"
    assert dock.panel.progress.bar.text().startswith("302 of")
    verdict = dock.panel.caption.verdict
    qtbot.waitUntil(lambda: verdict.text() == "Waiting for the model", timeout=5000)
    shop.hold.set()
    qtbot.waitUntil(lambda: captions(dock) == ["something green"], timeout=10000)
    assert loads == ["paper"]
    line = dock.models.choice
    assert line.currentText() == "Patch-ioner: as in the paper — installed"


def test_a_cancelled_download_goes_on_at_the_next_start(dock, shop, loads, qtbot):
    fetching(dock, shop, qtbot)
    assert dock.panel.progress.button.text() == "Cancel"
    dock.panel.progress.button.click()
    assert dock.panel.progress.button.text() == "Start"
    assert "kept" in status(dock)
    idle(dock, qtbot)
    assert (shop.there, loads) == (set(), [])
    shop.hold.set()
    press_start(dock)
    read(dock, qtbot)
    assert dock.models.question is None
    assert loads == ["paper"]


def test_a_download_that_fails_says_why_and_can_be_repeated(dock, shop, loads, qtbot):
    shop.trouble = ModelError("the connection was lost after 302 MB; press Start to go on")
    fetching(dock, shop, qtbot)
    shop.hold.set()
    qtbot.waitUntil(lambda: "connection was lost" in status(dock), timeout=5000)
    assert dock.panel.progress.button.text() == "Start"
    assert loads == []
    # One that nobody expects is one sentence, too.
    shop.trouble = RuntimeError("out of luck")
    press_start(dock)
    qtbot.waitUntil(lambda: "RuntimeError: out of luck" in status(dock), timeout=5000)
    shop.trouble = None
    press_start(dock)
    read(dock, qtbot)
    assert loads == ["paper"]


def test_another_model_can_be_used_meanwhile(dock, shop, loads, qtbot):
    fetching(dock, shop, qtbot)
    # But it is not got meanwhile.
    dock.models._ask_to_get(None)
    assert "nother model" in status(dock)
    assert len(shop.calls) == 1
    choose(dock, "colours")
    assert dock.panel.progress.button.text() == "Start"
    press_start(dock)
    read(dock, qtbot)
    shop.hold.set()
    idle(dock, qtbot)
    assert "is installed" in status(dock)
    assert loads == ["colours"]


def test_the_reading_is_dropped_when_the_image_was_read_otherwise_meanwhile(
    dock, shop, loads, qtbot
):
    fetching(dock, shop, qtbot)
    choose(dock, "colours")
    press_start(dock)
    read(dock, qtbot)
    choose(dock, "paper")
    assert dock.panel.progress.button.text() == "Cancel"
    shop.hold.set()
    idle(dock, qtbot)
    assert loads == ["colours"]


def test_the_reading_is_dropped_when_another_image_is_shown(
    dock, shop, loads, viewer, picture, qtbot
):
    fetching(dock, shop, qtbot)
    viewer.add_image(picture, name="other")
    assert dock.image.name == "other"
    shop.hold.set()
    idle(dock, qtbot)
    assert loads == []
    assert "is installed" in status(dock)


def test_the_image_is_deleted_during_the_download(dock, shop, loads, viewer, qtbot):
    fetching(dock, shop, qtbot)
    viewer.layers.remove(dock.image)
    assert dock.panel.progress.button.text() == "Cancel"
    assert dock.panel.progress.button.isEnabled()
    shop.hold.set()
    idle(dock, qtbot)
    assert loads == []
    assert "is installed" in status(dock)


def test_the_dock_is_closed_during_the_download(dock, shop, viewer, qtbot):
    fetching(dock, shop, qtbot)
    viewer.window.remove_dock_widget(dock)
    idle(dock, qtbot)
    assert shop.there == set()


def test_the_dock_is_closed_with_a_question_open(dock, viewer, shop, qtbot):
    choose(dock)
    press_start(dock)
    asked(dock, qtbot)
    viewer.window.remove_dock_widget(dock)
    assert dock.models.question is None
    assert shop.calls == []


def test_a_copy_in_a_folder_is_taken_but_a_wrong_folder_not_again(
    dock, shop, loads, tmp_path, monkeypatch, qtbot
):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    shop.trouble = ModelError("weights.pth is not in this folder")
    choose(dock)
    press_start(dock)
    asked(dock, qtbot).answers["Choose a folder…"][0].click()
    qtbot.waitUntil(lambda: "not in this folder" in status(dock), timeout=5000)
    shop.trouble = None
    press_start(dock)
    asked(dock, qtbot).answers["Choose a folder…"][0].click()
    read(dock, qtbot)
    assert shop.calls == [("paper", tmp_path)] * 2
    assert loads == ["paper"]


def test_what_no_hub_holds_is_named_and_asked_for_each_time(dock, shop, qtbot):
    shop.absent = ["weights.pth (in a drawer)"]
    shop.trouble = ModelError("weights.pth is on no hub")
    choose(dock)
    for _ in range(2):
        press_start(dock)
        question = asked(dock, qtbot)
        assert "weights.pth (in a drawer)<br>" in question.informativeText()
        question.answers["Get"][0].click()
        qtbot.waitUntil(lambda: "on no hub" in status(dock), timeout=5000)
        idle(dock, qtbot)


def test_a_copy_that_was_stopped_goes_on(dock, shop, loads, tmp_path, monkeypatch, qtbot):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    shop.hold.clear()
    choose(dock)
    press_start(dock)
    asked(dock, qtbot).answers["Choose a folder…"][0].click()
    qtbot.waitUntil(shop.reached.is_set, timeout=5000)
    press_start(dock)
    idle(dock, qtbot)
    shop.hold.set()
    press_start(dock)
    read(dock, qtbot)
    assert shop.calls == [("paper", tmp_path)] * 2


def test_the_menu_gets_without_reading(dock, shop, loads, qtbot):
    choose(dock)
    dock.models.get.trigger()
    asked(dock, qtbot).answers["Get"][0].click()
    qtbot.waitUntil(lambda: "is installed" in status(dock), timeout=5000)
    assert loads == []


@pytest.fixture
def used(dock, shop, qtbot):
    """The dock with an image read and captioned by a model that was got."""
    shop.there.add("paper")
    choose(dock)
    press_start(dock)
    read(dock, qtbot)
    dock.controller.layer("regions").add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: all(captions(dock)), timeout=5000)
    idle(dock, qtbot)
    return dock


def test_a_removed_model_is_gone_from_memory_and_its_captions_stay(used, shop, captioner, qtbot):
    nothing_is_removed_before_a_person_agrees(used, shop, qtbot)
    a_model_at_work_is_not_removed(used, shop, captioner, qtbot)
    used.models._agreed["paper"] = None
    used.models.remove.trigger()
    question = asked(used, qtbot)
    assert "paper" in question.text()
    question.answers["Remove"][0].click()
    qtbot.waitUntil(lambda: used.registry.loaded == (), timeout=5000)
    qtbot.waitUntil(lambda: "1.9 GB" in status(used), timeout=5000)
    assert not used.controller.encoder.ready
    assert captions(used) == ["something red"]
    assert "604 MB to get" in used.models.choice.currentText()
    # Before it comes back it asks again.
    idle(used, qtbot)
    press_start(used)
    asked(used, qtbot).no.click()


def nothing_is_removed_before_a_person_agrees(used, shop, qtbot):
    used.models.remove.trigger()
    asked(used, qtbot).no.click()
    qtbot.waitUntil(lambda: used.models.question is None, timeout=5000)
    assert shop.there == {"paper"}


def a_model_at_work_is_not_removed(used, shop, captioner, qtbot):
    captioner.hold.clear()
    captioner.reached.clear()
    press_start(used)
    qtbot.waitUntil(captioner.reached.is_set, timeout=5000)
    used.models.remove.trigger()
    asked(used, qtbot).answers["Remove"][0].click()
    qtbot.waitUntil(lambda: "at work" in status(used), timeout=5000)
    assert shop.there == {"paper"}
    captioner.hold.set()
    read(used, qtbot)
    idle(used, qtbot)


def test_the_menu_offers_what_makes_sense(dock, shop, qtbot):
    models = dock.models

    def offered():
        models.menu.menu().aboutToShow.emit()
        return [one.isEnabled() for one in (models.get, models.copy, models.remove, models.add)]

    assert offered() == [False, False, False, True]
    choose(dock)
    assert offered() == [True, True, True, True]
    fetching(dock, shop, qtbot)
    assert offered() == [False, False, False, False]
    shop.hold.set()
    read(dock, qtbot)
    assert offered() == [False, False, True, True]


def test_a_model_of_ones_own_is_added_and_chosen(dock, shop, tmp_path, monkeypatch, qtbot):
    missing = str(tmp_path / "nothing")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: missing)
    dock.models.add.trigger()
    qtbot.waitUntil(lambda: "holds no preset" in status(dock), timeout=5000)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    dock.models.add.trigger()
    qtbot.waitUntil(lambda: dock.models.choice.value == "own", timeout=5000)
    assert "One of my own" in status(dock)
    the_models_folder_is_opened(dock, shop, monkeypatch)


def the_models_folder_is_opened(dock, shop, monkeypatch):
    from qtpy.QtGui import QDesktopServices

    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    dock.models.open.trigger()
    assert opened == [str(shop.place)]
    assert shop.place.is_dir()


def test_a_device_is_chosen_and_remembered_and_the_next_model_that_loads_runs_there(
    used, loads, monkeypatch, npe2pm, plugin_settings, qtbot
):
    from npe2 import PluginManifest

    from napari_patchioner.viewer.preferences import NAME, preference
    from napari_patchioner.viewer.workers import models

    npe2pm.register(PluginManifest.from_distribution(NAME))
    used.models.menu.menu().aboutToShow.emit()
    actions = {action.text(): action for action in used.models.devices.actions()}
    assert [title for title, action in actions.items() if action.isChecked()] == ["Processor"]
    actions["The fastest there is"].trigger()
    assert "auto from now on" in status(used)
    assert used.registry.loaded == ()
    assert preference("models", "device") == "auto"
    press_start(used)
    read(used, qtbot)
    assert loads == ["paper", "paper"]
    used.models.menu.menu().aboutToShow.emit()
    [ticked] = [action for action in used.models.devices.actions() if action.isChecked()]
    assert ticked.text() == "The fastest there is"
    asked = []
    monkeypatch.setattr(models, "load_model", lambda *_, **where: asked.append(where))
    models.shared_registry.__wrapped__()._load("mini", None)
    engines = {action.text(): action for action in used.models.engines.actions()}
    assert [title for title in engines if engines[title].isChecked()] == ["The quickest there is"]
    engines["PyTorch"].trigger()
    assert "the engine torch from now on" in status(used)
    models.shared_registry.__wrapped__()._load("mini", None)
    assert asked == [{"device": "auto", "engine": None}, {"device": "auto", "engine": "torch"}]
