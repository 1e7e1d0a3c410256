from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import coffee

from napari_patchioner import load_model
from napari_patchioner.bridges import MemoryBank
from napari_patchioner.checkpoints import file_sha256, read_notes, read_state
from napari_patchioner.cli import main
from napari_patchioner.decoders import DeCapDecoder
from napari_patchioner.errors import Cancelled, FormatError, ModelError
from napari_patchioner.models import Part, add_model
from napari_patchioner.models.catalog import presets, read_preset
from napari_patchioner.regions import Box
from napari_patchioner.texts import TextList
from napari_patchioner.training import (
    About,
    Noise,
    Recipe,
    Settings,
    Sizes,
    Split,
    rebuilt,
    score_ways,
    train_decoder,
    write_preset,
)

from .conftest import CAPTIONS, DIM, embed

TINY = Recipe(sizes=Sizes(width=16, layers=1, heads=2, longest=12), pieces=300)
SETTINGS = Settings(batch=16, check_every=10, learning_rate=0.01)
ABOUT = About("tiny", licence="CC0-1.0")


def made(folder, tower, texts, *, recipe=TINY, steps=20, settings=SETTINGS, **options):
    return train_decoder(
        [texts],
        tower,
        folder,
        about=ABOUT,
        recipe=recipe,
        settings=settings,
        steps=steps,
        **options,
    )


def test_a_decoder_rebuilds_what_it_has_not_seen(texts, tower, tmp_path):
    recipe = replace(TINY, sizes=Sizes(width=64, layers=1, heads=2, dropout=0.0, longest=12))
    settings = replace(SETTINGS, batch=32, check_every=100)
    card = made(tmp_path / "out", tower, texts, recipe=recipe, steps=250, settings=settings)
    assert card.scores["next token right"] > 0.85
    assert card.scores["words, decoder"] > card.scores["words, nearest training caption"]
    assert card.scores["exact, nearest training caption"] == 0
    assert card.scores["exact, decoder"] > 0.5
    files = {"weights": "decoder.safetensors", "tokenizer": "pieces"}
    decoder = DeCapDecoder.open({role: tmp_path / "out" / name for role, name in files.items()})
    vectors = embed(["A red dog on a table."])
    [caption] = decoder.decode(vectors / np.linalg.norm(vectors))
    assert caption.text == "A red dog on a table"


@pytest.mark.parametrize("kind", ["decoder", "noise", "viecap"])
def test_cancelled_at_any_stage_it_ends_with_the_same_files(kind, texts, tower, tmp_path):
    recipe = replace(TINY, kind=kind, noise=Noise(0.05))
    if kind == "viecap":
        recipe = replace(recipe, sizes=replace(TINY.sizes, prefix_tokens=2, mapper_layers=1))
    made(tmp_path / "whole", tower, texts, recipe=recipe)
    for moment in (0.01, 0.12, 0.3, 0.6, 0.96) if kind == "decoder" else (0.3, 0.6):

        def cancel(fraction: float, _: str, moment: float = moment) -> None:
            if fraction >= moment:
                raise Cancelled

        with pytest.raises(Cancelled):
            made(tmp_path / "out", tower, texts, recipe=recipe, progress=cancel)
        assert not (tmp_path / "out").exists()
    made(tmp_path / "out", tower, texts, recipe=recipe)
    assert not (tmp_path / "out.training").exists()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    extra = {"decoder": {"bank"}, "noise": set(), "viecap": {"entities.safetensors"}}[kind]
    assert names == {"CARD.md", "card.json", "decoder.safetensors", "losses.csv", "pieces"} | extra
    weights = [tmp_path / name / "decoder.safetensors" for name in ("out", "whole")]
    first, second = map(read_state, weights)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert read_notes(weights[0]) == read_notes(weights[1])
    for name in ("losses.csv", "pieces/merges.txt"):
        assert file_sha256(tmp_path / "out" / name) == file_sha256(tmp_path / "whole" / name)


def test_the_card_says_what_went_in_and_what_came_out(texts, tower, tmp_path):
    card = made(tmp_path / "out", tower, texts, recipe=replace(TINY, kind="noise"))
    written = json.loads((tmp_path / "out" / "card.json").read_text())
    assert written["data"] == [
        {
            "name": "captions.txt",
            "sha256": texts.digest(),
            "examples": len(CAPTIONS),
            "licence": "CC0-1.0",
        }
    ]
    assert written["licence"] == "texts: CC0-1.0; words: MIT"
    assert written["settings"]["noise (standard deviation)"] == 0.08
    assert written["settings"]["seed"] == 0
    assert written["scores"] == dict(card.scores)
    for name, digest in written["files"].items():
        assert file_sha256(tmp_path / "out" / name) == digest
    assert "decoder.safetensors" in written["files"]
    page = (tmp_path / "out" / "CARD.md").read_text()
    for shown in ("CapDec", "CC0-1.0", texts.digest(), "words-0123", "| seed | 0 |"):
        assert shown in page
    notes = read_notes(tmp_path / "out" / "decoder.safetensors")
    assert notes["text"] == "words-0123"


def test_what_is_under_way_is_not_mixed_with_something_else(texts, tower, tmp_path):
    def cancel(fraction: float, _: str) -> None:
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        made(tmp_path / "out", tower, texts, progress=cancel)
    changes = {
        "texts": {"texts": TextList("other", CAPTIONS[1:])},
        "tower": {"tower": replace(tower, provenance={"text": "other"})},
        "width": {"recipe": replace(TINY, sizes=replace(TINY.sizes, width=32))},
        "steps": {"steps": 30},
        "seed": {"settings": replace(SETTINGS, seed=9)},
        "share held out": {"split": Split(0.3)},
    }
    for name, change in changes.items():
        with pytest.raises(ModelError, match=name):
            made(tmp_path / "out", **{"tower": tower, "texts": texts} | change)
    (tmp_path / "there").mkdir()
    with pytest.raises(FormatError, match="is there"):
        made(tmp_path / "there", tower, texts)


def test_recipes_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ModelError, match="not CLIP's"):
        Recipe(kind="viecap", merges=tmp_path / "merges.txt")
    with pytest.raises(ModelError, match="viecap"):
        Recipe(gpt2=tmp_path)
    with pytest.raises(ModelError, match="one of decoder, noise, viecap"):
        Recipe(kind="other")


def test_scores_are_those_of_the_texts():
    score = rebuilt(["a red dog runs", "a cat"], ["A red dog runs.", "a dog"])
    assert (score.exact, score.words) == (0.5, 0.75)
    assert rebuilt(["x"], ["a dog"]).words == 0
    bank = MemoryBank.from_arrays(CAPTIONS[:80], embed(CAPTIONS[:80]))
    other = MemoryBank.from_arrays(CAPTIONS[80:90], embed(CAPTIONS[80:90]))
    ways = score_ways(lambda _, captions: list(captions), bank, other)
    assert ways["decoder"].exact == ways["memory"].exact == 1
    assert ways["retrieval"].exact == 0


@pytest.mark.parametrize("base", ["clip-b16", "talk2dino-b", "proxyclip-b16"])
def test_a_preset_of_another_backbone_is_read_again(base, tmp_path):
    preset = write_preset(
        tmp_path,
        presets()[base],
        id="mine",
        title='With "quotes" \\ and ü',
        note="A note.",
        licence="MIT",
        bridge=Part("memory", {"bank": "bank"}, {"unit": True}),
        decoder=Part("decap", {"weights": "decoder", "tokenizer": "tokenizer"}),
        local={"bank": "bank", "decoder": "decoder.safetensors", "tokenizer": "pieces"},
    )
    assert preset == read_preset(tmp_path)
    assert preset.title == 'With "quotes" \\ and ü'
    assert preset.backbone.kind == presets()[base].backbone.kind
    assert preset.backbone.options == presets()[base].backbone.options
    assert set(preset.repos) <= set(presets()[base].repos)
    assert preset.bridge.options == {"unit": True}


@pytest.mark.parametrize("kind", ["decoder", "noise", "viecap"])
def test_from_a_file_of_texts_to_captions_of_regions(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    (tmp_path / "cells.txt").write_text("\n".join(CAPTIONS), encoding="utf-8")
    out = tmp_path / "My cells"
    small = "--steps 20 --width 16 --heads 2 --layers 1 --pieces 300 --longest 12 --batch 16"
    command = ["train", kind, str(tmp_path / "cells.txt"), "--tower", "mini", "--out", str(out)]
    (tmp_path / "none.txt").write_text("\n")
    for arguments in (
        [*command, "--heads", "3"],
        [*command, "--id", "My Model"],
        [*command[:2], str(tmp_path / "none.txt"), *command[3:]],
    ):
        assert main(arguments) == 2
    assert not list(tmp_path.glob("*.training"))
    assert main([*command, *small.split(), "--licence", "CC0-1.0"]) == 0
    told = capsys.readouterr()
    assert "next token right" in told.out
    assert f"models add '{out}'" in told.err
    assert main([*command, *small.split()]) == 2
    assert "is there" in capsys.readouterr().err
    assert main(["models", "add", str(out)]) == 0
    assert "my-cells is added and installed" in capsys.readouterr().err
    assert main(["models", "info", "my-cells"]) == 0
    shown = capsys.readouterr().out
    card = json.loads((out / "card.json").read_text())
    for wanted in (kind, "CC0-1.0", file_sha256(tmp_path / "cells.txt"), *card["scores"]):
        assert wanted in shown
    page = shown.splitlines()[-1].removeprefix("all of its card: ")
    assert Path(page).read_bytes() == (out / "CARD.md").read_bytes()
    if kind == "noise":
        # A card that somebody has damaged, or a part without a backbone, is told.
        Path(page).with_name("card.json").write_text(
            '{"data": [1, {"name": "\\u001b[2J"}], "kind": 7}'
        )
        assert main(["models", "info", "my-cells"]) == 0
        assert "\x1b" not in capsys.readouterr().out
        Path(page).with_name("card.json").write_text("{")
        assert main(["models", "info", "my-cells"]) == 2
        (out / "preset.toml").unlink()
        assert main(["models", "add", str(out)]) == 2
        assert "without a backbone" in capsys.readouterr().err
    captioner = load_model("my-cells")
    image = coffee()[::2, ::2]
    boxes = [Box(20, 60, 150, 220), Box(0, 0, 40, 60)]
    captions = captioner.caption(captioner.encode(image), boxes, max_tokens=8)
    assert len(captions) == 2
    # Hardly trained, ViECap's may end before its first word.
    assert kind == "viecap" or all(caption.text for caption in captions)
    assert main(["models", "remove", "my-cells"]) == 0


def test_a_decoder_of_another_tower_is_refused(texts, tower, tmp_path, monkeypatch, mini_preset):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))

    def padded(some):
        return np.pad(embed(some), ((0, 0), (0, 384 - DIM)))

    other = replace(tower, embed=padded, preset=mini_preset)
    made(tmp_path / "out", other, texts, recipe=replace(TINY, kind="noise"))
    with pytest.raises(ModelError, match="text encoder"):
        add_model(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--tower nothing", "There is no model 'nothing'"),
        ("--tower {tmp}", "config.json"),
        ("--tower mini --column words", "no column"),
        ("--tower mini --heads 3", "heads"),
        ("--tower mini --std 7", "from 0 to 1"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(arguments, message, tmp_path, capsys):
    (tmp_path / "cells.csv").write_text("caption,n\n" + "".join(f"{c},1\n" for c in CAPTIONS))
    given = arguments.format(tmp=tmp_path).split()
    command = ["train", "noise", str(tmp_path / "cells.csv"), "--out", str(tmp_path / "out")]
    try:
        status = main([*command, *given])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in said
    assert not (tmp_path / "out").exists()
