"""What models are shown of what they know: learned, kept, forgotten, and said with captions."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
from families import FAMILIES
from PIL import Image

from napari_patchioner import load_model
from napari_patchioner.bridges import NormalizeBridge
from napari_patchioner.bridges.familiarity import Familiarity
from napari_patchioner.captioner import Captioner
from napari_patchioner.cli import main
from napari_patchioner.decoders import QuoteDecoder
from napari_patchioner.describers import Describer, Endpoint, Server
from napari_patchioner.devices import noticed
from napari_patchioner.errors import ModelError
from napari_patchioner.models.familiar import (
    familiar_path,
    forget_familiarity,
    learn_familiarity,
    load_familiarity,
    unknown_sentence,
)
from napari_patchioner.models.memories import MemoryChoice, with_memory
from napari_patchioner.regions import Box, WholeImage

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 20


@pytest.fixture(scope="module")
def mini() -> Captioner:
    return load_model("mini")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Parts of a stained section, small ones."""
    return write_parts(tmp_path / "scans", 160)


@pytest.fixture
def strips(tmp_path: Path) -> Path:
    """Parts so narrow that few patches are to be encoded."""
    return write_parts(tmp_path / "strips", 40)


def write_parts(folder: Path, width: int) -> Path:
    whole = skimage.data.immunohistochemistry()
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(COUNT):
        top, left = random.integers(0, 512 - 160, 2)
        part = Image.fromarray(whole[top : top + 160, left : left + width])
        part.save(folder / f"{number:02}.png")
    return folder


def whole_share(captioner: Captioner, image: object) -> float:
    grid = captioner.encode(image)  # type: ignore[arg-type]
    shares = captioner.familiarity(grid, [WholeImage()])
    assert shares is not None
    return float(shares[0])


def test_a_photograph_is_known_and_a_micrograph_and_a_page_are_not(mini):
    assert whole_share(mini, skimage.data.astronaut()) > 0.1
    assert whole_share(mini, skimage.data.immunohistochemistry()) < 0.01
    assert whole_share(mini, skimage.data.page()) < 0.01


def test_a_caption_says_how_familiar_its_region_is(mini):
    grid = mini.encode(skimage.data.astronaut())
    boxes = [Box(20, 150, 240, 300), Box(0, 0, 511, 511)]
    captions = mini.caption(grid, [*boxes, WholeImage()])
    assert [caption.familiarity for caption in captions] == pytest.approx(
        mini.familiarity(grid, [*boxes, WholeImage()])
    )
    assert min(caption.familiarity for caption in captions) > 0.05


def test_a_captioner_with_another_memory_knows_the_same(mini, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path))
    assert with_memory(mini, MemoryChoice("microscopy")).known is mini.known


def test_what_a_person_shows_a_model_counts_and_can_be_forgotten(
    strips, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    assert main(["models", "familiar", "mini", str(strips)]) == 0
    assert f"mini knows {COUNT} images" in capsys.readouterr().err
    tissue = skimage.data.immunohistochemistry()[100:260, 200:360]
    own, shipped = load_model("mini"), load_model("mini-zeroshot")
    assert own.known.known_images == COUNT
    assert whole_share(own, tissue) > whole_share(shipped, tissue)
    assert main(["models", "info", "mini"]) == 0
    assert f"knows    {COUNT} images" in capsys.readouterr().out
    assert main(["models", "familiar", "mini", "--forget"]) == 0
    assert load_model("mini").known.known_images > 200
    with pytest.raises(ModelError, match="nothing to forget"):
        forget_familiarity("mini")


def test_files_that_cannot_be_read_are_left_out(mini, strips, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    (strips / "00.png").write_bytes(b"no picture")
    paths = sorted(strips.glob("*.png"))
    before = mini.known
    with pytest.raises(ModelError, match="19 images could be read"):
        learn_familiarity(mini, paths)
    assert not familiar_path("mini").exists()
    assert mini.known is before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mini"], "Name images like those that mini was made for"),
        (["mini", "--forget"], "nothing to forget"),
        (["no-such"], "There is no model"),
    ],
)
def test_odd_commands_are_answered_in_a_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path))
    assert main(["models", "familiar", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_damaged_or_foreign_file_never_keeps_a_model_from_loading(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path))
    path = familiar_path("mini")
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    said: list[str] = []
    with noticed(said.append):
        known = load_model("mini").known
    assert known is not None
    assert len(said) == 1
    assert "make it again" in said[0]
    Familiarity("another/1", known.known_images, known.known_regions, known.arrays).write(path)
    assert load_model("mini").known.backbone == known.backbone


def test_a_model_that_embeds_nothing_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    server = Describer(Server(Endpoint("http://127.0.0.1:9/v1"), "llava"))
    with pytest.raises(ModelError, match="llava gives no embeddings"):
        learn_familiarity(server, sorted(folder.glob("*.png")))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_kind_of_backbone_can_be_shown_what_it_knows(name, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    kind = FAMILIES[name]
    backbone = kind.open(kind.write(tmp_path / "files", 1), size=5 * kind.patch)
    captioner = Captioner(backbone, NormalizeBridge(), QuoteDecoder(), name="own")
    learn_familiarity(captioner, sorted(folder.glob("*.png")))
    again = replace(captioner, known=None)
    again.known = load_familiarity(again)
    grid = again.encode(np.asarray(Image.open(folder / "03.png")))
    boxes = [Box(10, 10, 90, 90), Box(60, 60, 150, 150), WholeImage()]
    shares = again.familiarity(grid, boxes)
    assert shares == pytest.approx(captioner.familiarity(grid, boxes))
    assert ((shares > 0) & (shares <= 1)).all()


def test_where_nobody_knows_no_number_is_made_up(mini):
    bare = load_model("mini")
    bare.known = None
    grid = bare.encode(skimage.data.astronaut()[:200, :200])
    assert bare.familiarity(grid, [WholeImage()]) is None
    [caption] = bare.caption(grid, [WholeImage()])
    assert caption.familiarity is None
    assert "models familiar clip-b16 FOLDER" in unknown_sentence("clip-b16")


def test_the_command_line_writes_a_column_and_says_how_many_are_unlike(tmp_path, capsys):
    Image.fromarray(skimage.data.page()).save(tmp_path / "page.png")
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "astronaut.png")
    out = tmp_path / "out.csv"
    given = [str(tmp_path / "*.png"), "--regions", "whole", "--out", str(out)]
    assert main(["caption", *given]) == 0
    assert "1 of 2 regions is unlike anything mini knows" in capsys.readouterr().err
    with out.open(encoding="utf-8", newline="") as file:
        shares = {row["image"]: float(row["familiarity"]) for row in csv.DictReader(file)}
    assert shares["page.png"] < 0.01 < shares["astronaut.png"]
