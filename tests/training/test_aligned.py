"""From the command line to a model that can be added: ``train bridge`` and ``train projection``."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from published import clip, decap, dino

from napari_patchioner.backbones.clip import MaskClip
from napari_patchioner.backbones.talk2dino import Talk2DINO
from napari_patchioner.bridges import LinearMap, MemoryBank
from napari_patchioner.checkpoints import read_state
from napari_patchioner.cli import main
from napari_patchioner.decoders import prefix_gpt_from_decap
from napari_patchioner.models import add_model, load_model
from napari_patchioner.models.catalog import preset_text, read_preset
from napari_patchioner.models.preset import Part, Preset, PresetFile
from napari_patchioner.regions import WholeImage

SENTENCES = [f"{a} {b} {c}" for a in "abcde" for b in ("cat", "dog", "cell") for c in "vwxyz"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two models: an encoder of 24 numbers, and one of 32 with a decoder."""
    folder = tmp_path_factory.mktemp("store")
    patch = pytest.MonkeyPatch()
    patch.setenv("NAPARI_PATCHIONER_HOME", str(folder / "home"))
    for name, dim in (("encoder", 24), ("writer", 32)):
        home = folder / name
        files = clip.write(home / "clip", dim=dim, seed=dim)
        shutil.copyfile(files["clip"] / "merges.txt", home / "merges.txt")
        local = {"clip": (PresetFile("", "clip"),), "merges": (PresetFile("", "merges.txt"),)}
        local["decoder"] = (PresetFile("", "decoder.safetensors"),)
        source = decap.write(home / "published", dim=dim)["weights"]
        own = MaskClip.open(files).provenance
        path = home / "decoder.safetensors"
        prefix_gpt_from_decap(read_state(source), source=source).save(path, **own)
        preset = Preset(
            name,
            title=name,
            note="A tiny model.",
            licence=f"licence of {name}",
            backbone=Part("maskclip", {"clip": "clip"}),
            bridge=Part("normalize"),
            decoder=Part("decap", {"weights": "decoder", "merges": "merges"}),
            files=local,
            options={"max_tokens": 5},
        )
        (home / "preset.toml").write_text(preset_text(preset), encoding="utf-8")
        add_model(home)
    yield folder
    patch.undo()


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*SENTENCES, SENTENCES[0].upper()]), encoding="utf-8")
    return path


def run(*arguments) -> int:
    return main(["train", *map(str, arguments)])


def test_a_decoder_serves_another_encoder(store, texts, tmp_path, capsys):
    """Fitted, written with its card, added, and captioning with the other model's decoder."""
    tower = MaskClip.open({"clip": store / "encoder" / "clip"})
    chunks = [(SENTENCES[:9], tower.embed_text(SENTENCES[:9]))]
    MemoryBank.build(tmp_path / "bank", chunks, provenance=tower.provenance)
    out = tmp_path / "joined"
    told = ("--from", "encoder", "--to", "writer", "--bank", tmp_path / "bank", "--out", out)
    assert run("bridge", texts, *told, "--licence", "CC0-1.0") == 0
    printed = capsys.readouterr()
    assert "75 of 76 texts kept" in printed.err
    assert "recall 1" in printed.out
    made = LinearMap.open(out / "map.safetensors")
    assert (made.source_dim, made.target_dim) == (24, 32)
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["kind"] == "bridge"
    assert card["scores"]["fitted"] == 68
    assert set(made.source.values()) | set(made.target.values()) <= {*card["provenance"].values()}
    preset = read_preset(out)
    assert preset.licence == "CC0-1.0; licence of encoder; licence of writer"
    add_model(out)
    captioner = load_model("joined")
    grid = captioner.encode(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    [caption] = captioner.caption(grid, [WholeImage()])
    assert len(caption.neighbours) == 5
    assert not (tmp_path / "joined.training").exists()


def test_a_rotation_without_a_model_of_its_own(store, texts, tmp_path, capsys):
    """Behind the folder of a text tower alone there is nothing to caption with."""
    out = tmp_path / "turned"
    arguments = ("--from", "encoder", "--to", store / "writer" / "clip", "--out", out)
    assert run("bridge", texts, *arguments, "--method", "orthogonal", "--no-intercept") == 0
    made = LinearMap.open(out / "map.safetensors")
    np.testing.assert_allclose(made.matrix @ made.matrix.T, np.eye(24), atol=1e-5)
    assert "has no decoder; name a model that has with --decoder" in capsys.readouterr().err
    assert not (out / "preset.toml").exists()
    assert (out / "CARD.md").exists()


def test_what_does_not_belong_together_is_said_before_the_work(store, texts, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("bridge", texts, "--from", "encoder", "--to", "nobody", "--out", out) == 2
    mini = ("--vision", "mini", "--text", "mini", "--images", tmp_path, "--out", out)
    assert run("projection", texts, *mini) == 2
    assert "neither COCO captions" in capsys.readouterr().err
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "pairs.tsv").write_text("Image\tCaption\na.png\ta cell\n")
    assert run("projection", tmp_path / "pairs.tsv", *mini) == 2
    assert "The model 'mini' has no DINO" in capsys.readouterr().err
    tower = ("--from", "encoder", "--to", store / "encoder" / "clip", "--decoder", "writer")
    assert run("bridge", texts, *tower, "--out", out) == 2
    assert "do not belong together" in capsys.readouterr().err
    MemoryBank.build(tmp_path / "bank", [(["a"], np.ones((1, 24)))], provenance={"text": "other"})
    bank = ("--bank", tmp_path / "bank", "--out", out)
    assert run("bridge", texts, "--from", "encoder", "--to", "writer", *bank) == 2
    assert "memory bank" in capsys.readouterr().err
    assert not out.exists()
    out.mkdir()
    assert run("bridge", texts, "--from", "encoder", "--to", "writer", "--out", out) == 2
    assert "is there" in capsys.readouterr().err


def test_a_projection_becomes_a_talk2dino(tmp_path, capsys):
    """Trained for two steps on pictures of a table; the folder names or holds all that it reads."""
    vision = dino.write(tmp_path / "vision", dim=32)["vision"]
    text = clip.write(tmp_path / "text", dim=24)["clip"]
    rows = ["image,caption", "gone.png,nothing"]
    for number in range(12):
        pixels = np.full((20, 30, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,a shade of gray number {number}")
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    out = tmp_path / "seen"
    networks = ("--vision", vision, "--text", text, "--steps", 2, "--batch", 8, "--check-every", 1)
    images = ("--images", tmp_path, "--out", out)
    assert run("projection", tmp_path / "captions.csv", *images, *networks) == 0
    printed = capsys.readouterr()
    assert "1 pictures are not" not in printed.err
    assert "1 picture is not in" in printed.err
    assert "recall 1" in printed.out
    preset = read_preset(out)
    assert preset.backbone.kind == "talk2dino"
    files = {role: out / preset.files[name][0].path for role, name in preset.backbone.files.items()}
    backbone = Talk2DINO.open(files, **preset.backbone.options)
    assert backbone.embed_text(["gray"]).shape == (1, 32)
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["provenance"]["projection"] == backbone.provenance["projection"]
    assert card["settings"]["batch"] == 8
    assert (out / "losses.csv").exists()
    assert not (tmp_path / "seen.training").exists()
    assert run("projection", tmp_path / "captions.csv", *images, *networks) == 2
