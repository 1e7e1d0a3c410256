"""Files, names and images as nobody should make them, but as they come."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import taught_pictures
from PIL import Image

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.checkpoints import arrays_as_bytes, read_arrays
from napari_patchioner.cli import main
from napari_patchioner.regions import Box
from napari_patchioner.teaching import read_lexicon, write_lexicon

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taught_pictures import Drawn

    from napari_patchioner.captioner import Captioner

    Run = Callable[..., int]


@pytest.fixture
def run(mini: Captioner) -> Run:
    return lambda *words: main([str(word) for word in words], load=lambda _: mini)


@pytest.fixture
def cells(tmp_path: Path, mini: Captioner, first: Drawn) -> Path:
    write_lexicon(tmp_path / "cells", taught_pictures.taught(mini, first))
    return tmp_path / "cells"


def with_text(folder: Path, **changes: object) -> None:
    path = folder / "lexicon.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def with_vectors(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    arrays = dict(read_arrays(folder / "vectors.safetensors"))
    arrays["examples.grid"] = change(arrays["examples.grid"])
    (folder / "vectors.safetensors").write_bytes(arrays_as_bytes(arrays))


def cut(name: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return damage


def loop(folder: Path) -> None:
    (folder / "lexicon.json").unlink()
    (folder / "lexicon.json").symlink_to(folder / "lexicon.json")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "text cut": cut("lexicon.json"),
    "vectors cut": cut("vectors.safetensors"),
    "vectors gone": lambda folder: (folder / "vectors.safetensors").unlink(),
    "text a loop": loop,
    "text no text": lambda folder: (folder / "lexicon.json").write_bytes(b"\xff\xfe\x00\x01" * 9),
    "text a list": lambda folder: (folder / "lexicon.json").write_text("[]"),
    "text deep": lambda folder: (folder / "lexicon.json").write_text("[" * 90_000),
    "later version": lambda folder: with_text(folder, format="napari-patchioner lexicon 9"),
    "examples a number": lambda folder: with_text(folder, examples=7),
    "examples gone": lambda folder: with_text(folder, examples=[]),
    "image out of range": lambda folder: with_text(
        folder, examples=[{"name": "leaf", "image": 9, "uid": "1"}]
    ),
    "name of controls": lambda folder: with_text(
        folder, examples=[{"name": "\x1b[2J", "image": 0, "uid": "1"}]
    ),
    "not finite": lambda folder: with_vectors(folder, lambda rows: rows * np.nan),
    "whole numbers": lambda folder: with_vectors(folder, lambda rows: rows.astype(np.int32)),
    "one dimension": lambda folder: with_vectors(folder, lambda rows: rows.ravel()),
    "a row missing": lambda folder: with_vectors(folder, lambda rows: rows[1:]),
    "other width": lambda folder: with_vectors(folder, lambda rows: rows[:, 1:]),
    "empty": lambda folder: with_vectors(folder, lambda rows: rows[:0]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_lexicon_is_told_in_a_sentence(
    damage: str, cells: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGES[damage](cells)
    assert run("lexicon", "info", cells) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert "Traceback" not in err


NAMES = [
    "=1+1",
    "@SUM(A1)",
    "-2 leaf",
    "\u202eleaf",
    "خلية",
    "🍂 leaf",
    "leaf, large; 'x' \"y\"",
    "line\nbreak",
    "e\u0301toile",
    "<b>leaf</b>",
]


def test_names_of_any_letters_come_back_as_they_are(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ["nucleus", "leaf", "grain"] * 4
    pixels, boxes = taught_pictures.draw(1, kinds[: len(NAMES)], 240, 300)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    regions = [
        Annotation(f"uid {name}", "a.png", box, name, None, "human")
        for box, name in zip(boxes, NAMES, strict=True)
    ]
    write_annotations(tmp_path / "names.geojson", regions, {})
    asked = ["teach", tmp_path / "a.png", "--regions", tmp_path / "names.geojson"]
    status = run(*asked, "--out", tmp_path / "cells")
    out, err = capsys.readouterr()
    names = read_lexicon(tmp_path / "cells").counts
    # A mark that turns the writing round is not shown by itself, so it is no name.
    assert status == 0
    assert "1 region left out" in err
    assert "is no name" in err
    shown = {"étoile" if name == "e\u0301toile" else " ".join(name.split()) for name in NAMES}
    assert set(names) == shown - {"\u202eleaf"}
    assert "\u202e" not in out + err
    asked = ["caption", tmp_path / "a.png", "--regions", tmp_path / "names.geojson"]
    options = ["--overwrite", "--lexicon", tmp_path / "cells", "--out", tmp_path / "out.csv"]
    assert run(*asked, *options) == 0
    said = read_annotations(tmp_path / "out.csv")
    assert {one.caption for one in said if one.source == "taught"} <= set(names)
    assert any(one.source == "taught" for one in said)


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "gray.png"), ("I;16", "deep.png"), ("RGBA", "clear.png")]
)
def test_gray_deep_and_transparent_images_teach_and_are_searched(
    mode: str, name: str, tmp_path: Path, run: Run
) -> None:
    pixels, boxes = taught_pictures.draw(1, ["nucleus", "leaf", "nucleus", "leaf"], height=64)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        Image.fromarray(pixels[..., 1].astype(np.uint16) * 100).save(tmp_path / name)
    else:
        image.convert(mode).save(tmp_path / name)
    regions = [
        Annotation(str(row), name, boxes[row], kind, None, "human")
        for row, kind in enumerate(["nucleus", "leaf"])
    ]
    write_annotations(tmp_path / "names.csv", regions, {})
    place = tmp_path / name
    asked = ["--regions", tmp_path / "names.csv", "--out", tmp_path / "cells"]
    assert run("teach", place, *asked) == 0
    bare = [Annotation(str(row), name, boxes[row]) for row in (2, 3)]
    write_annotations(tmp_path / "bare.csv", bare, {})
    asked = ["--regions", tmp_path / "bare.csv", "--lexicon", tmp_path / "cells"]
    assert run("caption", place, *asked, "--out", tmp_path / "out.csv") == 0
    said = [one.caption for one in read_annotations(tmp_path / "out.csv")]
    assert said == ["nucleus", "leaf"]
    asked = ["--like", tmp_path / "names.csv", "--out", tmp_path / "found.csv"]
    assert run("find", place, *asked) == 0


def test_an_image_of_one_pixel_and_regions_outside_are_told(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "black.png")
    boxes = {"dot.png": Box(-0.5, -0.5, 0.5, 0.5), "black.png": Box(90.0, 90.0, 99.0, 99.0)}
    for image, box in boxes.items():
        write_annotations(
            tmp_path / "names.csv", [Annotation("1", image, box, "leaf", None, "human")], {}
        )
        for words in (["teach", "--regions"], ["find", "--like"]):
            asked = [words[0], tmp_path / image, words[1], tmp_path / "names.csv"]
            status = run(*asked, "--out", tmp_path / f"{words[0]}-{image}.csv")
            err = capsys.readouterr().err
            assert status in (0, 1, 2)
            assert "Traceback" not in err
            if image == "black.png":
                assert status == 2
                assert not (tmp_path / f"{words[0]}.csv").exists()


def test_one_region_with_two_names_is_told(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels, boxes = taught_pictures.draw(1, ["nucleus", "leaf"], height=64)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    regions = [
        Annotation(str(row), "a.png", boxes[0], name, None, "human")
        for row, name in enumerate(["nucleus", "core", "nucleus"])
    ]
    write_annotations(tmp_path / "names.csv", regions, {})
    asked = ["teach", tmp_path / "a.png", "--regions", tmp_path / "names.csv"]
    assert run(*asked, "--out", tmp_path / "cells") == 0
    told = "the very same region is called 'core' and 'nucleus'"
    assert capsys.readouterr().out.count(told) == 1
    assert run("lexicon", "forget", tmp_path / "cells", "--name", "core") == 0
    capsys.readouterr()
    assert run("lexicon", "info", tmp_path / "cells") == 0
    assert "the very same" not in capsys.readouterr().out
