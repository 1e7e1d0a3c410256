from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import taught_pictures
import tifffile
from PIL import Image
from skimage.data import coffee

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    ImageInfo,
    Project,
    ProjectImage,
    Record,
    Seen,
    read_annotations,
    read_project,
    with_human_caption,
    write_annotations,
    write_project,
)
from napari_patchioner.cli import main
from napari_patchioner.cli.teach import summary
from napari_patchioner.regions import Box
from napari_patchioner.teaching import Confusion, read_lexicon

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.captioner import Captioner

    Run = Callable[..., int]

# One row of things, and a picture is encoded in a fraction of the time of a square.
HEIGHT = 64
KINDS = {"a": ["nucleus", "leaf", "nucleus", "leaf"], "b": ["leaf", "nucleus", "grain", "leaf"]}


@pytest.fixture
def run(mini: Captioner) -> Run:
    return lambda *words: main([str(word) for word in words], load=lambda _: mini)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two pictures, the names of all things on one, and the boxes on the other."""
    regions = []
    for seed, (name, kinds) in enumerate(KINDS.items(), start=1):
        pixels, boxes = taught_pictures.draw(seed, kinds, height=HEIGHT)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        regions += [
            Annotation(f"{name}{number}", f"{name}.png", box, *([kind] * (name == "a")))
            for number, (box, kind) in enumerate(zip(boxes, kinds, strict=True))
        ]
    write_annotations(tmp_path / "names.csv", regions[:4], {})
    write_annotations(tmp_path / "boxes.csv", regions[4:], {})
    return tmp_path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def said_by(path: Path) -> list[tuple[str, str]]:
    return [(row["caption"], row["source"]) for row in rows_of(path)]


@pytest.fixture(scope="module")
def taught_cells() -> dict[str, Path]:
    """The lexicon of the first picture, taught by the first test that asks."""
    return {}


@pytest.fixture
def cells(
    place: Path, run: Run, taught_cells: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of that lexicon of its own for every test."""
    if not taught_cells:
        taught_cells["once"] = tmp_path_factory.mktemp("taught") / "cells"
        asked = ["teach", place / "a.png", "--regions", place / "names.csv"]
        assert run(*asked, "--out", taught_cells["once"]) == 0
    return Path(shutil.copytree(taught_cells["once"], place / "cells"))


def test_names_taught_on_one_picture_name_the_other(
    place: Path, cells: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / "out.csv"
    asked = ["caption", place / "b.png", "--regions", place / "boxes.csv", "--lexicon", cells]
    assert run(*asked, "--out", out) == 0
    assert "3 regions of 4 got names of the lexicon" in capsys.readouterr().err
    said = said_by(out)
    assert said[:2] == [("leaf", "taught"), ("nucleus", "taught")]
    assert said[3] == ("leaf", "taught")
    assert said[2][1] == "model"
    rows = rows_of(out)
    assert all(0.5 < float(row["score"]) <= 1 for row in rows if row["source"] == "taught")
    origin = json.loads(rows[0]["origin"])
    assert origin["taught"] == {"examples": 2, "lexicon": read_lexicon(cells).digest}
    # The model's own caption is what it says without the lexicon.
    plain = place / "plain.csv"
    assert run("caption", place / "b.png", "--regions", place / "boxes.csv", "--out", plain) == 0
    assert said_by(plain)[2] == said[2]
    # Several processes say the same.
    pool = place / "pool.csv"
    assert main([*map(str, asked), "--workers", "2", "--out", str(pool)]) == 0
    assert said_by(pool) == said


def test_the_own_caption_of_the_model_may_follow_the_name(
    place: Path, cells: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["caption", place / "b.png", "--regions", place / "boxes.csv"]
    assert run(*asked, "--out", place / "plain.csv") == 0
    own = [caption for caption, _ in said_by(place / "plain.csv")]
    for name in ("joined.csv", "zoomed.csv"):
        zoom = ["--zoom"] * (name == "zoomed.csv")
        options = ["--lexicon", cells, "--join", *zoom, "--out", place / name]
        assert run(*asked, *options) == 0
        rows = rows_of(place / name)
        assert [row["source"] for row in rows] == ["taught", "taught", "model", "taught"]
        assert [row["caption"] for row in rows][2] == own[2] or zoom
        for row, kind in zip(rows, KINDS["b"], strict=True):
            if row["source"] == "taught":
                assert row["caption"] == f"{kind}: {row['model_caption']}"
        assert [row["model_caption"] for row in rows][:2] == own[:2] or zoom
    # Once accepted it teaches the name alone, and a run without it leaves nothing of it behind.
    accepted = [
        replace(region, extra={**region.extra, "reviewed": "accepted"})
        for region in read_annotations(place / "joined.csv")
    ]
    write_annotations(place / "accepted.csv", accepted[:2], {})
    asked_again = ["teach", place / "b.png", "--regions", place / "accepted.csv"]
    assert run(*asked_again, "--out", place / "again") == 0
    assert read_lexicon(place / "again").counts == {"leaf": 1, "nucleus": 1}
    again = ["caption", place / "b.png", "--regions", place / "joined.csv", "--lexicon", cells]
    assert run(*again, "--out", place / "alone.csv") == 0
    assert "model_caption" not in (place / "alone.csv").read_text(encoding="utf-8")
    for option in ("--join", "--no-join"):
        assert run(*asked, option, "--out", place / "no.csv") == 2
        assert f"{option} is about" in capsys.readouterr().err


def test_in_photographs_the_caption_of_the_model_follows_the_name(place: Path, run: Run) -> None:
    pixels = coffee()[::2, ::2]
    width = pixels.shape[1]
    boxes = [Box(25, 75, 150, 215), Box(5, 5, 45, 60)]
    mirrored = [Box(b.top, width - b.right, b.bottom, width - b.left) for b in boxes]
    for image, array, drawn in (("c", pixels, boxes), ("d", pixels[:, ::-1], mirrored)):
        Image.fromarray(array).save(place / f"{image}.png")
        for names in (("cup", "table"), ("Felix", "zebra")):
            regions = [
                Annotation(f"{image}{name}", f"{image}.png", box, name * (image == "c"))
                for name, box in zip(names, drawn, strict=True)
            ]
            write_annotations(place / f"{image}-{names[0]}.csv", regions, {})
    asked = ["caption", place / "d.png", "--regions", place / "d-cup.csv"]
    assert run(*asked, "--out", place / "own.csv") == 0
    own = [row["caption"] for row in rows_of(place / "own.csv")]
    assert all(word in caption for word, caption in zip(("cup", "table"), own, strict=True))
    said = {}
    for name in ("cup", "Felix"):
        asked = ["teach", place / "c.png", "--regions", place / f"c-{name}.csv"]
        assert run(*asked, "--out", place / name) == 0
        asked = ["caption", place / "d.png", "--regions", place / f"d-{name}.csv"]
        for options in ((), ("--no-join",), ("--zoom",)):
            out = place / "named.csv"
            assert run(*asked, "--lexicon", place / name, *options, "--out", out) == 0
            rows = rows_of(out)
            assert {row["source"] for row in rows} == {"taught"}
            captions = [row["caption"] for row in rows]
            said[name, *options] = captions, [row.get("model_caption") for row in rows]
            # The model says "cup" and "table" as well, and has never heard of the others.
            assert float(rows[1]["score"]) > 0.9
    for options in ((), ("--zoom",)):
        assert said["cup", *options] == (["cup", "table"], own)
        assert said["Felix", *options][0] == [f"Felix: {own[0]}", f"zebra: {own[1]}"]
    assert said["cup", "--no-join"] == (["cup", "table"], [None, None])


def test_captions_of_people_stay_and_taught_ones_are_replaced(
    place: Path, cells: Path, run: Run
) -> None:
    regions = read_annotations(place / "boxes.csv")
    regions[0] = with_human_caption(regions[0], "mine")
    named = place / "named.csv"
    write_annotations(named, regions, {})
    asked = ["caption", place / "b.png", "--regions", named, "--out", named]
    assert run(*asked, "--lexicon", cells) == 0
    assert said_by(named)[:2] == [("mine", "human"), ("nucleus", "taught")]
    assert run(*asked) == 0
    assert said_by(named)[0] == ("mine", "human")
    assert {source for _, source in said_by(named)[1:]} == {"model"}


def test_another_lexicon_does_not_go_on_with_a_run(
    place: Path, cells: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "broken.png").write_bytes(b"no picture")
    asked = ["caption", place / "b.png", place / "broken.png", "--regions", "grid:2"]
    asked += ["--out", place / "out.csv"]
    assert run(*asked, "--lexicon", cells) == 1
    assert run("lexicon", "rename", cells, "leaf", "blade") == 0
    assert run(*asked, "--resume", "--lexicon", cells) == 2
    assert "begun with other lexicon" in capsys.readouterr().err
    assert run(*asked, "--resume") == 2


def test_what_cannot_be_taught_is_told(
    place: Path, cells: Path, run: Run, mini: Captioner, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["teach", place / "b.png", "--regions", place / "boxes.csv", "--out"]
    assert run(*asked, place / "new") == 2
    assert "no region has a name by a person" in capsys.readouterr().err
    (place / "none.csv").write_text("image,uid,kind,wkt,caption\n")
    asked[3] = place / "none.csv"
    assert run(*asked, place / "new") == 2
    assert "none.csv: holds no regions" in capsys.readouterr().err
    assert not (place / "new").exists()
    asked[3] = place / "names.csv"
    assert run("teach", place / "a.png", *asked[2:], cells) == 2
    assert "add to it with --add" in capsys.readouterr().err
    assert run("teach", place / "a.png", "--regions", "whole", "--out", place / "new") == 2
    assert run("caption", place / "b.png", "--regions", "whole", "--lexicon", place) == 2
    assert "is no lexicon" in capsys.readouterr().err
    # Captions by a model are nobody's names, unless a person has accepted them.
    drafts = [
        Annotation("a", "a.png", Box(1, 1, 30, 30), "a spot", 0.5, "model", "mini"),
        Annotation("b", "a.png", Box(1, 60, 30, 90), "a leaf", None, "human"),
        Annotation("c", "b.png", Box(1, 60, 30, 90), "a leaf", None, "human"),
        Annotation("d", "a.png", Box(900, 900, 990, 990), "a leaf", None, "human"),
        Annotation("e", "a.png", Box(20, 20, 20, 20), "a leaf", None, "human"),
    ]
    write_annotations(place / "drafts.csv", drafts, {})
    told = run("teach", place / "a.png", "--regions", place / "drafts.csv", "--out", place / "new")
    err = capsys.readouterr().err
    assert told == 0
    assert "1 region of other images left out" in err
    assert "1 region without a name by a person left out" in err
    assert "region 'd'" in err
    assert "region 'e': the box has no area" in err
    assert read_lexicon(place / "new").counts == {"a leaf": 1}


RENAME = "napari-patchioner lexicon rename"


def test_examples_may_be_added(
    place: Path, cells: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = [
        with_human_caption(region, kind)
        for region, kind in zip(read_annotations(place / "boxes.csv"), KINDS["b"], strict=True)
    ]
    write_annotations(place / "more.csv", regions, {})
    asked = ["teach", place / "b.png", "--regions", place / "more.csv", "--out", cells]
    assert run(*asked, "--add", "--thumbnails") == 0
    lexicon = read_lexicon(cells)
    assert lexicon.counts == {"grain": 1, "leaf": 4, "nucleus": 3}
    # Once more under other names: one that differs in capitals alone is said.
    named = [with_human_caption(region, region.caption.upper()) for region in regions[:1]]
    write_annotations(place / "more.csv", named, {})
    capsys.readouterr()
    assert run(*asked, "--add", "--thumbnails") == 0
    out, err = capsys.readouterr()
    assert "1 example got the name that the later examples have" in err
    assert f"'leaf' and 'LEAF' differ in capitals alone; to join them: {RENAME}" in out
    lexicon = read_lexicon(cells)
    assert [bool(e.thumbnail) for e in lexicon.examples if e.image == "b.png"] == [True] * 4


def test_a_table_of_boxes_may_call_the_column_name(place: Path, run: Run) -> None:
    wkt = '"POLYGON ((8 8, 34 8, 34 34, 8 34, 8 8))"'
    (place / "like.csv").write_text(f"image,uid,kind,wkt,name\na.png,1,box,{wkt},nucleus\n")
    asked = ["teach", place / "a.png", "--regions", place / "like.csv", "--out", place / "one"]
    assert run(*asked) == 0
    assert read_lexicon(place / "one").counts == {"nucleus": 1}


def test_regions_of_stacks_and_large_images_are_taught_and_named(place: Path, run: Run) -> None:
    stack = np.stack([np.full((HEIGHT, 240), 9, np.uint8)] * 3)
    pixels, boxes = taught_pictures.draw(1, KINDS["a"], height=HEIGHT)
    stack[2] = pixels[..., 1]
    tifffile.imwrite(place / "stack.tif", stack, photometric="minisblack")
    large = np.full((4400, 4400, 3), 225, np.uint8)
    large[4000 : 4000 + HEIGHT, 3000:3240] = pixels
    tifffile.imwrite(place / "large.tif", large, photometric="rgb", tile=(512, 512))
    for image, offset in (("stack.tif", (0, 0)), ("large.tif", (4000, 3000))):
        moved = [
            Box(b.top + offset[0], b.left + offset[1], b.bottom + offset[0], b.right + offset[1])
            for b in boxes
        ]
        extra = {"plane": "2"} if image == "stack.tif" else {}
        regions = [
            Annotation(str(number), image, box, kind, None, "human", extra=extra)
            for number, (box, kind) in enumerate(zip(moved, KINDS["a"], strict=True))
        ]
        write_annotations(place / "named.csv", regions[:2], {})
        bare = [Annotation(r.uid, r.image, r.region, extra=extra) for r in regions]
        write_annotations(place / "bare.csv", bare, {})
        lexicon, out = place / f"{image}.lexicon", place / f"{image}.csv"
        asked = ["--regions", place / "named.csv", "--out", lexicon]
        assert run("teach", place / image, *asked) == 0
        asked = ["--regions", place / "bare.csv", "--lexicon", lexicon, "--out", out]
        assert run("caption", place / image, *asked, "--zoom") == 0
        assert said_by(out) == [(kind, "taught") for kind in KINDS["a"]]


def test_info_merge_forget_and_rename(
    place: Path, cells: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("lexicon", "info", cells, "--examples") == 0
    out = capsys.readouterr().out
    assert "backbone  efficientnet" in out
    assert "leaf     2         2 of 2" in out
    first, second = (e.uid for e in read_lexicon(cells).examples if e.name == "leaf")
    assert f"leaf: a.png, {first}\nleaf: a.png, {second}\n" in out
    assert run("lexicon", "rename", cells, "leaf", "blade") == 0
    assert read_lexicon(cells).counts == {"blade": 2, "nucleus": 2}
    asked = ["teach", place / "a.png", "--regions", place / "names.csv", "--out", place / "two"]
    assert run(*asked) == 0
    capsys.readouterr()
    assert run("lexicon", "merge", cells, place / "two", "--out", place / "both") == 0
    assert read_lexicon(place / "both").counts == {"leaf": 2, "nucleus": 2}
    err = capsys.readouterr().err
    assert "2 examples got the name that the later examples have" in err
    assert "no example has these names any more: 'blade'" in err
    assert run("lexicon", "merge", cells, place / "both", "--out", place / "same") == 0
    assert run("lexicon", "merge", place / "both", place / "same", "--out", place / "again") == 0
    assert "later examples" not in capsys.readouterr().err.splitlines()[-2]
    assert run("lexicon", "merge", cells, "--out", place / "both") == 2
    assert run("lexicon", "merge", cells, place / "both", "--out", place / "both") == 2
    assert run("lexicon", "forget", cells, "--name", "blade", "--uid", first) == 0
    assert read_lexicon(cells).counts == {"blade": 1, "nucleus": 2}
    capsys.readouterr()
    for wrong in ([], ["--name", "tree"], ["--image", "a.png"]):
        assert run("lexicon", "forget", cells, *wrong) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert run("lexicon", "rename", cells, "tree", "bush") == 2
    assert read_lexicon(cells).counts == {"blade": 1, "nucleus": 2}
    # Of several names and uids all count, or none where one is unknown.
    nucleus = read_lexicon(cells).examples[-1].uid
    both = ["--uid", first, "--uid", nucleus, "--name", "nucleus", "--name"]
    assert run("lexicon", "forget", place / "both", *both, "tree") == 2
    assert read_lexicon(place / "both").counts == {"leaf": 2, "nucleus": 2}
    assert run("lexicon", "forget", place / "both", *both, "leaf") == 0
    assert read_lexicon(place / "both").counts == {"leaf": 1, "nucleus": 1}
    assert run("lexicon", "rename", place / "both", "leaf", "nucleus") == 0
    assert "1 example is 'nucleus' now, as 1 were before" in capsys.readouterr().err


def test_tables_that_number_their_rows_hold_different_examples(
    place: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers of rows, or uids of a table alone, are no reason to take two regions for one."""
    rows = {"one": ["nucleus,10,10,40,40", "leaf,60,10,90,40"], "two": ["seed,40,50,70,80"]}
    for table, lines in rows.items():
        text = "\n".join(f"a.png,{line}" for line in [*lines, *lines[-1:]])
        (place / f"{table}.csv").write_text(f"image,name,x1,y1,x2,y2\n{text}\n")
        asked = ["--regions", place / f"{table}.csv", "--out", place / table]
        assert run("teach", place / "a.png", *asked) == 0
        # The same row twice is one example, which cannot vouch for itself.
        assert "is the same as region '" in capsys.readouterr().err
    assert run("lexicon", "merge", place / "one", place / "two", "--out", place / "both") == 0
    assert "later examples" not in capsys.readouterr().err
    asked = ["--regions", place / "two.csv", "--out", place / "one", "--add"]
    assert run("teach", place / "a.png", *asked) == 0
    once = {"leaf": 1, "nucleus": 1, "seed": 1}
    assert read_lexicon(place / "both").counts == read_lexicon(place / "one").counts == once
    # Taught again under another name, the same place has the new one.
    (place / "two.csv").write_text("image,name,x1,y1,x2,y2\na.png,pip,40,50,70,80\n")
    assert run("teach", place / "a.png", *asked) == 0
    assert read_lexicon(place / "one").counts == {"leaf": 1, "nucleus": 1, "pip": 1}


class Many:
    """A lexicon of twelve names with twenty examples each, four of which were left out."""

    names = tuple(f"n{number:02}" for number in range(12))
    counts = dict.fromkeys(names, 20)
    confusion = Confusion(
        {name: {name: 3, other: 1} for name, other in zip(names, names[::-1], strict=True)}
    )
    classifier = property(lambda self: self)
    contradictions: tuple[tuple[str, ...], ...] = ()
    lookalikes: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return 240


def test_the_worst_mistakes_are_listed_and_how_many_examples_were_left_out(tmp_path: Path) -> None:
    lines = summary(Many(), tmp_path / "my cells").splitlines()
    assert "only 48 of 240 examples were left out in turn, about as many of each name" in lines
    assert sum(" taken for " in line for line in lines) == 10
    assert lines[-1].startswith("and 2 more: napari-patchioner lexicon info '")
    assert lines[-1].endswith("my cells' --examples")
    whole = summary(Many(), tmp_path, whole=True).splitlines()
    assert sum(" taken for " in line for line in whole) == 12


def test_without_a_subcommand_what_there_is_is_told(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run("lexicon")
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_that_a_name_was_taught(name: str, tmp_path: Path) -> None:
    form = FORMATS[name]
    region = Annotation("a", "a.png", Box(-0.5, -0.5, 9.5, 19.5), "leaf", 0.75, "taught", "mini")
    images = {"a.png": ImageInfo("a.png", 40, 60)}
    path = tmp_path / f"regions{next(iter(form.suffixes), '')}"
    if write_annotations(path, [region], images, name):
        pytest.skip("holds no boxes")
    if name == "html":
        written = path.read_text(encoding="utf-8")
        assert "model, by examples" in written
        return
    [again] = read_annotations(path, images)
    assert (again.caption, again.source, again.model) == ("leaf", "taught", "mini")
    assert not again.is_human


def test_a_project_file_keeps_that_a_name_was_taught(tmp_path: Path) -> None:
    corners = np.array([[1, 1], [1, 5], [5, 5], [5, 1]], float)
    seen = Seen("rectangle", corners)
    said = {"caption": "leaf", "score": 0.75, "source": "taught", "model": "mini"}
    record = Record("a", layer="regions", seen=seen, **said)
    path = tmp_path / "a.png.patchioner.json"
    write_project(path, Project(ProjectImage("a.png", (8, 8), "uint8", "0" * 32), (record,)))
    [again] = read_project(path).records
    assert {name: getattr(again, name) for name in said} == said
    assert not again.protected
