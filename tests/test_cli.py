from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from napari_patchioner import __version__
from napari_patchioner.annotations import Annotation, read_tidy_csv, write_napari_csv
from napari_patchioner.backbones._picture import as_rgb
from napari_patchioner.bridges import Crossing
from napari_patchioner.captioner import Captioner
from napari_patchioner.cli import main
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box, Polygon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "image,uid,kind,wkt"
OUTPUT = [*HEADER.split(","), "caption", "score", "source", "model"]
LEFT = '"POLYGON ((0 0, 32 0, 32 32, 0 32, 0 0))"'
RIGHT = '"POLYGON ((32 0, 64 0, 64 32, 32 32, 32 0))"'


class PixelBackbone:
    """Patches of 16 pixels are the mean of their colours; it counts its looks."""

    name, dim, patch_size, input_size = "pixels", 3, 16, 64

    def __init__(self) -> None:
        self.passes = 0

    def encode(self, image: Any, *, progress: Any = None) -> FeatureGrid:
        self.passes += 1
        pixels = as_rgb(image).astype(np.float32)
        rows, columns = pixels.shape[0] // 16, pixels.shape[1] // 16
        embeddings = pixels.reshape(rows, 16, columns, 16, 3).mean(axis=(1, 3))
        transform = GridTransform(pixels.shape[:2], (rows, columns))
        return FeatureGrid(embeddings, transform, "pixels")


class StraightBridge:
    def cross(self, vectors: np.ndarray, grid: Any, **known: Any) -> Crossing:
        return Crossing(vectors)


class ColourDecoder:
    def decode(self, vectors: np.ndarray, **options: Any) -> list[Caption]:
        return [
            Caption(("red, mostly", "green", "blue")[row.argmax()], float(row.max() / 255))
            for row in vectors
        ]


class Loader:
    """Loads a captioner that names colours, and remembers what was asked."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.backbone = PixelBackbone()

    def __call__(self, name: str) -> Captioner:
        self.names.append(name)
        return Captioner(self.backbone, StraightBridge(), ColourDecoder(), name=name)


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
    assert list(rows[0]) == OUTPUT
    assert [(row["image"], row["uid"], row["caption"]) for row in rows] == [
        ("photo.png", "a", "red, mostly"),
        ("photo", "b", "blue"),
    ]
    assert {(row["source"], row["model"]) for row in rows} == {("model", "mini")}
    assert "[1/1] photo.png: 2 regions" in err


def test_one_model_load_and_one_look_per_image(
    tmp_path: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(_photo(tmp_path / f"{name}.png")) for name in "abc"]
    rows = "".join(f"{name}.png,{n},box,{LEFT}\n" for n in range(5) for name in "cab")
    assert main(["caption", *photos, "--regions", table(f"{HEADER}\n{rows}")], load=load) == 0
    assert load.names == ["mini"]
    assert load.backbone.passes == 3
    images = [row["image"] for row in _rows(capsys.readouterr().out)]
    assert images == ["c.png", "a.png", "b.png"] * 5


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
    assert (again.caption, again.extra) == (first[0].caption, {"note": "keep me"})


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
    assert "3 kept as a person wrote them" in err


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


@pytest.mark.parametrize(
    "name", ["photo", "photo.png", "sub/photo.png", "elsewhere/photo.png", "C:\\imgs\\photo.png"]
)
def test_an_image_may_be_named_in_many_ways(
    tmp_path: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = _photo(tmp_path / "sub" / "photo.png")
    regions = table(f"{HEADER}\n{name},a,box,{LEFT}\nother.png,a,box,{LEFT}\n")
    assert main(["caption", str(path), "--regions", regions], load=load) == 0
    out, err = capsys.readouterr()
    assert [row["image"] for row in _rows(out)] == [name]
    assert "1 row of other images left out" in err


def test_a_path_tells_files_of_one_name_apart(
    tmp_path: Path, photo: Path, table: Any, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _photo(tmp_path / "sub" / "photo.png")
    arguments = ["caption", str(photo), str(other), "--regions"]
    good = table(f"{HEADER}\nsub/photo.png,a,box,{LEFT}\n")
    assert main([*arguments, good], load=load) == 0
    assert load.backbone.passes == 1
    bad = table(f"{HEADER}\nphoto.png,a,box,{LEFT}\n")
    assert main([*arguments, bad], load=load) == 2
    assert "may be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (f"other,a,box,{LEFT}\n", "no row belongs to photo.png"),
        ("photo,a,point,POINT (999 999)\n", "photo.png: region 'a'"),
        (f"photo,b,box,{LEFT}\nphoto,a,point,POINT (999 999)\n", "photo.png: region 'a'"),
        ("photo,a,box,POINT (1 1)\n", "row 2, column 'wkt'"),
    ],
)
def test_bad_regions_are_one_sentence_and_write_nothing(
    tmp_path: Path,
    photo: Path,
    table: Any,
    load: Loader,
    capsys: pytest.CaptureFixture[str],
    rows: str,
    told: str,
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    regions = table(f"{HEADER}\n{rows}")
    assert main(["caption", str(photo), "--regions", regions, "--out", str(out)], load=load) == 2
    stdout, err = capsys.readouterr()
    assert stdout == ""
    assert told in err.splitlines()[-1]
    assert out.read_text() == "old"


def test_bad_images_are_one_sentence_and_write_nothing(
    tmp_path: Path, photo: Path, load: Loader, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:60])
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    for bad in (broken, tmp_path / "none.png", tmp_path, tmp_path / "dot.png"):
        assert main(["caption", str(photo), str(bad), "--regions", "whole"], load=load) == 2
        stdout, err = capsys.readouterr()
        assert stdout == ""
        assert err.splitlines()[-1].startswith("napari-patchioner: ")


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


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"napari-patchioner {__version__}\n"
    for wrong in ([], ["caption"], ["caption", "a.png"], ["paint"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently there")
def test_a_reader_that_leaves_causes_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from napari_patchioner.cli import main; sys.exit(main(['models']))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (2, b"")


def test_the_command_line_loads_neither_napari_nor_torch() -> None:
    code = (
        "import sys, napari_patchioner.cli as cli, napari_patchioner._cli, napari_patchioner.demo\n"
        "print([m for m in ('napari', 'qtpy', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
