from __future__ import annotations

import numpy as np
import pytest
import torch
from published import dino, dinotxt
from skimage.data import chelsea
from torch.nn import functional

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.base import Preprocessing
from napari_patchioner.backbones.dino import DinoVision
from napari_patchioner.backbones.dinotxt import DinoText, DinoTxt, VisionHead
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

SIZE, DIM = 70, 128
TEXTS = ["A cat looks up.", "grey fur", "", " ".join(["whiskers"] * 90)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return dinotxt.write(tmp_path_factory.mktemp("dinotxt"), dim=DIM, text_width=128)


@pytest.fixture(scope="module")
def backbone(files):
    return DinoTxt.open(files, size=SIZE)


@pytest.fixture(scope="module")
def own(files):
    pixels = Preprocessing(SIZE, 14)(chelsea()).pixels
    return DinoVision.open(files["vision"]).encode(pixels)


def linear(state, name, tokens):
    return tokens @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0)


def norm(state, name, tokens):
    weight = state[f"{name}.weight"]
    return functional.layer_norm(tokens, weight.shape, weight, state[f"{name}.bias"])


def attend(state, name, tokens, heads, causal):
    q, k, v = linear(state, f"{name}.qkv", tokens).reshape(len(tokens), 3, heads, -1).unbind(1)
    logits = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
    if causal:
        ahead = torch.ones(len(tokens), len(tokens)).triu(1).bool()
        logits = logits.masked_fill(ahead, -torch.inf)
    mixed = torch.einsum("hqk,khd->qhd", logits.softmax(-1), v)
    return linear(state, f"{name}.proj", mixed.flatten(1))


def head_forward(state, tokens):
    """The published vision head in a few lines."""
    for number in range(2):
        block = f"block_list.{number}"
        mixed = attend(state, f"{block}.attn", norm(state, f"{block}.norm1", tokens), 2, False)
        tokens = tokens + state[f"{block}.ls1.gamma"] * mixed
        normed = norm(state, f"{block}.norm2", tokens)
        gate = functional.silu(linear(state, f"{block}.mlp.w1", normed))
        thought = linear(state, f"{block}.mlp.w3", gate * linear(state, f"{block}.mlp.w2", normed))
        tokens = tokens + state[f"{block}.ls2.gamma"] * thought
    return norm(state, "ln_final", tokens)


def text_forward(state, ids):
    """The published text tower in a few lines, all 77 positions of it."""
    state = {name.removeprefix("backbone."): value.float() for name, value in state.items()}
    padded = torch.tensor([*ids, *[0] * (77 - len(ids))])
    tokens = state["token_embedding.weight"][padded] + state["positional_embedding"]
    for number in range(2):
        block = f"blocks.{number}"
        normed = norm(state, f"{block}.attention_norm", tokens)
        tokens = tokens + attend(state, f"{block}.attention", normed, 2, True)
        normed = norm(state, f"{block}.ffn_norm", tokens)
        hidden = functional.gelu(linear(state, f"{block}.feed_forward.fc1", normed))
        tokens = tokens + linear(state, f"{block}.feed_forward.fc2", hidden)
    end = norm(state, "ln_final", tokens)[padded.argmax()]
    return end @ state["head.linear_projection.weight"].T


def test_patches_go_through_the_head(backbone, own):
    tokens = torch.cat([own.cls[None], own.registers, own.patches.flatten(0, 1)])
    refined = head_forward(dinotxt.head_state(dim=DIM), tokens)

    grid = backbone.encode(chelsea())

    assert grid.shape == (5, 5)
    assert grid.dim == backbone.dim == DIM
    close = {"atol": 2e-5, "rtol": 1e-4}
    np.testing.assert_allclose(grid.embeddings, refined[5:].reshape(5, 5, DIM), **close)
    np.testing.assert_allclose(grid.cls, refined[0], **close)
    assert grid.attention.sum() == pytest.approx(1, abs=1e-6)


def test_without_the_head_they_are_dinos(files, own):
    files = {role: path for role, path in files.items() if role != "head"}
    backbone = DinoTxt.open(files, size=SIZE, head=False)
    grid = backbone.encode(chelsea())
    np.testing.assert_array_equal(grid.embeddings, own.patches)
    np.testing.assert_array_equal(grid.cls, own.cls)
    assert grid.backbone == backbone.name


def test_text_is_the_half_that_goes_with_patches(backbone):
    assert isinstance(backbone, TextTower)
    state = dinotxt.text_state(dim=2 * DIM, width=128)
    tokenizer = ClipTokenizer()
    expected = torch.stack([text_forward(state, tokenizer.frame(text)) for text in TEXTS])

    embedded = backbone.embed_text(TEXTS)

    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, expected[:, DIM:], atol=2e-5, rtol=1e-4)


def test_company_changes_no_text(files):
    tower = DinoText.open(files["text"], ClipTokenizer())
    alone = np.concatenate([tower.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(tower.embed(TEXTS), alone, atol=1e-5)
    assert tower.embed([]).shape == (0, 2 * DIM)


def test_progress_counts_sentences(files):
    heard = []
    DinoText.open(files["text"], ClipTokenizer()).embed(
        ["fur"] * 65, progress=lambda share, message: heard.append((share, message))
    )
    assert heard == [
        (0.0, "0 of 65 sentences"),
        (pytest.approx(32 / 65), "0 of 65 sentences"),
        (pytest.approx(64 / 65), "0 of 65 sentences"),
        (pytest.approx(64 / 65), "64 of 65 sentences"),
        (pytest.approx(64.5 / 65), "64 of 65 sentences"),
        (pytest.approx(1.0), "64 of 65 sentences"),
        (1.0, "65 sentences"),
    ]


def test_the_papers_size(tmp_path):
    backbone = DinoTxt.open(dinotxt.write(tmp_path, layers=1))
    assert backbone.input_size == 518
    assert backbone.encode(np.zeros((4, 6), np.uint8)).shape == (37, 37)


def test_every_layout_has_its_grid(files):
    shapes = {
        layout: DinoTxt.open(files, size=SIZE, layout=layout).encode(chelsea()).shape
        for layout in ("square", "aspect", "crop")
    }
    assert shapes == {"square": (5, 5), "aspect": (3, 5), "crop": (5, 5)}


def test_what_changes_a_grid_changes_the_name(files, tmp_path):
    torch.save(dinotxt.head_state(seed=1, dim=DIM), tmp_path / "head.pth")
    names = {
        DinoTxt.open(files, size=SIZE).name,
        DinoTxt.open(files, size=84).name,
        DinoTxt.open(files, size=SIZE, layout="crop").name,
        DinoTxt.open(files, size=SIZE, head=False).name,
        DinoTxt.open(files, size=SIZE, attention="reference").name,
        DinoTxt.open(files | {"head": tmp_path / "head.pth"}, size=SIZE).name,
        DinoTxt.open(files | dino.write(tmp_path, dim=DIM, seed=1), size=SIZE).name,
    }
    assert len(names) == 7


@pytest.mark.parametrize("role", ["vision", "head"])
def test_files_that_are_not_given(files, role):
    given = {name: path for name, path in files.items() if name != role}
    with pytest.raises(ModelError, match=f"give its file as {role}"):
        DinoTxt.open(given)


def test_without_a_text_tower(files):
    given = {name: path for name, path in files.items() if name != "text"}
    with pytest.raises(ModelError, match="opened without a text tower"):
        DinoTxt.open(given).embed_text(TEXTS)


def test_parts_of_two_models(files, tmp_path):
    other = dinotxt.write(tmp_path)
    with pytest.raises(ModelError, match=r"reads 32 numbers where dinov2-.* has 128"):
        DinoTxt.open(files | {"head": other["head"]})
    with pytest.raises(ModelError, match="gives 64 numbers where 256 belong"):
        DinoTxt.open(files | {"text": other["text"]}, size=SIZE).embed_text(TEXTS)


def test_one_file_in_place_of_another(files):
    with pytest.raises(ModelError, match="no vision head of DINO"):
        VisionHead.open(files["text"])
    with pytest.raises(ModelError, match="no text tower of DINO"):
        DinoText.open(files["head"], ClipTokenizer())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_list.1.ls2.gamma": None}, r"missing: block_list\.1\.ls2\.gamma"),
        ({"linear_projection.weight": torch.ones(2)}, r"unexpected: linear_projection\.weight"),
        ({"block_list.0.attn.proj.bias": torch.ones(2)}, r"attn\.proj\.bias \(2,\) instead of"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, message):
    state = {
        name: value for name, value in (dinotxt.head_state() | changes).items() if value is not None
    }
    torch.save(state, tmp_path / "head.pth")
    with pytest.raises(ModelError, match=message):
        VisionHead.open(tmp_path / "head.pth")
