"""Runs over folders as a person starts them: what is kept, tried again, and told."""

from __future__ import annotations

import csv
import json

import colours
import numpy as np
import pytest
from PIL import Image

from napari_patchioner.annotations import read_annotations, write_annotations
from napari_patchioner.cli import main

BOX = '"POLYGON ((0 0, 16 0, 16 16, 0 16, 0 0))"\n'


def no_model(name):
    raise AssertionError(f"{name} is needed too early")


@pytest.fixture
def caption(pictures, tmp_path, monkeypatch, capsys):
    """Return what runs the command line in an empty folder and gives status, output and words."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, load=colours.load):
        status = main(["caption", *map(str, arguments)], load=load)
        out, told = capsys.readouterr()
        return status, out, told

    return run


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_failed_is_tried_again_and_the_rest_is_not(pictures, tmp_path, caption):
    folder, out = pictures(5), tmp_path / "out.csv"
    bad = folder / "0002.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:40])
    asked = ("pictures", "--regions", "whole", "--out", "out.csv")
    status, stdout, told = caption(*asked)
    assert (status, stdout) == (1, "")
    assert "4 done, 0 skipped, 1 failed" in told
    assert "0002.png: is not an image" in told
    assert [bool(row["caption"]) for row in rows(out)] == [True, True, False, True, True]
    status, _, told = caption(*asked)
    assert (status, "add --resume" in told) == (2, True)
    bad.write_bytes(good)
    status, _, told = caption(*asked, "--resume")
    assert status == 0
    assert "1 done, 4 from before, 0 skipped, 0 failed" in told
    assert all(row["caption"] for row in rows(out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "pictures"]


def test_an_image_that_changed_meanwhile_is_captioned_again(pictures, tmp_path, caption):
    folder = pictures(4)
    (folder / "0003.png").write_bytes(b"bad")
    asked = ("pictures", "--regions", "whole", "--out", "out.csv")
    assert caption(*asked)[0] == 1
    Image.new("RGB", (32, 16), (0, 0, 200)).save(folder / "0001.png")
    status, _, told = caption(*asked, "--resume")
    assert (status, "1 done, 2 from before, 0 skipped, 1 failed" in told) == (1, True)
    assert [row["caption"] for row in rows(tmp_path / "out.csv")][1] == "blue"


def test_a_run_goes_on_with_more_images_and_refuses_other_regions(pictures, tmp_path, caption):
    folder = pictures(4)
    (folder / "0003.png").write_bytes(b"bad")
    first = ("pictures/0000.png", "pictures/0003.png", "--out", "out.csv")
    assert caption(*first, "--regions", "whole")[0] == 1
    for other in (("--regions", "grid:2"), ("--regions", "whole", "--beams", "1")):
        status, _, told = caption(*first, *other, "--resume")
        assert (status, "was begun with other" in told) == (2, True)
    (folder / "0003.png").unlink()
    status, _, told = caption("pictures", "--regions", "whole", "--out", "out.csv", "--resume")
    assert (status, "2 done, 1 from before" in told) == (0, True)
    assert len(rows(tmp_path / "out.csv")) == 3


def test_only_empty_fills_the_gaps_and_keeps_all_else(pictures, tmp_path, caption):
    folder = pictures(3)
    assert caption("pictures", "--regions", "grid:2", "--out", "out.csv")[0] == 0
    said = read_annotations(tmp_path / "out.csv")
    from dataclasses import replace

    said[5] = replace(said[5], caption="", source="", score=None, extra={})
    said[6] = replace(said[6], caption="by hand", source="human", score=None)
    write_annotations(tmp_path / "gaps.csv", said)
    table = ("--regions", "gaps.csv", "--model", "other", "--out", "gaps.csv", "--only-empty")
    status, _, told = caption(folder, *table)
    assert (status, "1 done, 2 skipped, 0 failed" in told) == (0, True)
    found = rows(tmp_path / "gaps.csv")
    assert [row["model"] for row in found].count("other") == 1
    assert (found[5]["model"], found[6]["caption"]) == ("other", "by hand")


@pytest.mark.parametrize("suffix", ["csv", "json", "geojson", "parquet"])
def test_formats_are_told_by_their_endings_and_get_the_sizes(pictures, tmp_path, caption, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    pictures(3)
    out = tmp_path / f"out.{suffix}"
    assert caption("pictures", "--regions", "grid:2", "--out", out.name)[0] == 0
    # A GeoJSON file is about one image.
    files = [out] if suffix != "geojson" else sorted(tmp_path.glob("out-000?.geojson"))
    found = [one for file in files for one in read_annotations(file)]
    assert [one.uid for one in found] == ["r1c1", "r1c2", "r2c1", "r2c2"] * 3
    assert all(one.caption and one.model == "mini" for one in found)
    if suffix == "json":
        images = json.loads(out.read_text())["images"]
        assert {(one["height"], one["width"]) for one in images} == {(16, 32)}


def test_what_a_format_cannot_hold_is_told(pictures, tmp_path, caption):
    pictures(2)
    asked = ("pictures", "--format", "napari", "--out", "out.csv", "--regions")
    status, _, told = caption(*asked, "whole", load=no_model)
    assert (status, told.count("\n")) == (2, 1)
    assert "no place for what is to be captioned (whole images)" in told
    regions = tmp_path / "regions.csv"
    regions.write_text("image,uid,kind,wkt\n,a,image,\n,b,point,POINT (3 4)\n,c,box," + BOX)
    status, _, told = caption(*asked, str(regions))
    assert status == 0
    assert "4 of 6 regions are left out, which this format cannot hold, such as 'a'" in told


def test_a_format_that_is_unknown_is_told_before_any_work(pictures, caption):
    pictures(2)
    status, stdout, told = caption("pictures", "--regions", "whole", "--out", "out.clay")
    assert (status, stdout, told.count("\n")) == (2, "", 1)
    assert "'out.clay' is unknown" in told


def test_nothing_is_left_behind_where_nothing_was_done(pictures, tmp_path, caption):
    pictures(2)
    asked = ("pictures", "--regions", "whole", "--out", "out.csv")
    for workers in ("1", "2"):
        status, _, told = caption(*asked, "--workers", workers, load=colours.load_nothing)
        assert (status, "there is no model 'mini'" in told) == (2, True)
        assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_images_of_one_name_go_by_their_paths(tmp_path, caption):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(tmp_path / folder / "x.png")
    status, stdout, _ = caption(".", "-r", "--regions", "whole")
    assert status == 0
    assert [line.split(",")[0] for line in stdout.splitlines()] == ["image", "a/x.png", "b/x.png"]


def test_more_failures_than_anybody_reads_are_counted(pictures, caption):
    folder = pictures(25)
    for path in folder.iterdir():
        path.write_bytes(b"bad")
    status, _, told = caption("pictures", "--regions", "whole", "--out", "out.csv")
    assert status == 1
    assert told.count("is not an image") == 20
    assert "and 5 more" in told


_SIZED = {
    "out.json": [],
    "tasks.json": ["--format", "label-studio"],
    "yolo": ["--format", "yolo"],
    "labelme": ["--format", "labelme"],
    "out.csv": [],
}


@pytest.mark.parametrize("bad", [{0}, {1}, {2}, {0, 1, 2}], ids=str)
@pytest.mark.parametrize("regions", ["whole", "grid:2", "labels:labels", "regions.csv"])
def test_damaged_images_never_stop_the_rest(pictures, tmp_path, caption, regions, bad):
    folder = pictures(3)
    (tmp_path / "labels").mkdir()
    labels = np.kron([[1, 2]], np.ones((16, 16))).astype(np.uint8)
    for place, picture in enumerate(sorted(folder.iterdir())):
        Image.fromarray(labels).save(tmp_path / "labels" / picture.name)
        if place in bad:
            picture.write_bytes(b"no picture at all")
    (tmp_path / "regions.csv").write_text("image,uid,kind,wkt\n,a,image,\n,b,box," + BOX)
    good = [f"000{place}.png" for place in range(3) if place not in bad]
    for out, options in _SIZED.items():
        status, _, told = caption("pictures", "--regions", regions, "--out", out, *options)
        assert status == 1, told
        assert [f"000{place}.png: is not" in told for place in range(3)] == [
            place in bad for place in range(3)
        ]
        if not good:
            continue
        found = read_annotations(tmp_path / out)
        assert sorted({one.image for one in found if one.caption}) == good
