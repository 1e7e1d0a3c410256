"""Finding by text over a folder, from the command line."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from skimage import data

from napari_patchioner.annotations import read_annotations
from napari_patchioner.cli import main
from napari_patchioner.regions import Box


@pytest.fixture
def folder(tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    Image.fromarray(data.cat()).save(scans / "cat.png")
    Image.fromarray(data.coffee()).save(scans / "cup.png")
    Image.fromarray(data.cat()).resize((1804, 1200)).save(scans / "large.png")
    return scans


def test_images_are_listed_by_how_likely_they_show_it(folder, tmp_path, mini, capsys):
    out = tmp_path / "found.csv"
    asked = ["find", str(folder), "--phrase", "a cat, not a dog", "--not", "car", "--out", str(out)]
    assert main(asked, load=lambda _: mini) == 0
    printed, err = capsys.readouterr()
    listed = [line.split("\t") for line in printed.splitlines()]
    assert [row[0] for row in listed] == ["1", "2"]
    assert {row[3] for row in listed} == {"cat.png", "large.png"}
    assert all(0.5 <= float(row[1]) <= 1 for row in listed)
    assert "on 3 images" in err
    assert "wrong" not in err
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {"cat.png", "large.png"}
    assert {(row["caption"], row["source"], row["model"]) for row in rows} == {
        ("a cat", "model", "mini")
    }
    assert {row["found_by"] for row in rows} == {"a cat, not a dog, not car"}
    # Boxes are pixels of the image itself, which was read in a smaller size.
    [large] = [row for row in read_annotations(out) if row.image == "large.png"]
    assert isinstance(large.region, Box)
    assert 900 < large.region.right - large.region.left <= 1804


def test_any_of_a_list_is_found_and_and_lists_images_that_show_all(folder, tmp_path, mini, capsys):
    both = np.concatenate([data.cat(), data.coffee()[50:350, 30:480]], axis=1)
    Image.fromarray(both).save(folder / "both.png")
    out = tmp_path / "found.csv"
    for phrase, is_any in (("a cat, a cup", True), ("a cat and a cup", False)):
        asked = ["find", str(folder), "--phrase", phrase, "--out", str(out), "--overwrite"]
        assert main([*asked, "--least", "0.1"], load=lambda _: mini) == 0
        listed = [line.split("\t")[3] for line in capsys.readouterr().out.splitlines()]
        assert "both.png" in listed
        # There is no cat.
        assert ("cup.png" in listed) is is_any
        rows = read_annotations(out)
        assert {row.caption for row in rows} == {"a cat", "a cup"}
        assert {row.extra["found_by"] for row in rows} == {phrase}
    asked = ["find", str(folder), "--phrase", "a cat and a qwrtzp", "--out", str(out)]
    main([*asked, "--overwrite"], load=lambda _: mini)
    assert "leave that out" in capsys.readouterr().err


def test_what_no_image_can_show_is_said_at_once(folder, tmp_path, mini, capsys):
    asked = ["find", str(folder), "--phrase", "qwrtzp", "--out", str(tmp_path / "f.csv")]
    assert main(asked, load=lambda _: mini) == 2
    assert "mini knows nothing like 'qwrtzp'" in capsys.readouterr().err
    assert not list(tmp_path.glob("f.csv*"))


def test_an_image_that_is_no_photograph_is_no_failure(folder, tmp_path, mini, capsys):
    Image.fromarray(data.immunohistochemistry()).save(folder / "tissue.png")
    out = tmp_path / "found.csv"
    asked = ["find", str(folder), "--phrase", "a cat", "--quick", "--out", str(out)]
    assert main(asked, load=lambda _: mini) == 0
    assert "1 image is no photograph, and mini names nothing there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("found.csv*")] == ["found.csv"]
    asked[3] = "a cup"
    assert main([*asked, "--overwrite"], load=lambda _: mini) == 0


def test_a_large_image_is_searched_part_by_part_unless_in_a_hurry(tmp_path, mini):
    pixels = np.asarray(Image.fromarray(data.coffee()).resize((3000, 1000))).copy()
    pixels[850:950, 2500:2650] = np.asarray(Image.fromarray(data.cat()).resize((150, 100)))
    Image.fromarray(pixels).save(tmp_path / "large.png")
    found = {}
    for quick in ([], ["--quick"]):
        out = tmp_path / f"found{len(quick)}.csv"
        asked = ["find", str(tmp_path / "large.png"), "--phrase", "a cat", "--out", str(out)]
        assert main([*asked, *quick], load=lambda _: mini) == 0
        found[len(quick)] = read_annotations(out)
    assert any(700 < row.region.top < row.region.bottom < 1000 for row in found[0])
    assert found[1] == []


def test_what_is_not_wanted_goes_with_a_phrase(folder, tmp_path, mini, capsys):
    like = tmp_path / "like.csv"
    like.write_text("image,name\n", encoding="utf-8")
    asked = ["find", str(folder), "--like", str(like), "--not", "car", "--out", "f.csv"]
    assert main(asked, load=lambda _: mini) == 2
    assert "--not goes with --phrase" in capsys.readouterr().err


def test_words_that_count_for_nothing_are_said(folder, tmp_path, mini, capsys):
    out = tmp_path / "found.csv"
    for phrase, said in (
        ("two sleeping cats", "'two' and 'sleeping' count for nothing with mini"),
        ("a sleeping cat", "'sleeping' counts for nothing with mini"),
    ):
        asked = ["find", str(folder / "cat.png"), "--phrase", phrase, "--quick", "--overwrite"]
        assert main([*asked, "--out", str(out)], load=lambda _: mini) == 0
        assert said in capsys.readouterr().err
    asked[3] = "a cat"
    assert main([*asked, "--out", str(out)], load=lambda _: mini) == 0
    assert "for nothing" not in capsys.readouterr().err
