from __future__ import annotations

import csv
import re
from dataclasses import replace
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
    assert tags.tags.count("path") == 6
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


def test_no_name_in_a_table_runs_in_a_spreadsheet(tmp_path: Path):
    path = tmp_path / "table.csv"
    told = scores() | {"asked": {**ASKED, "dataset": "=cmd|' /C calc'!A0", "model": "@SUM(1)"}}
    append_row(path, "-1+1", told)
    append_row(path, "=1+1", told)
    append_row(path, "=1+1", told)  # found again under the name it was given
    cells = [row for row in rows(path) if row["run"]]
    assert [row["run"] for row in cells] == ["'-1+1", "'=1+1"]
    assert not [c for row in cells for c in row.values() if c[:1] in "=+-@" and not _number(c)]


def _number(text: str) -> bool:
    return not text or bool(re.fullmatch(r"-?[\d.]+(e-?\d+)?", text))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"uid,caption\n1,a\n", "needs the column 'run'"),
        (b"run,a\n1,2,3\n", "row 2: has 3 cells"),
        (b"run\n\xff\n", "UTF-8"),
        (b'run\n"a', "quoting is broken"),
    ],
)
def test_a_file_that_is_no_table_of_runs_is_told_and_kept(tmp_path: Path, data: bytes, why: str):
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=why):
        append_row(path, "first", scores())
    assert path.read_bytes() == data


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path):
    path = tmp_path / "table.csv"
    append_row(path, "first", scores())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    append_row(path, "second", scores())
    assert [row["run"] for row in rows(path)] == ["first", "second"]


@pytest.mark.parametrize("kind", ["trace", "ellipse", "mask", "point", "set", "image", "polygon"])
def test_a_region_of_any_kind_is_drawn_on_the_page(tmp_path: Path, kind: str):
    Image.new("RGB", (40, 30)).save(tmp_path / "image.png")
    square = "POLYGON ((2 2, 9 2, 9 9, 2 9, 2 2))"
    drawn = {
        "trace": ("LINESTRING (1 2, 3 4)", "<path class=line"),
        "ellipse": (square, "<circle"),
        "mask": ("RLE (3 4, 2 2, 04)", "<path"),
        "point": ("POINT (3 4)", "<circle"),
        "set": (f"GEOMETRYCOLLECTION ({square}, POINT (3 4))", "<circle"),
        "image": ("POLYGON EMPTY", "<rect"),
        "polygon": ("POLYGON ((2 2, 9 2, 9 9, 2 2))", "<path"),
    }
    geometry, expected = drawn[kind]
    one = replace(SAID[0], kind=kind, geometry=geometry)
    write_page(tmp_path / "i.html", scores(), [one], lambda image: tmp_path / "image.png")
    assert expected in (tmp_path / "i.html").read_text(encoding="utf-8")
