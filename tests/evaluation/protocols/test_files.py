from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.protocols import (
    Prediction,
    append_row,
    read_scores,
    score_predictions,
    write_page,
    write_scores,
)

if TYPE_CHECKING:
    from pathlib import Path

NASTY = "<script>alert(1)</script> & \"a\" 'b'"
ASKED = {"task": "dense", "dataset": "d.json", "model": "mini", "options": {}, "limit": None}
SAID = [
    Prediction(
        f"{place}/0", f"{place}.png", "model", (NASTY, "a dog"), NASTY, 0.5, 0.01, "box",
        "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))",
    )
    for place in range(5)
]  # fmt: skip


def scores() -> dict[str, Any]:
    scored = score_predictions(SAID, "dense")
    return {"asked": ASKED, "missing": 2, "failed": {"x.jpg": "broken"}, "scores": scored}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_scores_come_back(tmp_path: Path):
    write_scores(tmp_path / "scores.json", scores())
    assert read_scores(tmp_path / "scores.json") == scores()
    with pytest.raises(FormatError, match="holds no scores"):
        read_scores(tmp_path / "nothing.json")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(FormatError, match="that 'evaluate' wrote"):
        read_scores(tmp_path / "other.json")


def test_a_table_collects_runs_and_replaces_those_repeated(tmp_path: Path):
    path = tmp_path / "table.csv"
    append_row(path, "first", scores())
    append_row(path, "second", scores())
    append_row(path, "first", scores())

    found = rows(path)
    assert [row["run"] for row in found] == ["second", "first"]
    assert float(found[0]["cider_d"]) == pytest.approx(
        scores()["scores"]["model"]["all"]["metrics"]["cider_d"]["value"], rel=1e-4
    )


def test_a_new_metric_is_a_new_column(tmp_path: Path):
    path = tmp_path / "table.csv"
    append_row(path, "first", scores())
    later = scores()
    later["scores"]["model"]["all"]["metrics"]["spice"] = {"value": 0.2}
    append_row(path, "second", later)
    assert [row["spice"] for row in rows(path)] == ["", "0.2"]


class Tags(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_shows_images_and_needs_nothing_else(tmp_path: Path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "image.png")
    page = tmp_path / "index.html"
    write_page(page, scores(), SAID, lambda image: tmp_path / "image.png", images=3)

    text = page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.tags.count("svg") == 3
    assert tags.tags.count("rect") == 6
    assert "script" not in tags.tags
    assert tags.outside
    assert all(one.startswith("data:image/jpeg;base64,") for one in tags.outside)
    assert "3 of 5 images" in text
    assert re.search(r"2 images of the file were not in the folder", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_an_image_that_cannot_be_read_leaves_its_place(tmp_path: Path):
    (tmp_path / "bad.png").write_bytes(b"no")
    write_page(tmp_path / "i.html", scores(), SAID, lambda image: tmp_path / "bad.png")
    assert "This image cannot be read." in (tmp_path / "i.html").read_text(encoding="utf-8")
