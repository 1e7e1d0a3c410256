from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_patchioner.models import ModelCard
from napari_patchioner.viewer.panels.models import ModelChoice


def make(name, title, *, installed=True, to_get=0):
    note = f"A note about {title}."
    return ModelCard(name, title, "MIT", 1, note, installed=installed, to_get=to_get)


CARDS = (
    make("mini", "mini (built in)"),
    make("decap", "Patch-ioner: Talk2DINO-B, memory, DeCap", installed=False, to_get=2_500_000_000),
    make("clip", "CLIP ViT-B/16, retrieval"),
    make("siglip", "SigLIP 2 ViT-B/16, retrieval", installed=False, to_get=1_500_000_000),
)


@pytest.fixture
def choice(qtbot):
    made = ModelChoice()
    qtbot.addWidget(made)
    made.show_cards(CARDS, {"mini"})
    made.resize(170, made.sizeHint().height())
    made.show()
    qtbot.waitExposed(made)
    return made


def lines(choice):
    return [choice.itemText(row) for row in range(choice.count())]


def test_models_are_grouped_by_whether_they_are_there(choice):
    assert lines(choice) == [
        "Built in",
        "mini (built in)",
        "Installed",
        "CLIP ViT-B/16, retrieval — installed",
        "To get",
        "Patch-ioner: Talk2DINO-B, memory, DeCap — 2.5 GB to get",
        "SigLIP 2 ViT-B/16, retrieval — 1.5 GB to get",
    ]


def test_one_group_needs_no_heading(choice):
    choice.show_cards(CARDS[:1], {"mini"})
    assert lines(choice) == ["mini (built in)"]


def test_the_first_model_is_the_default_and_headings_cannot_be_chosen(choice):
    assert choice.value == "mini"
    for row in (0, 2, 4):
        assert not choice.model().item(row).flags() & Qt.ItemFlag.ItemIsSelectable
    QTest.keyClick(choice, Qt.Key.Key_Down)
    assert choice.value == "clip"


@pytest.mark.parametrize(
    ("typed", "found"),
    [("decap", "decap"), ("sig", "siglip"), ("clip vi", "clip"), ("zzz", "mini")],
)
def test_a_model_is_found_by_any_part_of_its_name(choice, typed, found):
    QTest.keyClicks(choice, typed)
    assert choice.value == found


def test_a_new_search_begins_after_a_pause(choice, qtbot, qapp):
    QTest.keyClicks(choice, "sig")
    qtbot.wait(2 * qapp.keyboardInputInterval() + 100)
    QTest.keyClicks(choice, "decap")
    assert choice.value == "decap"


def test_the_list_can_be_searched_while_it_is_open(choice, qtbot):
    choice.showPopup()
    qtbot.waitExposed(choice.view())
    QTest.keyClicks(choice.view(), "siglip")
    QTest.keyClick(choice.view(), Qt.Key.Key_Return)
    assert choice.value == "siglip"


def test_the_open_list_is_wide_enough_and_asks_for_news(choice, qtbot):
    asked = []
    choice.opening.connect(lambda: asked.append(True))
    choice.showPopup()
    qtbot.waitExposed(choice.view())
    view = choice.view()
    assert asked
    assert view.viewport().width() >= view.sizeHintForColumn(0) > choice.width()
    choice.hidePopup()


def test_a_long_title_does_not_widen_the_dock(choice):
    before = choice.minimumSizeHint().width()
    choice.value = "decap"
    assert choice.minimumSizeHint().width() == before
    choice.repaint()


def test_the_chosen_model_stays_chosen_when_the_list_changes(choice):
    told = []
    choice.changed.connect(told.append)
    choice.value = "siglip"
    choice.show_cards((*CARDS[:3], make("siglip", CARDS[3].title)), {"mini"})
    assert choice.value == "siglip"
    assert "SigLIP 2 ViT-B/16, retrieval — installed" in lines(choice)
    choice.show_cards(CARDS[:3], {"mini"})
    assert choice.value == "mini"
    assert told == ["siglip", "mini"]


def test_the_tooltip_is_of_the_chosen_model(choice):
    choice.value = "clip"
    assert "A note about CLIP" in choice.toolTip()
