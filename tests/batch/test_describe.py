"""Place and size of regions of files, and paragraphs about images, on the command line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
from colours import Loader
from PIL import Image

from napari_patchioner.annotations import (
    Annotation,
    read_annotations,
    read_tidy_csv,
    write_tidy_csv,
)
from napari_patchioner.annotations.place import without_place
from napari_patchioner.cli import main
from napari_patchioner.decoders import Caption
from napari_patchioner.regions import Box

SAID = {0: "a nucleus", 1: "cup or bowl?", 2: "a vessel"}
SQUARES = {"a": (0, 0, 48), "b": (64, 0, 32), "c": (112, 0, 16), "d": (0, 96, 48)}


class Namer:
    """Calls red a nucleus and blue a vessel, and is not sure of green."""

    def decode(self, vectors, **options):
        return [Caption(SAID[int(row.argmax())], 0.5) for row in vectors]


@pytest.fixture
def load():
    loader = Loader()
    loader.decoder = Namer()
    return loader


def region(uid, caption="", source="", **extra):
    row, column, side = SQUARES[uid]
    box = Box(row - 0.5, column - 0.5, row + side - 0.5, column + side - 0.5)
    return Annotation(uid, "photo", box, caption, source=source, extra=extra)


@pytest.fixture
def photo(tmp_path):
    pixels = np.zeros((128, 192, 3), np.uint8)
    pixels[:, :96, 0] = 200
    pixels[:, 96:, 2] = 200
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    write_tidy_csv(tmp_path / "regions.csv", [region(uid) for uid in SQUARES])
    return path


def caption(photo, load, *options, regions="regions.csv", out="out.csv", status=0):
    folder = photo.parent
    command = ["caption", str(photo), "--regions", str(folder / regions)]
    command += ["--out", str(folder / out), *options]
    assert main(command, load=load) == status
    return {item.uid: item for item in read_annotations(folder / out)}


def test_place_and_size_stand_behind_captions_and_in_columns(photo, load):
    rows = caption(photo, load, "--place", "--pixel-size", "0.5um")
    assert [rows[uid].caption for uid in SQUARES] == [
        "a nucleus, the largest of three, 27 µm across, left of the vessel",
        "a nucleus, the second largest of three, 18 µm across, below and left of the vessel",
        "a nucleus, the smallest of three, 9 µm across, below and left of the vessel",
        "a vessel, 27 µm across, right of the largest nucleus",
    ]
    with (photo.parent / "out.csv").open(encoding="utf8", newline="") as file:
        [first, *_] = csv.DictReader(file)
    assert first["place"] == "the largest of three nuclei, left of the vessel"
    assert first["size"] == "27 µm across"
    made = json.loads(first["origin"])["reworded"]
    assert (made["by"], made["before"]) == ("with place and size", "a nucleus")


def test_without_the_option_nothing_is_said_of_it(photo, load):
    rows = caption(photo, load)
    assert [rows[uid].caption for uid in SQUARES] == ["a nucleus"] * 3 + ["a vessel"]
    assert "place" not in rows["a"].extra


def test_again_it_is_said_once_and_what_stays_gets_columns_alone(photo, load):
    first = caption(photo, load, "--place", "--pixel-size", "0.5um")
    again = caption(photo, load, "--place", "--pixel-size", "0.5um", regions="out.csv", out="2.csv")
    assert {uid: item.caption for uid, item in again.items()} == {
        uid: item.caption for uid, item in first.items()
    }
    folder = photo.parent
    mine = [region("a", "nucleus of mine", "human"), *(region(uid) for uid in "bcd")]
    mine[1] = region("b", "a nucleus", "model", reviewed="true")
    write_tidy_csv(folder / "mine.csv", mine)
    rows = caption(photo, load, "--place", regions="mine.csv")
    assert rows["a"].caption == "nucleus of mine"
    assert rows["b"].caption == "a nucleus"
    assert rows["b"].extra["place"].startswith("the second largest of three nuclei")
    assert rows["a"].extra["size"] == "54 pixels across"
    assert without_place(rows["c"].caption) == "a nucleus"


def test_the_pixel_size_of_a_file_counts_even_where_pixels_are_not_square(tmp_path, load):
    path = tmp_path / "photo.ome.tif"
    about = {"axes": "YX", "PhysicalSizeY": 2.0, "PhysicalSizeX": 0.5}
    about |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, np.full((128, 192), 99, np.uint8), metadata=about)
    item = Annotation("a", "", Box(-0.5, -0.5, 31.5, 31.5))
    write_tidy_csv(tmp_path / "regions.csv", [item])
    [row] = caption(path, load, "--place").values()
    # Four times as high as wide.
    assert row.extra["size"] == "64 µm long"


def test_a_paragraph_is_the_caption_of_the_whole_image_and_links_to_rows(photo, load):
    rows = caption(photo, load, "--paragraph", "--pixel-size", "0.5um", out="report.html")
    whole = rows["whole"]
    assert whole.kind == "image"
    assert whole.caption == (
        "The image shows three nuclei and a vessel. The largest of the three nuclei, 27 µm "
        "across, is left of the vessel. The vessel, 27 µm across, is in the top right quarter of "
        "the image."
    )
    page = (photo.parent / "report.html").read_text("utf8")
    assert '<a href="#c1">three nuclei</a>' in page


def test_with_both_the_paragraph_says_nothing_twice(photo, load):
    rows = caption(photo, load, "--paragraph", "--place")
    assert rows["whole"].caption.startswith("The image shows three nuclei and a vessel.")
    assert "of three" not in rows["whole"].caption


def test_what_a_person_said_of_the_whole_image_stays(photo, load):
    from napari_patchioner.regions import WholeImage

    mine = [
        *map(region, SQUARES),
        Annotation("w", "photo", WholeImage(), "My slide", source="human"),
    ]
    write_tidy_csv(photo.parent / "mine.csv", mine)
    rows = caption(photo, load, "--paragraph", regions="mine.csv")
    assert rows["w"].caption == "My slide"
    assert rows["w"].extra["paragraph"].startswith("The image shows three nuclei")
    assert "whole" not in rows


def test_a_paragraph_written_again_takes_the_place_of_the_old_one(photo, load):
    first = caption(photo, load, "--paragraph", "--place")
    rows = caption(photo, load, "--paragraph", "--place", regions="out.csv", out="2.csv")
    assert [uid for uid, item in rows.items() if item.kind == "image"] == ["whole"]
    # No model has a part in it, though a whole image is what one may caption.
    caption(photo, load, regions="out.csv", out="model.csv")
    captioned = caption(photo, load, "--paragraph", regions="model.csv", out="3.csv")
    for again in (rows["whole"], captioned["whole"]):
        assert (again.caption, again.model) == (first["whole"].caption, "")
        assert set(again.extra) == set(first["whole"].extra)
        assert set(json.loads(again.extra["origin"])) == {"reworded"}


def test_what_lies_outside_the_image_is_named_and_left_out(photo, load, capsys):
    box = Box(500, 500, 520, 520)
    rows = [region("a"), Annotation("far", "photo", box, "a dog", source="human")]
    write_tidy_csv(photo.parent / "far.csv", rows)
    options = ("--paragraph", "--place")
    rows = caption(photo, load, *options, regions="far.csv", status=1)
    assert "'far': The region lies outside the image" in capsys.readouterr().err
    assert not rows["far"].extra["place"]
    assert rows["whole"].caption.startswith("The image shows a nucleus.")
    assert "dog" not in rows["whole"].caption


def test_what_is_captioned_already_is_described_without_the_model(photo, load):
    said = [region("a", "a cat", "human"), region("d", "a dog", "human")]
    write_tidy_csv(photo.parent / "said.csv", said)
    rows = caption(photo, load, "--paragraph", "--place", regions="said.csv")
    assert not load.names
    assert rows["whole"].caption.startswith("By hand, one region is described as “a cat”")
    assert rows["a"].extra["place"] == "left of the dog"


def test_several_processes_say_the_same(photo, load):
    alone = caption(photo, load, "--place", "--paragraph")
    for number in range(3):
        Image.open(photo).save(photo.parent / f"more{number}.png")
    write_tidy_csv(
        photo.parent / "regions.csv",
        [Annotation(r.uid, "", r.region) for r in map(region, SQUARES)],
    )
    command = ["caption", str(photo.parent / "more*.png"), "--place", "--paragraph"]
    command += ["--regions", str(photo.parent / "regions.csv")]
    out = photo.parent / "all.csv"
    assert main([*command, "--out", str(out)], load=load) == 0
    texts = [item.caption for item in read_tidy_csv(out)]
    assert texts == [alone[uid].caption for uid in (*SQUARES, "whole")] * 3
