"""A model on a server is asked about regions: in a real window, by mouse and keys."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pytest
from chat_server import free_port, serving
from qtpy import QtWidgets
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_patchioner.images import read_picture
from napari_patchioner.models.servers import (
    ServerSettings,
    allow_host,
    read_settings,
    settings_file,
    write_settings,
)
from napari_patchioner.progress import no_progress
from napari_patchioner.viewer.panels.main import verdict_line
from napari_patchioner.viewer.panels.server import ServerDialog
from napari_patchioner.viewer.workers.models import shared_registry

QUESTION = "what is the {mitotic} stage?"
ELSEWHERE = "http://gpu.example:8000"


@pytest.fixture
def chat():
    with serving() as server:
        yield server


@pytest.fixture
def beside(chat):
    write_settings(ServerSettings(chat.url, "tiny-vision", key="sk-secret"))
    return chat


def draw(dock, hand, qtbot, corners=((20, 70), (60, 110)), count=1):
    """Draw a box, have it captioned, and select it; return its record."""
    dock.panel.draw.buttons["Box"].click()
    hand.drag(list(corners))
    records = dock.controller.session.records
    qtbot.waitUntil(
        lambda: len(records) == count and all(r.caption for r in records.values()), timeout=10_000
    )
    uid = list(records)[-1]
    dock.controller.select([uid])
    dock.refresh()
    return records[uid]


def reword(dock, title):
    """Choose a line of the menu Reword."""
    [line] = [action for action in dock.panel.reword.menu().actions() if action.text() == title]
    line.trigger()


def move(dock, hand, qtbot):
    """Move the box that `draw` draws a little, by hand."""
    [record] = dock.controller.session.records.values()
    dock.panel.draw.buttons["Select"].click()
    hand.drag([(40, 90), (43, 92), (45, 95)])
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: records[record.uid].fingerprint != record.fingerprint, timeout=5000)
    qtbot.wait(300)


def ask(dock, question=QUESTION):
    QTest.mouseClick(dock.ask.text, Qt.MouseButton.LeftButton)
    QTest.keyClicks(dock.ask.text, question)
    QTest.keyClick(dock.ask.text, Qt.Key.Key_Return)


def finished(dock, qtbot):
    describing = dock.controller.describing
    qtbot.waitUntil(lambda: not describing.running, timeout=20_000)


def dialogs():
    shown = QtWidgets.QApplication.topLevelWidgets()
    return [w for w in shown if isinstance(w, ServerDialog) and w.isVisible()]


def answer_with(monkeypatch, answer):
    """Answer the question about another host; return what was asked."""
    texts = []

    def question(parent, title, text, *_):
        texts.append(text)
        return getattr(QtWidgets.QMessageBox.StandardButton, answer)

    monkeypatch.setattr(QtWidgets.QMessageBox, "question", question)
    return texts


@pytest.mark.every_qt
def test_a_region_is_described_and_that_is_one_step(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    records = started.controller.session.records
    record = records[before.uid]
    assert record.caption == "A red bus in a street."
    assert (record.source, record.model, record.score) == ("model", "tiny-vision", None)
    assert record.alternatives[0] == "something green"
    host = beside.url[7:-3]
    assert record.origin["server"]["host"] == host
    assert "outlined in yellow" in record.origin["server"]["prompt"]
    assert f"By the model tiny-vision on {host}" in started.panel.caption.verdict.text()
    assert list(started.controller.layer("regions").features["caption"]) == [record.caption]
    started.panel.buttons["undo"].click()
    assert records is not None
    assert started.controller.session.records[before.uid].caption == "something green"
    started.panel.buttons["redo"].click()
    assert started.controller.session.records[before.uid].caption == record.caption


def test_the_server_sees_the_region_as_it_is_displayed(started, hand, beside, qtbot):
    draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    data = base64.b64decode(beside.pictures[0].partition(",")[2])
    pixels = np.asarray(read_picture(data), int)
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert np.abs(middle - (30, 200, 60)).sum() < 30


def test_a_question_is_answered_as_it_comes_and_taken_on_demand(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    beside.held = 2
    ask(started)
    assert beside.begun.wait(20)
    qtbot.waitUntil(lambda: started.ask.answer.toPlainText() == "A red bus", timeout=10_000)
    assert started.ask.stop.isVisibleTo(started)
    assert not started.ask.use.isEnabled()
    assert QUESTION in beside.prompts[0]
    beside.go.set()
    finished(started, qtbot)
    assert started.ask.answer.toPlainText() == "A red bus in a street."
    session = started.controller.session
    assert session.records[before.uid].caption == "something green"
    QTest.mouseClick(started.ask.use, Qt.MouseButton.LeftButton)
    record = session.records[before.uid]
    assert record.caption == "A red bus in a street."
    assert (record.source, record.model, record.reviewed) == ("model", "tiny-vision", True)
    assert record.origin["server"]["question"] == QUESTION
    assert not started.ask.answer.isVisibleTo(started)
    started.panel.buttons["undo"].click()
    assert session.records[before.uid].caption == "something green"


def test_it_is_stopped_at_once_by_its_button(started, hand, beside, qtbot):
    draw(started, hand, qtbot)
    beside.held = 1
    ask(started)
    assert beside.begun.wait(20)
    QTest.mouseClick(started.ask.stop, Qt.MouseButton.LeftButton)
    assert beside.gone.wait(20)
    assert not started.controller.describing.running
    assert started.ask.ask.isVisibleTo(started)
    assert not started.ask.use.isEnabled()


def test_escape_on_the_canvas_stops_what_is_most_recent_first(started, hand, beside, qtbot):
    draw(started, hand, qtbot)
    describing, grower = started.controller.describing, started.controller.grower
    layers, regions = started.viewer.layers, started.controller.layer("regions")

    def ask_slowly():
        for happened in (beside.begun, beside.gone):
            happened.clear()
        ask(started)
        assert beside.begun.wait(20)
        # The window takes in what has begun.
        qtbot.waitUntil(lambda: describing.running, timeout=5000)
        qtbot.wait(20)

    beside.held = 1
    grow = started.panel.draw.buttons["Grow"]
    grow.click()
    ask_slowly()
    hand.key(Qt.Key.Key_Escape)
    assert beside.gone.wait(20)
    assert not describing.running
    assert grower.on
    hand.key(Qt.Key.Key_Escape)
    assert not grower.on
    ask_slowly()
    grow.click()
    hand.key(Qt.Key.Key_Escape)
    assert not grower.on
    assert describing.running
    hand.key(Qt.Key.Key_Escape)
    assert beside.gone.wait(20)
    assert "Escape" not in map(str, [*regions.keymap, *started.viewer.keymap])
    ask_slowly()
    layers.selection.active = started.controller.image
    hand.key(Qt.Key.Key_Escape)
    assert beside.gone.wait(20)
    assert not describing.running


def test_another_selection_stops_it_and_takes_the_answer_away(started, hand, beside, qtbot):
    draw(started, hand, qtbot, ((20, 10), (60, 50)))
    draw(started, hand, qtbot, count=2)
    beside.held = 1
    ask(started)
    assert beside.begun.wait(20)
    started.panel.draw.buttons["Select"].click()
    hand.click(40, 30)
    assert beside.gone.wait(20)
    assert started.controller.describing.asked is None
    assert not started.ask.answer.isVisibleTo(started)


def test_nothing_about_an_image_that_is_replaced_is_taken(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    controller = started.controller
    for begin in (lambda: reword(started, "Describe by server…"), lambda: ask(started)):
        beside.held = 1
        beside.begun.clear()
        beside.gone.clear()
        controller.select([before.uid])
        begin()
        assert beside.begun.wait(20)
        controller.image.data = np.array(controller.image.data)[::-1].copy()
        assert beside.gone.wait(20)
        assert not controller.describing.running
        assert controller.describing.asked is None
        assert "The image has changed" in started.panel.status.text()
        assert "is not taken" in started.panel.status.text()
        assert controller.session.records[before.uid].model != "tiny-vision"
    beside.held = -1
    ask(started)
    finished(started, qtbot)
    controller.image.data = np.array(controller.image.data)[::-1].copy()
    assert not started.ask.use.isVisibleTo(started)


def test_what_a_server_said_of_an_image_that_is_replaced_is_outdated(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    image, session = started.controller.image, started.controller.session
    image.data = np.array(image.data)[::-1].copy()
    started.refresh()
    assert "outdated" in started.panel.caption.verdict.text()
    started.panel.progress.button.click()
    encoder = started.controller.encoder
    qtbot.waitUntil(lambda: encoder.ready and not encoder.active, timeout=30_000)
    assert session.records[before.uid].is_outdated
    started.controller.select([before.uid])
    reword(started, "Describe by server…")
    finished(started, qtbot)
    assert session.records[before.uid].model == "tiny-vision"
    assert not session.records[before.uid].is_outdated


def test_what_a_server_said_stays_when_options_change_or_the_shape_is_moved(
    started, hand, beside, qtbot
):
    before = draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    controller, panel = started.controller, started.panel
    panel.options["context"].value = "kitchen"
    qtbot.wait(800)
    records = controller.session.records
    assert records[before.uid].caption == "A red bus in a street."
    move(started, hand, qtbot)
    record = records[before.uid]
    assert (record.caption, record.model) == ("A red bus in a street.", "tiny-vision")
    assert "outdated: the shape or the image has changed since" in panel.caption.verdict.text()
    assert record.alternatives[0] == "something green"
    # The model of these tests knows no context.
    panel.options["context"].value = ""
    panel.buttons["caption_again"].click()
    qtbot.waitUntil(lambda: records[before.uid].model == before.model, timeout=10_000)
    assert not records[before.uid].is_outdated


def test_a_wording_of_the_model_is_the_models_again(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    panel, records = started.panel, started.controller.session.records
    item = panel.caption.wordings.item(0)
    assert f"By the model {before.model}" in item.toolTip()
    panel.caption.wordings.itemClicked.emit(item)
    record = records[before.uid]
    assert (record.caption, record.model) == ("something green", before.model)
    assert "tiny-vision" not in panel.caption.verdict.text()
    assert "tiny-vision" in panel.caption.wordings.item(0).toolTip()


def test_a_server_that_does_not_stop_leaves_the_window_alone(started, hand, beside, qtbot):
    draw(started, hand, qtbot)
    beside.endless, beside.pieces = True, ["many words "]
    shown = []
    started.ask.answer.textChanged.connect(lambda: shown.append(1))
    ask(started)
    finished(started, qtbot)
    assert beside.gone.wait(20)
    assert "stopped after 20,000 letters" in started.panel.status.text()
    assert len(started.ask.answer.toPlainText()) <= 20_000
    assert not started.ask.use.isEnabled()
    # Two thousand pieces have come.
    assert len(shown) < 200


def test_an_answer_that_is_cut_off_says_so(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    beside.ending, beside.pieces = "length", ["A dark red cup ", "stands on a"]
    reword(started, "Describe by server…")
    finished(started, qtbot)
    assert started.controller.session.records[before.uid].caption.endswith("stands on a…")
    assert "cut off after 400 tokens" in started.panel.status.text()
    ask(started)
    finished(started, qtbot)
    assert "cut off after 400 tokens" in started.panel.status.text()


def test_a_shape_that_is_moved_meanwhile_is_said(started, hand, beside, qtbot):
    draw(started, hand, qtbot)
    beside.held = 1
    reword(started, "Describe by server…")
    assert beside.begun.wait(20)
    move(started, hand, qtbot)
    beside.go.set()
    finished(started, qtbot)
    assert "regions that have changed meanwhile" in started.panel.status.text()


def test_closing_stops_it(started, hand, beside, qtbot):
    draw(started, hand, qtbot)
    beside.held = 1
    ask(started)
    assert beside.begun.wait(20)
    started.shut_down()
    assert beside.gone.wait(20)


def test_what_a_person_wrote_is_only_offered_the_answer(started, hand, beside, qtbot):
    mine = draw(started, hand, qtbot)
    started.controller.edit(mine.uid, "my green cell")
    reword(started, "Describe by server…")
    finished(started, qtbot)
    session = started.controller.session
    record = session.records[mine.uid]
    assert (record.caption, record.source) == ("my green cell", "edited")
    assert record.alternatives[0] == "A red bus in a street."
    session.lock([mine.uid], True)
    ask(started)
    finished(started, qtbot)
    started.ask.use.click()
    assert session.records[mine.uid].caption == "my green cell"


def test_several_regions_are_described_one_after_another_as_one_step(started, hand, beside, qtbot):
    draw(started, hand, qtbot, ((20, 10), (60, 50)))
    draw(started, hand, qtbot, count=2)
    records = started.controller.session.records
    started.controller.select(list(records))
    # Both, not what they make up together
    started.region_list.toggle()
    reword(started, "Describe by server…")
    finished(started, qtbot)
    described = [r.caption for r in started.controller.session.records.values()]
    assert described == ["A red bus in a street."] * 2
    started.panel.buttons["undo"].click()
    captions = {r.caption for r in started.controller.session.records.values()}
    assert captions == {"something red", "something green"}


def test_what_was_whole_when_the_server_failed_is_kept(started, hand, beside, qtbot):
    draw(started, hand, qtbot, ((20, 10), (60, 50)))
    draw(started, hand, qtbot, count=2)
    started.controller.select(list(started.controller.session.records))
    beside.answers = 1
    reword(started, "Describe by server…")
    finished(started, qtbot)
    captions = [r.caption for r in started.controller.session.records.values()]
    assert captions == ["A red bus in a street.", "something green"]
    text = started.panel.status.text()
    assert "1 caption by tiny-vision" in text
    assert "status 500 (out of memory)" in text


def test_an_image_read_again_keeps_what_the_server_said(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    started.panel.progress.button.click()
    qtbot.waitUntil(lambda: not started.controller.encoder.active, timeout=10_000)
    assert started.controller.session.records[before.uid].caption == "A red bus in a street."


def test_it_works_before_the_image_has_been_read(dock, hand, beside, qtbot):
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, 70), (60, 110)])
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: len(records) == 1, timeout=10_000)
    dock.controller.select(list(records))
    reword(dock, "Describe by server…")
    finished(dock, qtbot)
    assert [r.caption for r in records.values()] == ["A red bus in a street."]


def test_a_server_that_fails_is_one_sentence(started, hand, beside, qtbot):
    before = draw(started, hand, qtbot)
    beside.status, beside.refusal = 500, {"error": {"message": "out of memory"}}
    ask(started)
    finished(started, qtbot)
    assert "status 500 (out of memory)" in started.panel.status.text()
    write_settings(ServerSettings(f"http://127.0.0.1:{free_port()}", "tiny-vision"))
    reword(started, "Describe by server…")
    finished(started, qtbot)
    assert "Nothing answers at 127.0.0.1" in started.panel.status.text()
    assert started.controller.session.records[before.uid].caption == "something green"


def test_without_a_region_or_a_question_it_says_what_to_do(started, beside):
    ask(started, "")
    assert "Type a question first" in started.panel.status.text()
    ask(started)
    assert "Select a shape first" in started.panel.status.text()
    assert beside.paths == []


def test_nothing_is_contacted_before_it_is_set_up_in_the_dialog(started, hand, chat, qtbot):
    draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    assert "Set a server up first" in started.panel.status.text()
    [dialog] = dialogs()
    assert chat.paths == []
    QTest.keyClicks(dialog.address, chat.url)
    QTest.mouseClick(dialog.list, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.model.currentText() == "tiny-vision", timeout=10_000)
    assert dialog.key.echoMode() == dialog.key.EchoMode.Password
    QTest.keyClicks(dialog.key, "sk-secret")
    dialog.prompt.setPlainText("{caption.x}")
    QTest.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    assert "no field {caption.x}" in dialog.report.text()
    assert not settings_file().exists()
    dialog.prompt.setPlainText("On {layer} of {image}, {size}: not {caption}?")
    QTest.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialogs(), timeout=5000)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    name = started.image.name
    said = f"On regions of {name}, 40 by 40 pixels: not something green?"
    # A hand on the screen is not exact.
    assert chat.prompts[0].partition(",")[0] == said.partition(",")[0]
    assert "not something green?" in chat.prompts[0]
    assert chat.headers[-1]["Authorization"] == "Bearer sk-secret"


def test_another_host_is_asked_about_before_anything_is_sent(
    started, hand, chat, qtbot, monkeypatch
):
    draw(started, hand, qtbot)
    write_settings(ServerSettings(ELSEWHERE, "tiny-vision"))
    asked = answer_with(monkeypatch, "No")
    ask(started)
    assert len(asked) == 1
    assert ELSEWHERE in asked[0]
    assert "Crops of your image" in asked[0]
    assert "was not asked" in started.panel.status.text()
    assert not started.controller.describing.running
    assert read_settings().allowed == ()


def test_what_was_allowed_is_remembered_and_revoked(started, qtbot, monkeypatch):
    asked = answer_with(monkeypatch, "Yes")
    started.image_actions.set_up_server()
    [dialog] = dialogs()
    QTest.keyClicks(dialog.address, ELSEWHERE)
    QTest.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dialogs(), timeout=5000)
    assert len(asked) == 1
    assert read_settings().allowed == (ELSEWHERE,)
    started.image_actions.set_up_server()
    [dialog] = dialogs()
    QTest.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
    assert len(asked) == 1
    started.image_actions.set_up_server()
    dialog = dialogs()[-1]
    QTest.mouseClick(dialog.revoke, Qt.MouseButton.LeftButton)
    assert read_settings().allowed == ()
    assert "is sent nothing any more" in dialog.report.text()
    allow_host(ELSEWHERE)
    QTest.mouseClick(dialog.forget, Qt.MouseButton.LeftButton)
    assert not settings_file().exists()
    dialog.close()


def test_the_key_is_in_no_project_and_no_export(started, hand, beside, qtbot, tmp_path):
    draw(started, hand, qtbot)
    reword(started, "Describe by server…")
    finished(started, qtbot)
    started.save_now()
    started.image_actions.export(tmp_path / "out.csv")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != settings_file()]
    assert any(b"A red bus in a street." in path.read_bytes() for path in files)
    assert not [path for path in files if b"sk-secret" in path.read_bytes()]
    assert "sk-secret" in settings_file().read_text()
    assert json.loads(settings_file().read_text())["key"] == "sk-secret"


def test_another_image_stops_it(started, hand, viewer, beside, qtbot):
    draw(started, hand, qtbot)
    asking = started.controller
    beside.held = 1
    ask(started)
    assert beside.begun.wait(20)
    other = viewer.add_image(np.zeros((50, 60), np.uint8), name="other")
    started.panel.image.value = other
    qtbot.waitUntil(lambda: started.controller is not asking, timeout=5000)
    assert beside.gone.wait(20)
    assert asking.describing.asked is None


PRESET = """
id = "beside"
title = "A model beside"
note = "Asked on this machine."
licence = "its own"
[server]
address = "{url}"
model = "tiny-vision"
prompt = "What is it, {{size}} large?"
"""


def take_in(tmp_path, url):
    """Take a preset of a model on a server in."""
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "preset.toml").write_text(PRESET.format(url=url))
    # One of that name may be in memory.
    shared_registry().add(folder, no_progress)


@pytest.fixture
def preset(chat, tmp_path):
    take_in(tmp_path, chat.url)
    return chat


@pytest.fixture
def preset_elsewhere(tmp_path):
    take_in(tmp_path, ELSEWHERE)


@pytest.mark.embedded
@pytest.mark.parametrize("way", ["Escape", "Cancel"])
def test_a_preset_of_a_slow_server_says_what_it_waits_for_and_stops(way, preset, dock, hand, qtbot):
    dock.models.choice.value = "beside"
    dock.panel.progress.button.click()
    controller = dock.controller
    qtbot.waitUntil(
        lambda: controller.encoder.ready and not controller.encoder.active, timeout=60_000
    )
    preset.held = 1
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, 70), (60, 110)])
    assert preset.begun.wait(20)
    qtbot.waitUntil(lambda: "Asking beside about 1 region" in dock.panel.status.text())
    qtbot.waitUntil(lambda: controller.progress is not None)
    dock.refresh()
    if way == "Escape":
        hand.key(Qt.Key.Key_Escape)
    else:
        dock.panel.progress.button.click()
    assert preset.gone.wait(20)
    assert not controller.queue.active
    assert controller.progress is None
    assert "Asking" not in dock.panel.status.text()


@pytest.mark.embedded
def test_a_preset_of_another_host_is_asked_about_before_anything_is_sent(
    preset_elsewhere, dock, qtbot, monkeypatch
):
    asked = answer_with(monkeypatch, "No")
    dock.models.choice.value = "beside"
    dock.panel.progress.button.click()
    assert ELSEWHERE in asked[0]
    assert "was not asked" in dock.panel.status.text()
    assert not dock.controller.encoder.active
    assert not dock.controller.encoder.ready
    answer_with(monkeypatch, "Yes")
    dock.panel.progress.button.click()
    assert read_settings().allowed == (ELSEWHERE,)
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60_000)


@pytest.mark.embedded
def test_a_preset_of_a_server_captions_what_is_drawn(preset, dock, hand, qtbot):
    dock.models.choice.value = "beside"
    dock.panel.progress.button.click()
    encoder = dock.controller.encoder
    qtbot.waitUntil(lambda: encoder.ready and not encoder.active, timeout=60_000)
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, 70), (60, 110)])
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: any(r.caption for r in records.values()), timeout=20_000)
    [record] = records.values()
    assert (record.caption, record.model) == ("A red bus in a street.", "beside")
    assert record.origin["server"]["model"] == "tiny-vision"
    assert f"By the model beside on {preset.url[7:-3]}" in verdict_line(record)
    # It is a model as any other: another one takes its place.
    assert not record.is_described
    # A hand on the screen is not exact.
    assert re.fullmatch(r"What is it, [\d.]+ by [\d.]+ pixels large\?", preset.prompts[0])
    # Nothing is sent of what the cursor passes.
    dock.inspect.inspect.click()
    hand.move(60, 30)
    qtbot.waitUntil(lambda: "not asked" in dock.inspect.text.text(), timeout=10_000)
    assert len(preset.prompts) == 1
    # What needs patches says so in one sentence.
    QTest.keyClicks(dock.panel.phrase.text, "a bus")
    QTest.keyClick(dock.panel.phrase.text, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.controller.search.progress is None, timeout=20_000)
    assert dock.panel.status.text().endswith(".")
    assert "picture" in dock.panel.status.text() or "text" in dock.panel.status.text()
