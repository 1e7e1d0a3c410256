"""Outlines by a model for outlines, with random weights: in a real window, by mouse."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from tiny_sam2 import write_sam2

from napari_patchioner.models import get_model
from napari_patchioner.viewer.layers.geometry import record_region


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    stick = tmp_path_factory.mktemp("stick")
    folder = stick / "facebook" / "sam2.1-hiera-tiny"
    folder.mkdir(parents=True)
    write_sam2(folder)
    return stick


@pytest.fixture
def sam2(weights, monkeypatch):
    from napari_patchioner.viewer.workers.sharpen import segmenter_named

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    get_model("sam2-tiny", folder=weights)
    segmenter_named.cache_clear()
    yield
    segmenter_named.cache_clear()


def outline_menu(dock, title):
    [line] = [line for line in dock.panel.outline.menu().actions() if line.text() == title]
    return line


def draw(dock, hand, qtbot):
    """Draw a box, have it captioned and selected; return its record."""
    dock.panel.draw.buttons["Box"].click()
    hand.drag([(20, 70), (60, 110)])
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: any(r.caption for r in records.values()), timeout=10_000)
    [record] = records.values()
    dock.controller.select([record.uid])
    dock.refresh()
    return record


@pytest.mark.every_qt
def test_a_box_gets_the_outline_of_its_pixels_as_one_step(sam2, started, hand, qtbot):
    box = draw(started, hand, qtbot)
    controller = started.controller
    outline_menu(started, "Sharpen outline").trigger()
    qtbot.waitUntil(lambda: controller.sharpener.progress is None, timeout=60_000)
    record = controller.session.records[box.uid]
    assert record.seen.shape_type == "polygon"
    assert record.outlined_by == "sharpened by sam2-tiny"
    assert controller.layer("regions").shape_type == ["polygon"]
    assert controller.selected() == [box.uid]
    # It lies in what was encoded: the box and half of its size around it.
    area = record_region(record, controller.session, (0, 1)).inside()
    assert shapely.box(49, -1, 131, 81).contains(area)
    qtbot.waitUntil(lambda: bool(controller.session.records[box.uid].caption), timeout=10_000)
    started.panel.buttons["undo"].click()
    record = controller.session.records[box.uid]
    assert (record.seen.shape_type, record.outlined_by) == ("rectangle", "")


def test_a_click_is_outlined_by_it_on_demand(sam2, started, hand, qtbot):
    controller = started.controller
    line = outline_menu(started, "Grow with SAM 2.1")
    line.trigger()
    assert controller.grower.segmenter == "sam2-tiny"
    started.panel.draw.buttons["Grow"].click()
    hand.click(40, 90)
    records = controller.session.records
    qtbot.waitUntil(lambda: len(records) == 1, timeout=60_000)
    [record] = records.values()
    assert record.outlined_by == "grown from 1 click by sam2-tiny"
    assert np.allclose(record.clicks[0], [(40, 90)], atol=2)
    line.trigger()
    assert controller.grower.segmenter == ""


def test_without_the_model_it_says_how_to_get_it(started, hand, qtbot):
    draw(started, hand, qtbot)
    outline_menu(started, "Sharpen outline").trigger()
    assert "models get sam2-tiny" in started.panel.status.text()
    line = outline_menu(started, "Grow with SAM 2.1")
    line.trigger()
    assert "models get sam2-tiny" in started.panel.status.text()
    assert not line.isChecked()


def test_what_is_no_area_is_not_sharpened(sam2, started, hand, qtbot):
    started.panel.draw.buttons["Trace"].click()
    hand.drag([(90, 10), (100, 30), (95, 50)])
    records = started.controller.session.records
    qtbot.waitUntil(lambda: len(records) == 1, timeout=10_000)
    started.controller.select(list(records))
    started.refresh()
    outline_menu(started, "Sharpen outline").trigger()
    assert "Select a box" in started.panel.status.text()
