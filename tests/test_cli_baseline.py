from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from published import clip, language

from napari_patchioner.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name a tiny CLIP and a tiny GPT-2."""
    home = tmp_path_factory.mktemp("models")
    folder = clip.write(home / "clip", layers=1)["clip"]
    gpt2 = language.write(home / "gpt2", layers=1)["gpt2"]
    return ["--clip", str(folder), "--gpt2", str(gpt2)]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    colours = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("method", ["magic", "zerocap"])
def test_the_whole_picture_is_captioned(method, folders, picture, capsys):
    options = [str(picture), *folders, "--max-tokens", "2"]
    assert main(["baseline", method, *options]) == 0
    told = capsys.readouterr()
    (row,) = rows(told.out)
    assert (row["image"], row["kind"], row["model"]) == ("photo.png", "image", method)
    assert row["caption"]
    assert f"{method}: region 1 of 1" in told.err
    assert main(["baseline", method, *options]) == 0
    assert capsys.readouterr().out == told.out


def test_regions_are_captioned_by_their_crops(folders, picture, capsys):
    table = picture.with_name("regions.csv")
    box = "POLYGON ((4 6, 30 6, 30 25, 4 25, 4 6))"
    table.write_text(f'uid,image,kind,wkt\na,photo.png,box,"{box}"\nb,,image,\n', encoding="utf-8")
    out = picture.with_name("captions.csv")
    options = [*folders, "--max-tokens", "4", "--prompt", "The", "--out", str(out)]
    assert main(["baseline", "magic", str(picture), "--regions", str(table), *options]) == 0
    found = {row["uid"]: row["caption"] for row in rows(out.read_text(encoding="utf-8"))}
    # the crop saved as a picture of its own says the same
    part = picture.with_name("part.png")
    Image.open(picture).crop((4, 6, 30, 25)).save(part)
    capsys.readouterr()
    assert main(["baseline", "magic", str(part), *options[:-2]]) == 0
    (alone,) = rows(capsys.readouterr().out)
    assert found["a"] == alone["caption"]
    assert set(found) == {"a", "b"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--max-tokens", "999"], "can write 1 to"),
        (["--gpt2", "nowhere"], "config.json is missing or damaged"),
        (["--clip", "nowhere"], "nowhere"),
        (["--regions", "nowhere.csv"], "nowhere.csv"),
        (["--out", "nowhere/captions.csv"], "there is no such folder"),
    ],
)
def test_trouble_is_one_sentence(changes, message, folders, picture, capsys):
    assert main(["baseline", "magic", str(picture), *folders, *changes]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("napari-patchioner: ")
    assert message in last


def test_a_region_outside_is_named(folders, picture, capsys):
    table = picture.with_name("regions.csv")
    box = "POLYGON ((400 6, 430 6, 430 25, 400 25, 400 6))"
    table.write_text(f'uid,image,kind,wkt\nfar,photo.png,box,"{box}"\n', encoding="utf-8")
    assert main(["baseline", "magic", str(picture), "--regions", str(table), *folders]) == 1
    told = capsys.readouterr().err
    assert "region 'far'" in told
    assert "outside" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["blip"],
        ["magic"],
        ["magic", "a.png", "--clip", "x"],
        ["magic", "a.png", "--clip", "x", "--gpt2", "y", "--max-tokens", "0"],
    ],
)
def test_a_wrong_command_is_told(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(["baseline", *arguments])
    assert left.value.code == 2
    assert "baseline" in capsys.readouterr().err
