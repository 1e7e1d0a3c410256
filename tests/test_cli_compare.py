"""``napari-patchioner compare``: regions with each other, and over the slices of a stack."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from napari_patchioner.annotations import Annotation, write_annotations
from napari_patchioner.cli import main
from napari_patchioner.regions import Box

if TYPE_CHECKING:
    from pathlib import Path

CAT, CUP = data.cat()[:300, :400], data.coffee()[50:350, 30:430]
BOX = Box(20, 60, 280, 380)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(np.concatenate([CAT, CUP], axis=1)).save(tmp_path / "both.png")
    stack = np.stack([CUP] * 2 + [CAT] * 3)
    tifffile.imwrite(tmp_path / "stack.tif", stack, metadata={"axes": "ZYXS"}, photometric="rgb")
    cup, away = Box(40, 500, 290, 790), Box(2000, 2000, 2100, 2100)
    two = [Annotation("the cat", "both.png", BOX), Annotation("the cup", "both.png", cup)]
    write_annotations(tmp_path / "two.csv", two)
    write_annotations(tmp_path / "one.csv", [Annotation("a", "stack.tif", BOX)])
    said = [two[0], Annotation("s", "both.png", cup, "a sofa", source="human")]
    write_annotations(tmp_path / "away.csv", [Annotation("far", "both.png", away), *said])
    far = [Annotation("far", "stack.tif", away), Annotation("a", "stack.tif", BOX)]
    write_annotations(tmp_path / "away_of_stack.csv", far)
    write_annotations(tmp_path / "alone.csv", [Annotation("far", "both.png", away), two[0]])
    return tmp_path


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_regions_are_compared_with_each_other(folder, capsys):
    assert main(["compare", str(folder / "both.png"), "--regions", str(folder / "two.csv")]) == 0
    captured = capsys.readouterr()
    rows = {row["what"]: row for row in table(captured.out)}
    assert "cat" in rows["caption"]["the cat"]
    assert float(rows["cat"]["the cat"]) > 0.9 > float(rows["cat"]["the cup"])
    assert "the cat: " in captured.err
    assert "; the cup: " in captured.err


def test_what_people_wrote_counts_and_what_lies_outside_is_left_out(folder, capsys):
    given = [str(folder / "both.png"), "--regions", str(folder / "away.csv")]
    assert main(["compare", *given]) == 1
    captured = capsys.readouterr()
    rows = {row["what"]: row for row in table(captured.out)}
    assert set(rows["caption"]) == {"what", "the cat", "s"}
    assert rows["caption"]["s"] == "a sofa"
    assert "region 'far': The region lies outside the image" in captured.err
    stack = [str(folder / "stack.tif"), "--regions", str(folder / "away_of_stack.csv"), "--slices"]
    assert main(["compare", *stack]) == 1
    captured = capsys.readouterr()
    assert {row["uid"] for row in table(captured.out)} == {"a"}
    assert "region 'far': " in captured.err


def test_a_region_is_compared_over_the_slices_of_a_stack(folder):
    out = folder / "out.csv"
    given = [str(folder / "stack.tif"), "--regions", str(folder / "one.csv"), "--slices"]
    assert main(["compare", *given, "--out", str(out)]) == 0
    rows = table(out.read_text(encoding="utf-8"))
    assert [row["slice"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["uid"] for row in rows} == {"a"}
    stretches = [row["stretch"] for row in rows]
    assert stretches[0] == stretches[1] != stretches[2] == stretches[3] == stretches[4]
    assert "cat" in stretches[4]


@pytest.mark.parametrize(
    ("image", "regions", "more", "message"),
    [
        ("both.png", "two.csv", ["--slices"], "is a single plane"),
        ("stack.tif", "one.csv", ["--slices", "t"], "has slices along z, but not along t"),
        ("stack.tif", "one.csv", [], "two or more can be compared, or one with --slices"),
        ("both.png", "alone.csv", [], "holds 1 region that lies on both.png; two or more"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(
    folder, capsys, image, regions, more, message
):
    given = [str(folder / image), "--regions", str(folder / regions), *more]
    assert main(["compare", *given]) == 2
    assert message in capsys.readouterr().err


def test_a_file_without_regions_of_the_image_is_refused(folder, capsys):
    given = [str(folder / "both.png"), "--regions", str(folder / "one.csv")]
    assert main(["compare", *given]) == 2
    assert "holds no region of both.png" in capsys.readouterr().err
