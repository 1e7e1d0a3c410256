"""A phrase over a folder: the images that show it are listed, the likeliest first."""

from __future__ import annotations

import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data

from napari_patchioner.viewer.folder.dock import NAME, STATUS

pytestmark = pytest.mark.embedded


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(data.coffee()).save(images / "a.png")
    Image.fromarray(data.cat()).save(images / "b.png")
    Image.fromarray(data.immunohistochemistry()).save(images / "c.png")
    return images


@pytest.fixture
def browser(place, folder, qtbot):
    place.open_folder(folder)
    qtbot.waitUntil(lambda: len(place.browser.listing.statuses) == 3, timeout=5000)
    return place.browser


def listed(place, column=NAME):
    model = place.panel.table.files
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def ask(place, qtbot, phrase):
    field = place.panel.phrase
    field.clear()
    QTest.mouseClick(field, Qt.MouseButton.LeftButton)
    QTest.keyClicks(field, phrase)
    QTest.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not place.panel.browser.ranking.active, timeout=60_000)


def test_images_that_show_it_are_listed_and_can_be_gone_through(quiet, browser, place, qtbot):
    everything = ["a.png", "b.png", "c.png"]
    qtbot.waitUntil(lambda: listed(place) == everything, timeout=5000)
    ask(place, qtbot, "an animal")
    qtbot.waitUntil(lambda: listed(place) == ["b.png"], timeout=5000)
    assert float(listed(place, STATUS)[0]) > 0.5
    assert "'an animal': 1 image of 3" in place.panel.message.text()
    assert "1 image could not be searched" in place.panel.message.text()
    assert "c.png is no photograph" in place.panel.message.toolTip()
    ask(place, qtbot, "a cup, not a cat")
    assert listed(place)[0] == "a.png"
    place.panel.phrase.clear()
    assert listed(place) == everything


def test_a_word_that_no_image_can_show_is_said(quiet, browser, place, qtbot):
    ask(place, qtbot, "qwrtzp")
    assert "knows nothing like 'qwrtzp'" in place.panel.message.text()
    assert listed(place) == []
    place.panel.phrase.clear()
    assert len(listed(place)) == 3


def test_the_whole_of_a_long_line_is_in_its_tooltip_and_nothing_gets_wider(
    quiet, browser, place, qtbot
):
    panel = place.panel
    width, said = panel.minimumSizeHint().width(), []
    browser.messaged.connect(lambda message: said.append((message, panel.message.toolTip())))
    for phrase in (f"a cat on a {'m' * 150}", "w" * 190):
        ask(place, qtbot, phrase)
        assert panel.minimumSizeHint().width() == width
    assert any(message.startswith("looking for 'a cat on a mm") for message, _ in said)
    assert all(message[1:] in tip for message, tip in said)


def test_escape_in_the_field_stops_it(quiet, browser, place, qtbot):
    QTest.keyClicks(place.panel.phrase, "a cat")
    QTest.keyClick(place.panel.phrase, Qt.Key.Key_Return)
    assert browser.ranking.active
    QTest.keyClick(place.panel.phrase, Qt.Key.Key_Escape)
    assert not browser.ranking.active
    assert "Stopped" in place.panel.message.text()


def test_it_can_be_stopped(quiet, browser, place, qtbot):
    QTest.keyClicks(place.panel.phrase, "a cat")
    place.panel.find.click()
    assert browser.ranking.active
    qtbot.waitUntil(lambda: place.panel.find.text() == "Stop", timeout=5000)
    place.panel.find.click()
    assert not browser.ranking.active
    assert place.panel.find.text() == "Find"


def test_enter_looks_for_another_phrase_in_place_of_the_first(quiet, browser, place, qtbot):
    field = place.panel.phrase
    QTest.keyClicks(field, "a cup")
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert browser.ranking.active
    field.clear()
    QTest.keyClicks(field, "an animal")
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert browser.ranking.active
    assert browser.ranking.phrase == "an animal"
    qtbot.waitUntil(lambda: not browser.ranking.active, timeout=60_000)
    assert listed(place) == ["b.png"]


def test_the_phrase_comes_along_with_an_image_that_is_opened(quiet, browser, place, qtbot):
    ask(place, qtbot, "an animal")
    browser.step(1)
    qtbot.waitUntil(lambda: browser.opened is not None, timeout=20_000)
    assert browser.opened.dock.phrase.text.text() == "an animal"
