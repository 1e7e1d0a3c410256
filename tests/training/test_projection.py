"""Talk2DINO's projection, learned from pictures and captions."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from published import clip, dino

from napari_patchioner.backbones.clip import ClipDense
from napari_patchioner.backbones.dino import Dino
from napari_patchioner.backbones.talk2dino import Projection, Talk2DINO
from napari_patchioner.errors import Cancelled, FormatError, ImageError, ModelError
from napari_patchioner.training import Settings, open_tower, read_pairs, train_projection
from napari_patchioner.training.projection import (
    PROJECTION_SETTINGS,
    head_vectors,
    info_nce,
    similarities,
)

COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 180, 60),
    "blue": (40, 60, 210),
    "yellow": (220, 210, 40),
    "white": (240, 240, 240),
    "black": (10, 10, 10),
}
QUICK = Settings(
    steps=60, batch=16, learning_rate=3e-3, warmup=0, check_every=20, weight_decay=0.0, clip=0.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty pictures of two colours each, with a caption or two that name them."""
    folder = tmp_path_factory.mktemp("pairs")
    images, rows = [], []
    names = [(left, right) for left in COLOURS for right in COLOURS] + [("red", "blue")] * 4
    for number, (left, right) in enumerate(names):
        pixels = np.empty((30, 40, 3), np.uint8)
        pixels[:, :20], pixels[:, 20:] = COLOURS[left], COLOURS[right]
        name = f"{number:03d}.png"
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": number, "file_name": name})
        for text in (f"{left} beside {right}", f"a {left} half and a {right} half")[
            : 1 + number % 2
        ]:
            rows.append({"id": len(rows), "image_id": number, "caption": text})
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": rows}))
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    vision = dino.write(folder / "vision", dim=32)
    text = clip.write(folder / "text", dim=24)["clip"]
    return Dino.open(vision, size=28), open_tower(str(text)), vision["vision"], text


@pytest.fixture(scope="module")
def trained(folder, parts, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    pairs, _ = read_pairs(folder / "captions.json", folder)
    told = []
    outcome, scores = train_projection(
        pairs, *parts[:2], out, settings=QUICK, progress=lambda share, _: told.append(share)
    )
    return out, outcome, scores, told


def test_pairs_of_coco_and_of_a_table_are_the_same(folder, tmp_path):
    pairs, missing = read_pairs(folder / "captions.json", folder)
    assert missing == []
    assert len(pairs) == 40
    assert pairs[1].captions == ("red beside green", "a red half and a green half")
    lines = [f'{pair.image.name},"{text}"' for pair in pairs for text in pair.captions]
    table = tmp_path / "captions.csv"
    table.write_text("\n".join(["image,caption", *lines, "gone.png,a picture that is not there"]))
    again, missing = read_pairs(table, folder)
    assert again == pairs
    assert missing == ["gone.png"]


def test_captions_that_cannot_be_read(folder, tmp_path):
    table = tmp_path / "captions.csv"
    table.write_text("file,text\na.png,b\n")
    with pytest.raises(FormatError, match="columns image and caption"):
        read_pairs(table, folder)
    table.write_text("image,caption\nnone.png,nothing\n")
    with pytest.raises(ImageError, match="none of the pictures"):
        read_pairs(table, folder)


def test_losses_are_those_of_the_formulas():
    heads = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0], [-1.0, 0.0]]])
    texts = torch.tensor([[1.0, 1.0], [0.0, 5.0]])
    half = math.sqrt(0.5)
    cosines = np.array([[[half, half], [0, 1]], [[1.4 * half, -half], [0.8, 0]]])
    expected = cosines.max(-1)
    np.testing.assert_allclose(similarities(heads, texts), expected, atol=1e-6)
    weights = np.exp(cosines / 0.07)
    weighted = (weights / weights.sum(-1, keepdims=True) * cosines).sum(-1)
    np.testing.assert_allclose(similarities(heads, texts, "weighted"), weighted, atol=1e-6)
    scale = 1 / 0.07
    rows = -np.log(np.exp(scale * expected) / np.exp(scale * expected).sum(1, keepdims=True))
    columns = -np.log(np.exp(scale * expected) / np.exp(scale * expected).sum(0, keepdims=True))
    loss = (np.diag(rows).mean() + np.diag(columns).mean()) / 2
    assert info_nce(torch.from_numpy(expected), scale).item() == pytest.approx(loss, abs=1e-9)
    assert info_nce(torch.zeros(8, 8), scale).item() == pytest.approx(math.log(8))


def test_heads_look_where_their_attention_is(parts):
    backbone = parts[0]
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    vectors = head_vectors(backbone, image)
    vision = backbone.vision
    assert vectors.shape == (vision.heads, 32)
    tokens = vision.encode(backbone.preprocessing(image).pixels)
    width = 32 // vision.heads
    for head in range(vision.heads):
        part = slice(head * width, (head + 1) * width)
        query, keys = tokens.qkv[0, :32][part], tokens.qkv[vision.global_tokens :, 32:64][:, part]
        shares = (keys @ query * width**-0.5).softmax(0)
        expected = shares @ tokens.patches.reshape(-1, 32)
        np.testing.assert_allclose(vectors[head], expected, atol=1e-5)


def test_any_backbone_with_attention_will_do(parts, tmp_path):
    backbone = ClipDense.open(clip.write(tmp_path, dim=24))
    image = np.zeros((20, 20, 3), np.uint8)
    grid = backbone.encode(image)
    expected = np.einsum("rc,rcd->d", grid.attention, grid.embeddings)
    np.testing.assert_allclose(head_vectors(backbone, image), [expected], atol=1e-5)


def test_it_learns_and_tells(trained):
    _, outcome, scores, told = trained
    assert told == sorted(told)
    assert told[-1] == 1
    assert outcome.checks[-1].loss < 0.8 * math.log(16)
    assert (scores.pictures, scores.measured) == (38, 2)
    assert 0 <= scores.recall_1 <= scores.recall_5 == 1


def test_talk2dino_reads_it_and_refuses_another_dino(trained, parts, tmp_path):
    out, _, _, _ = trained
    path = out / "projection.safetensors"
    files = {"vision": parts[2], "projection": path, "text": parts[3]}
    backbone = Talk2DINO.open(files, size=28)
    assert backbone.embed_text(["red beside blue"]).shape == (1, 32)
    assert backbone.provenance == {"projection": Projection.open(path).hash}
    other = dino.write(tmp_path, dim=32, seed=5)["vision"]
    with pytest.raises(ModelError, match="trained for dinov2"):
        Talk2DINO.open(files | {"vision": other})


def test_captions_find_pictures_they_were_trained_on(trained, folder, parts):
    out, _, _, _ = trained
    pairs, _ = read_pairs(folder / "captions.json", folder)
    files = {"vision": parts[2], "projection": out / "projection.safetensors", "text": parts[3]}
    backbone = Talk2DINO.open(files, size=28)
    some = pairs[:36:3]
    texts = torch.from_numpy(backbone.embed_text([pair.captions[0] for pair in some]))
    heads = [head_vectors(backbone, np.asarray(Image.open(pair.image))) for pair in some]
    near = similarities(torch.from_numpy(np.stack(heads)), texts).argmax(0)
    # By chance it would be one in twelve.
    assert (near.numpy() == np.arange(len(some))).mean() > 0.2


def test_interrupted_anywhere_it_arrives_at_the_same(trained, folder, parts, tmp_path):
    out, outcome, _, _ = trained
    pairs, _ = read_pairs(folder / "captions.json", folder)
    for share in (0.2, 0.75):

        def stop(done, _message, share=share):
            if done >= share:
                raise Cancelled

        with pytest.raises(Cancelled):
            train_projection(pairs, *parts[:2], tmp_path, settings=QUICK, progress=stop)
    again, _ = train_projection(pairs, *parts[:2], tmp_path, settings=QUICK)
    names = [folder / "projection.safetensors" for folder in (out, tmp_path)]
    assert Projection.open(names[0]).hash == Projection.open(names[1]).hash
    assert again.best == outcome.best
    with pytest.raises(ModelError, match="other pictures"):
        train_projection(pairs[:-1], *parts[:2], tmp_path, settings=QUICK)


def test_pictures_that_cannot_be_read_are_left_out(folder, parts, tmp_path):
    pairs, _ = read_pairs(folder / "captions.json", folder)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    broken = [*pairs[:12], replace(pairs[12], image=tmp_path / "bad.png")]
    settings = replace(QUICK, steps=2, check_every=1)
    _, scores = train_projection(broken, *parts[:2], tmp_path / "out", settings=settings)
    assert scores.pictures + scores.measured == 12
    with pytest.raises(ModelError, match="8 pictures"):
        train_projection(pairs[:5], *parts[:2], tmp_path / "few")
    with pytest.raises(ModelError, match="max or weighted"):
        train_projection(pairs, *parts[:2], tmp_path / "other", alignment="mean")
    assert PROJECTION_SETTINGS.rate(0) == PROJECTION_SETTINGS.rate(10_000) == 1e-4
