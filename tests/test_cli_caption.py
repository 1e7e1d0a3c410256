from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from colours import Loader
from PIL import Image

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    ImageInfo,
    format_of,
    head_of,
    read_annotations,
    read_tidy_csv,
    write_annotations,
    write_napari_csv,
    write_tidy_csv,
)
from napari_patchioner.cli import main
from napari_patchioner.errors import ModelError
from napari_patchioner.regions import Box, Polygon, Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_patchioner.captioner import Captioner

HEADER = "image,uid,kind,wkt"
OUTPUT = [*HEADER.split(","), "caption", "score", "source", "model"]
LEFT = '"POLYGON ((0 0, 32 0, 32 32, 0 32, 0 0))"'
RIGHT = '"POLYGON ((32 0, 64 0, 64 32, 32 32, 32 0))"'


@pytest.fixture
def load() -> Loader:
    return Loader()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a picture, 32 rows by 64 columns, red on the left and blue on the right."""
    return _photo(tmp_path / "photo.png")


def _photo(path: Path) -> Path:
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32, 0] = 200
    pixels[:, 32:, 2] = 100
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "regions.csv").write_text(text, encoding="utf-8")
        return str(tmp_path / "regions.csv")

    return write


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_each_region_gets_its_caption_and_the_output_is_clean(
    photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = table(f"{HEADER}\nphoto.png,a,box,{LEFT}\nphoto,b,polygon,{RIGHT}\n")
    assert main(["caption", str(photo), "--regions", regions], load=load) == 0
    out, err = capsys.readouterr()
    rows = _rows(out)
    assert list(rows[0]) == [*OUTPUT, "origin"]
    assert [(row["image"], row["uid"], row["caption"]) for row in rows] == [
        ("photo.png", "a", "red, mostly"),
        ("photo", "b", "blue"),
    ]
    assert {(row["source"], row["model"]) for row in rows} == {("model", "mini")}
    assert "1 done, 0 skipped, 0 failed" in err
    origin = json.loads(rows[0]["origin"])
    assert origin == {"grid": "pixels", "model": "mini"}


def test_one_model_load_and_one_look_per_image(
    tmp_path: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(_photo(tmp_path / f"{name}.png")) for name in "abc"]
    rows = "".join(f"{name}.png,{n},box,{LEFT}\n" for n in range(5) for name in "cab")
    assert main(["caption", *photos, "--regions", table(f"{HEADER}\n{rows}")], load=load) == 0
    assert load.names == ["mini"]
    assert load.backbone.passes == 3
    images = [row["image"] for row in _rows(capsys.readouterr().out)]
    assert images == [name for name in ("a.png", "b.png", "c.png") for _ in range(5)]


def test_whole_images(
    tmp_path: Path, photo: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _photo(tmp_path / "sub" / "photo.png")
    arguments = ["caption", str(photo), str(other), str(photo), "--regions", "whole"]
    assert main([*arguments, "--model", "mini-zeroshot"], load=load) == 0
    rows = _rows(capsys.readouterr().out)
    assert [row["image"] for row in rows] == [str(photo), str(other)]
    assert [row["kind"] for row in rows] == ["image", "image"]
    assert load.names == ["mini-zeroshot"]


def test_the_output_is_a_table_of_regions_again(
    tmp_path: Path, photo: Path, table: Any, load: Loader
) -> None:
    out = str(tmp_path / "out.csv")
    regions = table(f"{HEADER},note\nphoto,a,box,{LEFT},keep me\n")
    assert main(["caption", str(photo), "--regions", regions, "--out", out], load=load) == 0
    first = read_tidy_csv(out)
    assert main(["caption", str(photo), "--regions", out, "--out", out], load=load) == 0
    [again] = read_tidy_csv(out)
    assert again.caption == first[0].caption == "red, mostly"
    assert again.extra == first[0].extra
    assert again.extra["note"] == "keep me"


def test_what_a_person_wrote_stays(
    photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = table(
        f"{HEADER},caption,score,source,model\n"
        f"photo,a,box,{LEFT},my own words,,human,\n"
        f"photo,b,box,{LEFT},mine too,,edited,mini\n"
        f"photo,c,box,{LEFT},whose?,,,\n"
        f"photo,d,box,{LEFT},old,0.1,model,mini\n"
    )
    assert main(["caption", str(photo), "--regions", regions], load=load) == 0
    out, err = capsys.readouterr()
    captions = [row["caption"] for row in _rows(out)]
    assert captions == ["my own words", "mine too", "whose?", "red, mostly"]
    assert "1 done" in err


PEOPLE = (
    f"photo,a,box,{LEFT},my own words,,human,,\n"
    f"photo,b,box,{LEFT},whose?,,,,\n"
    f"photo,c,box,{LEFT},seen,0.1,model,mini,\n"
    f"photo,d,box,{LEFT},mine for ever,,human,,true\n"
    f"photo,e,point,POINT (999 999),mine outside,,human,,\n"
)


def test_captions_of_people_are_overwritten_only_on_demand(
    tmp_path: Path, photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = table(f"{HEADER},caption,score,source,model,locked\n{PEOPLE}")
    asked = ["caption", str(photo), "--regions", regions, "--out"]
    assert main([*asked, str(tmp_path / "kept.csv")], load=load) == 0
    told = capsys.readouterr().err
    assert "3 regions have captions of people and were left; --overwrite captions them too" in told
    assert "1 region is locked and stayed as it was" in told
    kept = {one.uid: one.caption for one in read_tidy_csv(tmp_path / "kept.csv")}
    assert (kept["a"], kept["b"]) == ("my own words", "whose?")
    out = tmp_path / "new.csv"
    assert main([*asked, str(out), "--overwrite"], load=load) == 1  # one lies outside its image
    told = capsys.readouterr().err
    assert ("were left" in told, "1 region is locked" in told) == (False, True)
    found = {one.uid: one for one in read_tidy_csv(out)}
    assert {uid: (one.caption, one.source) for uid, one in found.items()} == {
        "a": ("red, mostly", "model"),
        "b": ("red, mostly", "model"),
        "c": ("red, mostly", "model"),
        "d": ("mine for ever", "human"),
        "e": ("mine outside", "human"),
    }
    before = {uid: one.extra.get("previous_caption", "") for uid, one in found.items()}
    assert before == {"a": "my own words", "b": "whose?", "c": "", "d": "", "e": ""}
    assert "1 region is left as it was:" in told
    # Other captions are wanted now: what was begun with --overwrite is not gone on with.
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    table(f"{HEADER},caption,score,source,model,locked\n{PEOPLE}broken.png,f,box,{LEFT},,,,,\n")
    asked.insert(1, str(broken))
    assert main([*asked, str(out), "--overwrite"], load=load) == 1
    assert main([*asked, str(out), "--resume"], load=load) == 2
    assert "begun with other overwrite" in capsys.readouterr().err
    assert main([*asked, str(out), "--overwrite", "--only-empty"], load=load) == 2


def test_nothing_to_caption_needs_no_model(photo: Path, table: Any, load: Loader) -> None:
    regions = table(f"{HEADER},caption,source\nphoto,a,box,{LEFT},mine,human\n")
    assert main(["caption", str(photo), "--regions", regions], load=load) == 0
    assert load.names == []


def test_shapes_without_an_image_go_with_every_image(
    tmp_path: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(_photo(tmp_path / f"{name}.png")) for name in "ab"]
    shapes = tmp_path / "shapes.csv"
    ring = np.array([[0, 40], [0, 60], [20, 60]], float)
    write_napari_csv(
        shapes, [Annotation("l", "", Box(0, 0, 20, 20)), Annotation("r", "", Polygon(ring))]
    )
    assert main(["caption", *photos, "--regions", str(shapes)], load=load) == 0
    rows = _rows(capsys.readouterr().out)
    assert [(row["image"], row["uid"], row["caption"]) for row in rows] == [
        ("a.png", "l", "red, mostly"),
        ("a.png", "r", "blue"),
        ("b.png", "l", "red, mostly"),
        ("b.png", "r", "blue"),
    ]


@pytest.mark.parametrize("name", ["photo", "photo.png", "sub/photo.png", "C:\\i\\sub\\photo.png"])
def test_an_image_may_be_named_in_many_ways(
    tmp_path: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = _photo(tmp_path / "sub" / "photo.png")
    regions = table(f"{HEADER}\n{name},a,box,{LEFT}\nother.png,a,box,{LEFT}\n")
    assert main(["caption", str(path), "--regions", regions], load=load) == 0
    out, err = capsys.readouterr()
    assert [row["image"] for row in _rows(out)] == [name]
    assert "1 region of other images left out" in err


def test_a_path_tells_files_of_one_name_apart(
    tmp_path: Path, photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _photo(tmp_path / "sub" / "photo.png")
    arguments = ["caption", str(photo), str(other), "--regions"]
    good = table(f"{HEADER}\nsub/photo.png,a,box,{LEFT}\n")
    assert main([*arguments, good], load=load) == 0
    assert load.backbone.passes == 1
    third = _photo(tmp_path / "third" / "photo.png")
    bad = table(f"{HEADER}\nphoto.png,a,box,{LEFT}\n")
    assert main(["caption", str(other), str(third), "--regions", bad], load=load) == 2
    assert "may be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (f"other,a,box,{LEFT}\n", "no region belongs to photo.png"),
        ("photo,a,box,POINT (1 1)\n", "row 2, column 'wkt'"),
    ],
)
def test_a_bad_table_is_one_sentence_and_writes_nothing(
    tmp_path: Path, photo: Path, table: Any, load: Loader, rows: str, told: str, capsys: Any
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    regions = table(f"{HEADER}\n{rows}")
    assert main(["caption", str(photo), "--regions", regions, "--out", str(out)], load=load) == 2
    stdout, err = capsys.readouterr()
    assert (stdout, out.read_text()) == ("", "old")
    assert told in err.splitlines()[-1]
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_bad_region_fails_and_the_others_are_captioned(
    photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = table(f"{HEADER}\nphoto,b,box,{LEFT}\nphoto,a,point,POINT (999 999)\n")
    assert main(["caption", str(photo), "--regions", regions], load=load) == 1
    out, err = capsys.readouterr()
    assert [(row["uid"], row["caption"]) for row in _rows(out)] == [("b", "red, mostly"), ("a", "")]
    assert "photo.png: region 'a': " in err.splitlines()[-1]


def test_bad_images_fail_and_the_others_are_captioned(
    tmp_path: Path, photo: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:60])
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    bad = [str(tmp_path / name) for name in ("broken.png", "none.png", "dot.png")]
    assert main(["caption", *bad, str(photo), "--regions", "whole"], load=load) == 1
    out, err = capsys.readouterr()
    captions = {row["image"]: row["caption"] for row in _rows(out)}
    assert captions == {"broken.png": "", "none.png": "", "dot.png": "", "photo.png": "red, mostly"}
    told = err.splitlines()
    assert "1 done, 0 skipped, 3 failed" in told[-4]
    assert ["broken" in told[-3], "none" in told[-2], "dot" in told[-1]] == [True] * 3


def test_no_image_at_all_is_a_wrong_argument(tmp_path: Path, load: Loader, capsys: Any) -> None:
    for nothing in (tmp_path / "none.png", tmp_path, tmp_path / "*.png"):
        assert main(["caption", str(nothing), "--regions", "whole"], load=load) == 2
        stdout, err = capsys.readouterr()
        assert (stdout, err.count("\n")) == ("", 1)
        assert str(nothing) in err


def test_the_options_reach_the_model(photo: Path, load: Loader, capsys: Any) -> None:
    given = ["--beams", "2", "--max-tokens", "7", "--pooling", "gaussian"]
    assert main(["caption", str(photo), "--regions", "whole", *given], load=load) == 0
    [row] = _rows(capsys.readouterr().out)
    options = {"beams": 2, "max_tokens": 7, "pooling": "gaussian"}
    assert json.loads(row["origin"])["options"] == options
    options = load.decoder.asked[0]["options"]
    assert (options.beams, options.max_tokens) == (2, 7)


def test_a_wish_the_model_cannot_grant_is_a_wrong_argument(
    tmp_path: Path, photo: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    given = ["--must", "cat", "--never", "cat", "--out", str(out)]
    assert main(["caption", str(photo), "--regions", "whole", *given], load=load) == 2
    assert "cat" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png"]


def test_another_format_on_standard_output(photo: Path, load: Loader, capsys: Any) -> None:
    asked = ["caption", str(photo), "--regions", "grid:2", "--format", "napari"]
    assert main(asked, load=load) == 0
    rows = _rows(capsys.readouterr().out)
    assert list(rows[0])[:2] == ["index", "shape-type"]
    assert {row["uid"]: row["caption"] for row in rows}["r1c1"] == "red, mostly"
    assert main([*asked[:-1], "clay"], load=load) == 2
    assert "'clay' is unknown" in capsys.readouterr().err


def test_a_bad_target_is_told_before_any_work(
    tmp_path: Path, photo: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (tmp_path, tmp_path / "none" / "out.csv"):
        arguments = ["caption", str(photo), "--regions", "whole", "--out", str(target)]
        assert main(arguments, load=load) == 2
    assert load.names == []
    assert "folder" in capsys.readouterr().err


def test_a_model_that_is_missing_is_told(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(name: str) -> Captioner:
        raise ModelError(f"there is no model {name!r}")

    arguments = ["caption", str(photo), "--regions", "whole", "--model", "maxi"]
    assert main(arguments, load=missing) == 2
    assert capsys.readouterr().err.endswith("napari-patchioner: there is no model 'maxi'\n")


def test_an_interruption_ends_with_130(photo: Path, tmp_path: Path) -> None:
    def interrupted(name: str) -> Captioner:
        raise KeyboardInterrupt

    out = tmp_path / "out.csv"
    arguments = ["caption", str(photo), "--regions", "whole", "--out", str(out)]
    assert main(arguments, load=interrupted) == 130
    assert not out.exists()


@pytest.mark.parametrize("name", ["tidy", "napari", "parquet", "coco"])
def test_in_place_no_region_of_another_image_is_lost(
    photo: Path, load: Loader, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = photo.parent / f"regions{FORMATS[name].suffixes[0]}"
    before = [
        _annotated(photo.name),
        _annotated("other.png"),
        _annotated("c.png", "mine", extra={"age": "2"}),
    ]
    write_annotations(path, before, {}, name)
    data = path.read_bytes()
    arguments = ["caption", str(photo), "--regions", str(path), "--out"]
    if name == "coco":  # whose images are described in the file
        assert main([*arguments, str(path)], load=load) == 2
        assert "holds 2 regions of other images, which would be lost" in capsys.readouterr().err
        assert path.read_bytes() == data
    else:
        assert main([*arguments, str(path)], load=load) == 0
        assert "2 regions of other images stay as they are" in capsys.readouterr().err
        first, *rest = read_annotations(path)
        assert (first.image, first.caption) == (photo.name, "red, mostly")
        assert [(one.image, one.caption, one.extra.get("age", "")) for one in rest] == [
            ("other.png", "", ""),
            ("c.png", "mine", "2"),
        ]
    assert main([*arguments, str(photo.parent / "out.csv")], load=load) == 0
    assert "2 regions of other images left out" in capsys.readouterr().err


def test_in_place_the_command_that_is_named_after_a_failure_goes_on(
    photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = photo.with_name("bad.png")
    bad.write_bytes(photo.read_bytes()[:60])
    regions = table(f"{HEADER}\nphoto.png,a,box,{LEFT}\nbad.png,b,box,{LEFT}\n")
    command = ["caption", str(photo), str(bad), "--regions", regions, "--out", regions]
    assert main(command, load=load) == 1
    assert "repeat the command with --only-empty" in capsys.readouterr().err
    bad.write_bytes(photo.read_bytes())
    assert main([*command, "--only-empty"], load=load) == 0
    assert [one.caption for one in read_tidy_csv(photo.with_name("regions.csv"))] == [
        "red, mostly"
    ] * 2
    assert [path.name for path in photo.parent.glob("*.part")] == []


def test_in_place_what_somebody_writes_meanwhile_is_not_replaced(
    photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = f"{HEADER}\nphoto.png,a,box,{LEFT}\n"
    regions = table(rows)
    theirs = f"{rows}photo.png,b,box,{RIGHT}\n"

    def load_slowly(name: str) -> Captioner:
        table(theirs)
        return load(name)

    command = ["caption", str(photo), "--regions", regions, "--out", regions]
    assert main(command, load=load_slowly) == 0
    assert "was changed by another program meanwhile" in capsys.readouterr().err
    assert photo.with_name("regions.csv").read_text(encoding="utf-8") == theirs
    [ours] = read_tidy_csv(photo.with_name("regions-captioned.csv"))
    assert ours.caption == "red, mostly"
    assert main(command, load=load) == 0
    assert "meanwhile" not in capsys.readouterr().err
    assert len(read_tidy_csv(photo.with_name("regions.csv"))) == 2


def test_a_linked_file_is_the_file_that_is_locked_and_written(
    photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    real, link = table(f"{HEADER}\nphoto.png,a,box,{LEFT}\n"), photo.with_name("link.csv")
    link.symlink_to(real)

    def load_twice(name: str) -> Captioner:
        again = ["caption", str(photo), "--regions", real, "--out", real]
        assert main(again, load=load) == 2
        return load(name)

    command = ["caption", str(photo), "--regions", str(link), "--out", str(link)]
    assert main(command, load=load_twice) == 0
    assert "another process is writing it" in capsys.readouterr().err
    assert link.is_symlink()
    assert [one.caption for one in read_tidy_csv(photo.with_name("regions.csv"))] == ["red, mostly"]


@pytest.mark.parametrize(
    ("name", "form"),
    [("r.zip", "labelme"), ("r.zip", "yolo"), ("r.json", "geojson"), ("r.txt", "tidy")],
)
def test_in_place_a_file_keeps_its_format_whatever_its_ending(
    photo: Path, load: Loader, name: str, form: str
) -> None:
    path, sizes = photo.parent / name, {photo.name: ImageInfo(photo.name, 32, 64)}
    write_annotations(path, [_annotated(photo.name)], sizes, form)
    asked = ["caption", str(photo), "--regions", str(path), "--out", str(path)]
    assert main(asked, load=load) == 0
    found = format_of(head_of(path))
    assert found is not None
    assert found.name == form
    assert [one.caption for one in read_annotations(path, sizes)] == ["red, mostly"]


def test_a_folder_is_not_called_like_a_file(
    photo: Path, tmp_path: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["caption", str(photo), "--regions", "grid:2", "--format", "yolo", "--out"]
    assert main([*asked, str(tmp_path / "o.txt")], load=load) == 2
    assert "makes a folder" in capsys.readouterr().err
    assert not (tmp_path / "o.txt").exists()
    assert main([*asked, f"{tmp_path / 'o.txt'}/"], load=load) == 0
    assert (tmp_path / "o.txt" / "data.yaml").is_file()


@pytest.mark.parametrize(("asked", "size"), [([], "0.25 µm"), (["--pixel-size", "2nm"], "2nm")])
def test_pixels_are_as_large_as_the_file_says_unless_a_person_does(
    tmp_path: Path, load: Loader, asked: list[str], size: str
) -> None:
    path, out = tmp_path / "calibrated.tif", tmp_path / "out.csv"
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(path, np.zeros((32, 64), np.uint8), ome=True, metadata=sizes)
    command = ["caption", str(path), "--regions", "whole", "--out", str(out), *asked]
    assert main(command, load=load) == 0
    [row] = read_tidy_csv(out)
    assert json.loads(row.extra["origin"])["options"]["pixel_size"] == size


def test_a_table_with_a_row_that_cannot_be_read_is_not_written_over(
    photo: Path, tmp_path: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "regions.csv"
    good = f'a,{photo.name},box,"POLYGON ((0 0, 4 0, 4 2, 0 2, 0 0))"\n'
    path.write_text(f"uid,image,kind,wkt\n{good}b,{photo.name},box,nonsense\n", encoding="utf-8")
    before = path.read_bytes()
    arguments = ["caption", str(photo), "--regions", str(path), "--out"]
    assert main([*arguments, str(path)], load=load) == 2
    told = capsys.readouterr().err
    assert "regions.csv: row 3" in told
    assert "would be lost" in told
    assert path.read_bytes() == before
    assert main([*arguments, str(tmp_path / "out.csv")], load=load) == 0
    assert [one.uid for one in read_tidy_csv(tmp_path / "out.csv")] == ["a"]


BOX = Box(0, 0, 20, 20)


def _annotated(image: str, caption: str = "", uid: str = "a", **fields: Any) -> Annotation:
    return Annotation(uid, image, BOX, caption, **fields)


@pytest.mark.parametrize(
    ("out", "named", "there"),
    [
        ("hs.csv", [], "hs.csv"),
        ("o.json", ["--format", "coco"], "o.json"),
        ("o.geojson", [], "o-b.geojson"),
        ("o.zip", [], "o-b.zip"),
        ("hd", ["--format", "labelme"], "hd/b.json"),
        ("gd", ["--format", "geojson"], "gd/b.geojson"),
        ("yd", ["--format", "yolo"], "yd"),
    ],
)
def test_a_result_that_holds_captions_of_people_is_never_replaced(
    tmp_path: Path, load: Loader, capsys: Any, out: str, named: list[str], there: str
) -> None:
    photos = [str(_photo(tmp_path / f"{name}.png")) for name in "ab"]
    sizes = {name: ImageInfo(name, 32, 64) for name in ("a.png", "b.png")}
    target = tmp_path / there
    target.parent.mkdir(exist_ok=True)
    form = {"hd/b.json": "labelme", "yd": "yolo", "o.json": "coco"}.get(there)
    write_annotations(target, [_annotated("b.png", "my words", source="human")], sizes, form)
    files = [target] if target.is_file() else sorted(p for p in target.rglob("*") if p.is_file())
    before = [path.read_bytes() for path in files]
    boxes = tmp_path / "boxes.csv"
    write_tidy_csv(boxes, [_annotated("a.png"), _annotated("b.png")])
    asked = ["caption", *photos, "--regions", str(boxes), "--out", str(tmp_path / out), *named]
    assert main(asked, load=load) == 2
    told = capsys.readouterr().err.splitlines()
    assert (len(told), load.names) == (1, [])
    assert (
        f"{target}: is there already and holds 1 caption of people, such as 'my words'" in told[0]
    )
    assert [path.read_bytes() for path in files] == before
    # What the run brings along itself is not lost; nor is what a model said.
    write_tidy_csv(boxes, [_annotated("a.png"), _annotated("b.png", "my words", source="human")])
    assert main(asked, load=load) == 0
    write_annotations(target, [_annotated("b.png", "old", source="model")], sizes, form)
    assert main(asked, load=load) == 0


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "parquet"])
def test_the_same_command_may_be_given_twice(
    tmp_path: Path, photo: Path, load: Loader, name: str
) -> None:
    drawn = Trace(np.array([[4, 4], [9, 30]], float)) if "narratives" in name else BOX
    mine = Annotation("a", "photo.png", drawn, "my words", source="human")
    boxes = tmp_path / "boxes.csv"
    write_tidy_csv(boxes, [mine, Annotation("b", "photo.png", drawn)])
    regions = "whole" if name == "coco-captions" else str(boxes)
    out = tmp_path / f"out{next(iter(FORMATS[name].suffixes), '')}"
    asked = ["caption", str(photo), "--regions", regions, "--out", str(out), "--format", name]
    assert [main(asked, load=load) for _ in range(2)] == [0, 0]


def test_a_file_for_one_region_is_refused_for_more_before_the_work(
    tmp_path: Path, photo: Path, load: Loader, capsys: Any
) -> None:
    asked = ["caption", str(photo), "--out", str(tmp_path / "x.roi"), "--regions"]
    assert main([*asked, "grid:2"], load=load) == 2
    assert "a .roi file holds one region, not 4; write a .zip" in capsys.readouterr().err
    assert (load.names, list(tmp_path.glob("x.roi*"))) == ([], [])
    assert main([*asked, "grid:1"], load=load) == 0


@pytest.mark.parametrize("regions", ["whole", "grid:2"])
@pytest.mark.parametrize(("out", "named"), [("w.zip", []), ("hd", ["--format", "labelme"])])
def test_of_images_that_failed_there_are_no_empty_files(
    tmp_path: Path, load: Loader, capsys: Any, regions: str, out: str, named: list[str]
) -> None:
    bad = [tmp_path / "p.png", tmp_path / "q.png"]
    for path in bad:
        path.write_bytes(b"damaged")
    asked = ["--regions", regions, "--out", str(tmp_path / out), *named]
    assert main(["caption", *map(str, bad), *asked], load=load) == 1
    assert "was not written, since no image could be read" in capsys.readouterr().err
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(["p.png", "q.png", f"{out}.part"])


def test_of_several_files_none_is_named_that_does_not_exist(
    tmp_path: Path, load: Loader, capsys: Any
) -> None:
    photos = [str(_photo(tmp_path / f"{name}.png")) for name in "pq"]
    out = tmp_path / "w.geojson"
    assert main(["caption", *photos, "--regions", "whole", "--out", str(out)], load=load) == 0
    told = capsys.readouterr().err
    assert "w-p.geojson, w-q.geojson\n2 regions in these files\n" in told
    assert f"{out}:" not in told


@pytest.mark.parametrize(
    ("name", "ending"), [("geojson", ".geojson"), ("imagej", ".zip"), ("labelme", ".json")]
)
def test_a_folder_of_files_of_one_image_each_is_read_again_and_in_place(
    tmp_path: Path, load: Loader, capsys: Any, name: str, ending: str
) -> None:
    photos = [str(_photo(tmp_path / f"{one}.png")) for one in "ab"]
    folder, table = tmp_path / "many", tmp_path / "all.csv"
    made = ["--regions", "grid:2", "--format", name, "--out", str(folder)]
    assert main(["caption", *photos, *made], load=load) == 0
    asked = ["--regions", str(folder), "--out"]
    assert main(["caption", *photos, *asked, str(table)], load=load) == 0
    found = sorted((one.image, one.uid) for one in read_tidy_csv(table))
    boxes = ("r1c1", "r1c2", "r2c1", "r2c2")
    assert found == [(one, uid) for one in ("a.png", "b.png") for uid in boxes]
    # In place, one image of two: the file of the other one stays byte for byte, a damaged one too.
    before = (folder / f"b{ending}").read_bytes()
    write_annotations(folder / f"a{ending}", [_annotated("a.png", uid="new")], {}, name)
    (folder / f"0{ending}").write_bytes(b"")
    capsys.readouterr()
    assert main(["caption", photos[0], *asked, str(folder)], load=load) == 0
    told = capsys.readouterr().err
    assert f"0{ending}: is " in told
    assert "4 regions of other images stay as they are" in told
    assert (folder / f"b{ending}").read_bytes() == before
    [new] = read_annotations(folder / f"a{ending}")
    assert (new.uid, new.caption) == ("new", "red, mostly")
    assert sorted(one.name for one in folder.iterdir()) == [f"{one}{ending}" for one in "0ab"]
    if not FORMATS[name].single:
        return
    # Files of other names would be doubled.
    (folder / f"a{ending}").rename(folder / f"c{ending}")
    write_annotations(folder / f"c{ending}", [_annotated("a.png")], {})
    assert main(["caption", photos[0], *asked, str(folder)], load=load) == 2
    assert f"(c{ending}), and would be doubled" in capsys.readouterr().err


def _result(height: int, width: int) -> dict[str, Any]:
    value = {"x": 0, "y": 0, "width": 30, "height": 60, "rectanglelabels": ["cat"]}
    about = {"original_height": height, "original_width": width, "value": value, "id": "r"}
    return {**about, "type": "rectanglelabels", "from_name": "label", "to_name": "image"}


def _stating(height: int, width: int) -> dict[str, Any]:
    """Return files of several formats that say how large the photograph is."""
    sides = {"height": height, "width": width}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20]}
    shape = {"label": "cat", "points": [[0, 0], [20, 20]], "shape_type": "rectangle"}
    runs = {"size": [height, width], "counts": [0, 20, height * width - 20]}
    return {
        "runs of coco": {
            "images": [{"id": 1, "file_name": "photo.png"}],
            "annotations": [{"id": 1, "image_id": 1, "segmentation": runs}],
        },
        "coco": {
            "images": [{"id": 1, "file_name": "photo.png", **sides}],
            "annotations": [box],
            "categories": [{"id": 1, "name": "cat"}],
        },
        "labelme": {
            "shapes": [shape],
            "imagePath": "photo.png",
            "imageHeight": height,
            "imageWidth": width,
        },
        "label-studio": [
            {"data": {"image": "photo.png"}, "annotations": [{"result": [_result(height, width)]}]}
        ],
    }


@pytest.mark.parametrize("name", ["coco", "runs of coco", "labelme", "label-studio"])
def test_a_size_that_is_not_the_pictures_is_told(
    tmp_path: Path, photo: Path, load: Loader, capsys: Any, name: str
) -> None:
    path, turned = tmp_path / "regions.json", tmp_path / "turned" / "photo.png"
    asked = ["--regions", str(path), "--out", str(tmp_path / "out.csv")]
    # A camera held upright: the pixels lie on their side, and the picture is 64 by 32.
    turned.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).save(turned, exif=exif)
    for picture, size, right in [(photo, (64, 128), (32, 64)), (turned, (32, 64), (64, 32))]:
        path.write_text(json.dumps(_stating(*size)[name]))
        assert main(["caption", str(picture), *asked], load=load) == 0
        told = f"{size[0]} by {size[1]} pixels, but it has {right[0]} by {right[1]}"
        assert f"regions.json: says that photo.png has {told}" in capsys.readouterr().err
        path.write_text(json.dumps(_stating(*right)[name]))
        assert main(["caption", str(picture), *asked], load=load) == 0
        assert "says that" not in capsys.readouterr().err
    # A file without columns does not speak of any, and an image that it holds is named.
    other = _photo(tmp_path / "other.png")
    assert main(["caption", str(other), *asked], load=load) == 2
    told = capsys.readouterr().err
    assert "no region belongs to other.png; its regions are about 'photo.png'" in told
    assert "column" not in told


def test_an_image_too_thin_is_told_with_its_own_size(
    tmp_path: Path, load: Loader, capsys: Any
) -> None:
    Image.new("RGB", (5000, 1)).save(tmp_path / "thin.png")
    assert main(["caption", str(tmp_path / "thin.png"), "--regions", "whole"], load=load) == 1
    assert "at least 2 by 2 pixels, but this one is 1 by 5000" in capsys.readouterr().err


def test_pages_of_other_sizes_are_said_to_be_left_out(
    tmp_path: Path, load: Loader, capsys: Any
) -> None:
    pages = [np.full((32, 64, 3), 90, np.uint8), np.full((48, 64, 3), 9, np.uint8)]
    for name, kept in (("alike.tif", [np.stack(pages[:1] * 2)]), ("pages.tif", [*pages, pages[1]])):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for page in kept:
                writer.write(page, photometric="rgb")
    asked = ["caption", str(tmp_path / "pages.tif"), str(tmp_path / "alike.tif")]
    assert main([*asked, "--regions", "whole"], load=load) == 0
    said = capsys.readouterr().err
    assert (
        "2 pages behind the first are no part of a stack with it and not read, such as in" in said
    )
    assert "in pages.tif; save each as a file of its own" in said
    assert main(["caption", asked[2], "--regions", "whole"], load=load) == 0
    assert "page" not in capsys.readouterr().err
