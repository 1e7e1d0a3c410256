from __future__ import annotations

from pathlib import Path

import pytest

from napari_patchioner.models import ModelCard
from napari_patchioner.viewer.panels import models

PAPER = ModelCard(
    "paper",
    "Paper <B>",
    "MIT",
    2_000_000_000,
    "What the paper used, told in a sentence that is long enough to be broken somewhere in it.",
    ram=3_000_000_000,
    installed=False,
    to_get=1_900_000_000,
    sources=("owner/weights", "owner/bank"),
    row="Table 1",
)
HERE = ModelCard("here", "Here", "MIT", 5_000_000, "There already.")


@pytest.mark.parametrize(
    ("card", "marks", "expected"),
    [
        (PAPER, {}, "Paper <B> — 1.9 GB to get"),
        (PAPER, {"coming": True}, "Paper <B> — on its way"),
        (HERE, {}, "Here — installed"),
        (HERE, {"built_in": True}, "Here"),
    ],
)
def test_a_line_tells_the_state(card, marks, expected):
    assert models.line(card, **marks) == expected


def test_the_tooltip_has_all_that_is_known_in_short_lines():
    lines = models.tooltip(PAPER).splitlines()
    text = " ".join(map(str.strip, lines))
    for fact in ("told in a sentence", "Table 1", "MIT", "owner/bank", "2.0 GB", "3.0 GB"):
        assert fact in text
    assert max(map(len, lines)) <= models.WIDTH


def test_the_tooltip_leaves_out_what_nobody_knows():
    assert "Memory" not in models.tooltip(HERE)
    assert "From" not in models.tooltip(HERE)


def test_the_question_tells_size_source_licence_place_and_memory():
    text = models.question(PAPER, Path("/models"), 16_000_000_000)
    for fact in (
        "1.9 GB",
        "owner/weights<br>owner/bank",
        "MIT",
        "3.0 GB; this machine has 16.0 GB",
    ):
        assert fact in text
    assert str(Path("/models")) in text


def test_the_question_warns_where_memory_is_short():
    text = models.question(PAPER, Path("models"), 2_000_000_000)
    assert "3.0 GB; but this machine has only 2.0 GB" in text


def test_the_question_does_not_guess():
    text = models.question(HERE, Path("models"), None)
    assert "Memory" not in text
    assert "size not known" in text
    assert "machine" not in models.question(PAPER, Path("models"), None)


def test_this_machine_has_memory():
    assert models.machine_memory() > 100_000_000
