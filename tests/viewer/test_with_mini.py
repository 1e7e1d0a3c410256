"""The main job with the model that ships: draw on a photograph, read, correct, export."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest
from skimage import data

from napari_patchioner.annotations import read_napari_csv, read_tidy_csv
from napari_patchioner.models import available_models
from napari_patchioner.viewer.panels.models import ID
from napari_patchioner.viewer.workers.models import shared_registry


@pytest.fixture
def registry():
    return shared_registry()


@pytest.fixture
def picture():
    return data.coffee()


def test_draw_read_correct_and_export(dock, hand, guide, qtbot, tmp_path):
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=120_000)
    guide.draw_all(dock, hand)
    qtbot.waitUntil(
        lambda: len(guide.captions(dock)) == 4 and all(guide.captions(dock)), timeout=60_000
    )
    dock.panel.buttons["caption_whole"].click()
    qtbot.waitUntil(lambda: bool(dock.panel.whole.editor.toPlainText()), timeout=60_000)
    dock.panel.draw.buttons["Select"].click()
    hand.click(*guide.IN_THE_BOX)
    editor = dock.panel.caption.editor
    assert editor.toPlainText()
    assert dock.panel.caption.verdict.text().startswith("By the model")
    editor.selectAll()
    QTest.keyClicks(editor, "the cup I ordered")
    dock.export_csv(tmp_path / "coffee.csv")
    check_files(tmp_path, guide.captions(dock))


def check_files(folder, captions):
    rows = read_tidy_csv(folder / "coffee.regions.csv")
    assert [row.kind for row in rows] == ["box", "polygon", "polygon", "trace", "image"]
    assert [row.caption for row in rows[:4]] == captions
    assert [row.source for row in rows] == ["edited", "model", "model", "model", "model"]
    assert rows[0].caption == "the cup I ordered"
    assert {row.model for row in rows} == {"mini"}
    assert all(0 < float(row.extra["familiarity"]) <= 1 for row in rows)
    assert all(0 <= row.score <= 1 for row in rows[1:])
    assert [row.uid for row in read_napari_csv(folder / "coffee.csv")] == [
        row.uid for row in rows[:4]
    ]


def test_the_window_answers_while_the_model_reads(dock, registry, qtbot, monkeypatch):
    ticks, during = [], []
    with registry.using("mini") as model:
        plainly = model.backbone.encode

    def encode(*arguments, **options):
        before = len(ticks)
        grid = plainly(*arguments, **options)
        during.append(len(ticks) - before)
        return grid

    monkeypatch.setattr(model.backbone, "encode", encode)
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(1))
    timer.start(1)
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=120_000)
    timer.stop()
    # However long the passes through the network take, the window's turn comes in between.
    assert during
    assert min(during) > 2


def test_tissue_is_described_without_naming_objects(dock, viewer, qtbot):
    calibrated = {"scale": (0.5, 0.5), "units": ("um", "um")}
    image = viewer.add_image(data.immunohistochemistry(), name="tissue", **calibrated)
    dock.panel.image.value = image
    dock.panel.progress.button.click()
    dock.panel.buttons["caption_whole"].click()
    qtbot.waitUntil(lambda: bool(dock.panel.whole.editor.toPlainText()), timeout=120_000)
    assert "This image is unlike anything mini knows" in dock.panel.status.text()
    verdict = dock.panel.whole.verdict.text()
    assert "appearance only, no object named; unlike anything it knows" in verdict
    assert " µm across" in dock.panel.whole.editor.toPlainText()


def test_every_model_is_listed_and_a_paper_size_one_asks_first(dock, monkeypatch, tmp_path, qtbot):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    choice = dock.models.choice
    dock.models.refresh()
    ids = [card.id for card in available_models()]
    assert {choice.itemData(row, ID) for row in range(choice.count())} - {None} == set(ids)
    assert choice.value == "mini"
    paper = next(card for card in available_models() if card.sources)
    choice.value = paper.id
    assert "to get" in choice.currentText()
    dock.panel.progress.button.click()
    question = dock.models.question
    assert str(tmp_path) in question.informativeText()
    assert paper.sources[0] in question.informativeText()
    question.no.click()
    qtbot.waitUntil(lambda: dock.models.question is None, timeout=5000)
    assert not list(tmp_path.iterdir())
    choice.value = "mini"
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=120_000)
    assert dock.controller.encoder.model == "mini"
