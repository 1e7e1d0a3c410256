"""Captions compared with their images, and better ones suggested, from the command line."""

from __future__ import annotations

import copy
import csv

import pytest
from PIL import Image
from skimage import data

from napari_patchioner.annotations import Annotation, ImageInfo, write_annotations
from napari_patchioner.cli import main
from napari_patchioner.regions import Box, WholeImage

CAT, HEAD = Box(0, 0, 299, 440), Box(60, 60, 280, 330)
ROWS = (
    ("wrong", "cat.png", WholeImage(), "A bus looks at me", "human"),
    ("right", "cat.png", HEAD, "a cat", "model"),
    ("name", "cat.png", HEAD, "Rex", "human"),
    ("cup", "cup.png", WholeImage(), "a cup and a bus", "human"),
    ("french", "cup.png", WholeImage(), "une tasse bleue", "human"),
    ("empty", "cup.png", Box(10, 10, 60, 60), "", ""),
)


@pytest.fixture
def folder(tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    Image.fromarray(data.cat()).save(scans / "cat.png")
    Image.fromarray(data.coffee()).save(scans / "cup.png")
    rows = [
        Annotation(uid, image, region, text, None, source)
        for uid, image, region, text, source in ROWS
    ]
    images = {"cat.png": ImageInfo("cat.png", 300, 451), "cup.png": ImageInfo("cup.png", 400, 600)}
    write_annotations(tmp_path / "said.csv", rows, images)
    return scans


def check(folder, tmp_path, mini, *more):
    out = tmp_path / "checked.csv"
    asked = ["check", str(folder), "--regions", str(tmp_path / "said.csv"), "--out", str(out)]
    return main([*asked, *more], load=lambda _: mini), out


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["uid"]: row for row in csv.DictReader(file)}


def test_agreement_wrong_words_and_a_suggestion_are_columns(folder, tmp_path, mini, capsys):
    status, out = check(folder, tmp_path, mini)
    assert status == 0
    rows = read(out)
    # No caption is another one now, whoever wrote it.
    assert {uid: (row["caption"], row["source"]) for uid, row in rows.items()} == {
        uid: (text, source) for uid, _, _, text, source in ROWS
    }
    assert float(rows["right"]["agreement"]) > 0.9
    assert float(rows["wrong"]["agreement"]) < 0.2
    assert rows["wrong"]["suggestion"] == "Rex looks at me"
    assert rows["wrong"]["contradicted"] == "bus"
    assert rows["right"]["contradicted"] == ""
    assert rows["right"]["suggestion"] == "Rex"
    assert rows["cup"]["contradicted"] == "bus"
    assert float(rows["cup"]["agreement"]) < 0.1
    assert rows["name"]["agreement"] == rows["empty"]["agreement"] == ""
    assert rows["right"]["judged"] == "cat"
    assert rows["right"]["account"] == "Borne out: 'cat'."
    assert rows["wrong"]["account"] == "Contradicted: 'bus'; all else was not judged."
    assert rows["french"]["judged"] == rows["french"]["contradicted"] == ""
    assert rows["french"]["account"].startswith("Nothing of it can be judged.")
    assert rows["empty"]["account"] == ""
    said = capsys.readouterr().err
    assert "5 captions on 2 images, 2 with a word that the image contradicts" in said
    assert "of 2 nothing could be judged" in said


def test_what_was_written_is_not_overwritten_unasked(folder, tmp_path, mini, capsys):
    check(folder, tmp_path, mini)
    assert check(folder, tmp_path, mini)[0] == 2
    assert "--overwrite" in capsys.readouterr().err
    assert check(folder, tmp_path, mini, "--overwrite")[0] == 0
    said = tmp_path / "said.csv"
    asked = ["check", str(folder), "--regions", str(said), "--out", str(said), "--overwrite"]
    assert main(asked, load=lambda _: mini) == 2
    assert "is read by this very run" in capsys.readouterr().err


def test_an_image_and_a_region_at_fault_are_named_and_the_others_are_checked(
    folder, tmp_path, mini, capsys
):
    (folder / "cup.png").write_bytes(b"no picture")
    status, out = check(folder, tmp_path, mini)
    assert status == 1
    assert set(read(out)) == {"wrong", "right", "name"}
    assert "cup.png" in capsys.readouterr().err
    (tmp_path / "checked.csv.part").unlink()  # of the image that failed, to go on with
    away = [Annotation("away", "cat.png", Box(9000, 0, 9100, 100), "a cat", None, "human")]
    images = {"cat.png": ImageInfo("cat.png", 300, 451)}
    write_annotations(tmp_path / "said.csv", away, images)
    assert check(folder, tmp_path, mini, "--overwrite")[0] == 1
    assert "region 'away'" in capsys.readouterr().err


def test_a_run_that_was_stopped_goes_on(folder, tmp_path, mini, capsys, monkeypatch):
    class Stopped(type(mini)):
        def pyramid(self, levels, **how):
            if levels.shape[0] == 400:  # the cup, which comes second
                raise KeyboardInterrupt
            return super().pyramid(levels, **how)

    stopping = copy.copy(mini)
    stopping.__class__ = Stopped
    status, out = check(folder, tmp_path, stopping)
    assert status == 130
    assert "1 image is kept in" in capsys.readouterr().err
    assert not out.exists()
    assert check(folder, tmp_path, mini)[0] == 2
    assert "--resume" in capsys.readouterr().err
    assert check(folder, tmp_path, mini, "--resume")[0] == 0
    assert "1 done, 1 from before" in capsys.readouterr().err
    assert read(out)["wrong"]["contradicted"] == read(out)["cup"]["contradicted"] == "bus"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "place",
    [
        "left of the bus",
        "the third largest of 12 dogs, 80 pixels across, between the bus and the train",
        "one of three, in the left half of the image",
    ],
)
@pytest.mark.parametrize("source", ["model", "human"])
def test_what_was_measured_is_not_for_the_image_to_bear_out(folder, tmp_path, mini, source, place):
    rows = [
        Annotation(uid, "cat.png", HEAD, text, None, source)
        for uid, text in (("plain", "a cat on a bed"), ("placed", f"a cat on a bed, {place}"))
    ]
    write_annotations(tmp_path / "said.csv", rows)
    assert check(folder, tmp_path, mini)[0] == 0
    checked = read(tmp_path / "checked.csv")
    plain, placed = checked["plain"], checked["placed"]
    assert "bus" not in placed["contradicted"]
    assert placed["contradicted"] == plain["contradicted"]
    assert placed["agreement"] == plain["agreement"]


def test_place_stays_behind_what_is_suggested(folder, tmp_path, mini):
    text = "A bus looks at me, the larger of two, left of the cup"
    rows = [Annotation("wrong", "cat.png", WholeImage(), text, None, "human")]
    rows.append(Annotation("name", "cat.png", HEAD, "Rex", None, "human"))
    write_annotations(tmp_path / "said.csv", rows)
    status, out = check(folder, tmp_path, mini)
    assert status == 0
    checked = read(out)["wrong"]
    assert checked["contradicted"] == "bus"
    assert checked["suggestion"] == "Rex looks at me, the larger of two, left of the cup"


def test_a_large_image_is_read_as_closely_as_its_regions_ask_for(tmp_path, mini):
    scans = tmp_path / "scans"
    scans.mkdir()
    canvas = Image.fromarray(data.coffee()).resize((3000, 3000))
    canvas.paste(Image.fromarray(data.cat()), (1200, 900))
    canvas.save(scans / "large.png")
    rows = [
        Annotation("there", "large.png", Box(900, 1200, 1199, 1650), "a cat", None, "human"),
        Annotation("not", "large.png", Box(900, 1200, 1199, 1650), "a bus", None, "human"),
    ]
    images = {"large.png": ImageInfo("large.png", 3000, 3000)}
    write_annotations(tmp_path / "said.csv", rows, images)
    status, out = check(scans, tmp_path, mini)
    assert status == 0
    checked = read(out)
    assert float(checked["there"]["agreement"]) > 0.9
    assert float(checked["not"]["agreement"]) < 0.1
