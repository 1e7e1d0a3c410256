"""What is kept of texts, what is dropped, and what is said of it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.errors import Cancelled
from napari_patchioner.texts import TextList, TextReport, cleaned, unfit, unique_texts


@given(st.text(max_size=60))
def test_cleaning_twice_changes_nothing(text):
    once = cleaned(text)
    assert cleaned(once) == once == unicodedata.normalize("NFC", " ".join(once.split()))
    assert not any(unicodedata.category(sign) in ("Cc", "Zl", "Zp", "Cs") for sign in once)


@given(st.lists(st.text("aAbB 1\t\u200b", max_size=5), max_size=40))
def test_each_text_is_kept_once_and_in_order(texts):
    report = TextReport()
    kept = list(unique_texts([TextList("list", tuple(texts))], report))
    wanted = {}
    for text in map(cleaned, texts):
        if not unfit(text):
            wanted.setdefault(text.casefold(), text)
    assert kept == list(wanted.values())
    assert report.read == len(texts) == report.kept + sum(d.count for d in report.dropped.values())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\u0000b\u0007c", "a b c"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u202eright to left\u202c", "right to left"),
        ("שלום עולם", "שלום עולם"),
        ("👩\u200d🔬 at work", "👩\u200d🔬 at work"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\ufefffirst\u2028second", "first second"),
        ("soft\u00adhyphen\u00a0here", "softhyphen here"),
    ],
)
def test_signs_nobody_sees_go_and_scripts_stay(text, wanted):
    assert cleaned(text) == wanted


def test_what_is_dropped_is_said_with_its_line():
    text = "A cell.\n\n 12 \na  CELL.\n" + "long " * 100 + "\n?!\nanother cell"
    report = TextReport()
    assert list(unique_texts([TextList.pasted(text, "mine")], report)) == [
        "A cell.",
        "another cell",
    ]
    assert report.sentences()[:3] == [
        "2 of 7 texts kept",
        "1 empty, such as line 2 of mine",
        "2 without words, such as line 3 of mine: '12'",
    ]
    assert {why: dropped.count for why, dropped in report.dropped.items()} == {
        "empty": 1,
        "without words": 2,
        "there already": 1,
        "too long": 1,
    }
    assert len(report.dropped["too long"].examples[0].text) == 80


def test_equal_lines_by_the_thousand_are_one():
    report = TextReport()
    source = TextList("list", ("the same cell",) * 100_000)
    assert list(unique_texts([source], report)) == ["the same cell"]
    assert report.dropped["there already"].count == 99_999
    assert len(report.dropped["there already"].examples) == 5


def test_reading_can_be_cancelled():
    def cancel(fraction, message):
        raise Cancelled

    source = TextList("list", tuple(f"cell {n}" for n in range(20_000)))
    with pytest.raises(Cancelled):
        list(unique_texts([source], progress=cancel))
