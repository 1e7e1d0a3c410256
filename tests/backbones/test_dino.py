from __future__ import annotations

import json
import math
from threading import Thread

import numpy as np
import pytest
import torch
from published import clip, dino
from torch.nn import functional

from napari_patchioner.backbones.base import block_progress, class_attention
from napari_patchioner.backbones.dino import DinoVision
from napari_patchioner.checkpoints import read_state
from napari_patchioner.errors import Cancelled, ModelError

WIDTH, HEADS = 128, 2
EPS = {"dinov3_vit": 1e-5}


def pixels(vision, rows=3, columns=3, seed=0):
    shape = (1, 3, rows * vision.patch_size, columns * vision.patch_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def meta_forward(state, images, kind, gated=False):
    """The published networks in a few lines, from weights by Meta's names."""
    eps = EPS.get(kind, 1e-6)
    weight = state["patch_embed.proj.weight"]
    patches = functional.conv2d(
        images, weight, state["patch_embed.proj.bias"], stride=weight.shape[-1]
    )
    rows, columns = patches.shape[-2:]
    patches = patches[0].flatten(1).T
    tokens = torch.cat([state["cls_token"][0], patches])
    if "pos_embed" in state:
        tokens = tokens + positions(state["pos_embed"], rows, columns, kind)
    registers = state.get("register_tokens", state.get("storage_tokens"))
    if registers is not None:
        tokens = torch.cat([tokens[:1], registers[0], tokens[1:]])
    first = len(tokens) - rows * columns
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    for number in range(depth):
        block = {
            name.removeprefix(f"blocks.{number}."): value
            for name, value in state.items()
            if name.startswith(f"blocks.{number}.")
        }
        qkv = linear(block, "attn.qkv", norm(block, "norm1", tokens, eps))
        if kind == "dinov3_vit":
            bias = block["attn.qkv.bias"] * block["attn.qkv.bias_mask"]
            qkv = norm(block, "norm1", tokens, eps) @ block["attn.qkv.weight"].T + bias
        mixed = linear(block, "attn.proj", attend(qkv, rows, columns, first, kind))
        tokens = tokens + block.get("ls1.gamma", 1) * mixed
        thought = think(block, norm(block, "norm2", tokens, eps), kind, gated)
        tokens = tokens + block.get("ls2.gamma", 1) * thought
    return norm(state, "norm", tokens, eps), qkv


def linear(state, name, tokens):
    return tokens @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state, name, tokens, eps):
    weight = state[f"{name}.weight"]
    return functional.layer_norm(tokens, weight.shape, weight, state[f"{name}.bias"], eps)


def positions(known, rows, columns, kind):
    """Bicubic to the new grid; only those with registers are smoothed before."""
    side = math.isqrt(known.shape[1] - 1)
    if (rows, columns) == (side, side):
        return known[0]
    grid = known[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    smooth = kind == "dinov2_with_registers"
    grid = functional.interpolate(grid, (rows, columns), mode="bicubic", antialias=smooth)
    return torch.cat([known[0, :1], grid[0].flatten(1).T])


def attend(qkv, rows, columns, first, kind):
    q, k, v = qkv.reshape(len(qkv), 3, HEADS, -1).permute(1, 2, 0, 3)
    if kind == "dinov3_vit":
        q, k = (rotated(part, rows, columns, first) for part in (q, k))
    weights = (q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1)
    return (weights @ v).transpose(0, 1).flatten(1)


def rotated(part, rows, columns, first):
    """Rotary positions of DINOv3, on patches alone: centres from -1 to 1, periods 1 to 100."""
    width = part.shape[-1]
    centres = torch.stack(
        torch.meshgrid(
            (torch.arange(rows) + 0.5) / rows * 2 - 1,
            (torch.arange(columns) + 0.5) / columns * 2 - 1,
            indexing="ij",
        ),
        dim=-1,
    ).reshape(-1, 2, 1)
    periods = 100 ** (torch.arange(width // 4) * 4 / width)
    angles = (2 * torch.pi * centres / periods).flatten(1).repeat(1, 2)
    patches = part[:, first:]
    half = torch.cat([-patches[..., width // 2 :], patches[..., : width // 2]], dim=-1)
    turned = patches * angles.cos() + half * angles.sin()
    return torch.cat([part[:, :first], turned], dim=1)


def think(block, tokens, kind, gated):
    if not gated:
        return linear(block, "mlp.fc2", functional.gelu(linear(block, "mlp.fc1", tokens)))
    if kind == "dinov3_vit":
        gate, up = linear(block, "mlp.w1", tokens), linear(block, "mlp.w2", tokens)
    else:
        gate, up = linear(block, "mlp.w12", tokens).chunk(2, dim=-1)
    return linear(block, "mlp.w3", functional.silu(gate) * up)


@pytest.fixture(scope="module", params=dino.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return tmp_path_factory.mktemp(kind)


@pytest.fixture(scope="module")
def vision(kind, folder):
    return DinoVision.open(dino.write(folder / "hf", kind=kind, dim=WIDTH)["vision"])


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (6, 6)], ids=["native", "wide", "larger"])
def test_tokens_are_those_of_metas_network(kind, vision, shape):
    state = dino.hub_state(kind=kind, dim=WIDTH, patch=vision.patch_size)
    image = pixels(vision, *shape)
    tokens, qkv = meta_forward(state, image, kind)

    ours = vision.encode(image)

    heads = vision.global_tokens
    close = {"atol": 2e-5, "rtol": 1e-4}
    torch.testing.assert_close(ours.cls, tokens[0], **close)
    torch.testing.assert_close(ours.registers, tokens[1:heads], **close)
    torch.testing.assert_close(ours.patches, tokens[heads:].reshape(*shape, WIDTH), **close)
    torch.testing.assert_close(ours.qkv, qkv, **close)


@pytest.mark.parametrize("layout", ["hub", "hub-folder"])
def test_metas_layout_and_hugging_faces_are_one(kind, folder, vision, layout):
    other = DinoVision.open(
        dino.write(folder / layout, kind=kind, layout=layout, dim=WIDTH)["vision"]
    )
    image = pixels(vision)
    ours, theirs = vision.encode(image), other.encode(image)

    # DINO's folder has an epsilon of 1e-12 in its norms where Meta's code has 1e-6.
    torch.testing.assert_close(theirs.patches, ours.patches, atol=1e-5, rtol=1e-5)
    assert other.name == vision.name
    assert (other.dim, other.heads, other.global_tokens) == (WIDTH, HEADS, vision.global_tokens)


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_with_registers", "dinov3_vit"], scope="module")
def test_gated_networks(kind, tmp_path):
    state = dino.hub_state(kind=kind, dim=WIDTH, gated=True)
    torch.save(state, tmp_path / "giant.pth")
    vision = DinoVision.open(tmp_path / "giant.pth")
    image = pixels(vision)

    tokens, _ = meta_forward(state, image, kind, gated=True)

    patches = tokens[vision.global_tokens :].reshape(3, 3, WIDTH)
    torch.testing.assert_close(vision.encode(image).patches, patches, atol=2e-5, rtol=1e-4)


def test_attention_of_the_class_token(vision):
    tokens = vision.encode(pixels(vision, 2, 4))
    how = vision.attention(tokens)

    assert how.shape == (2, 4)
    assert how.sum() == pytest.approx(1, abs=1e-6)
    flat = class_attention(tokens.qkv.numpy(), HEADS, vision.global_tokens)
    np.testing.assert_allclose(how.ravel(), flat, rtol=1e-6)


def test_attention_as_the_published_code_splits_it(vision):
    tokens = vision.encode(pixels(vision, 2, 4))
    reference = vision.attention(tokens, "reference")

    flat = class_attention(tokens.qkv.numpy(), 16, vision.global_tokens, scale=0.125)
    np.testing.assert_allclose(reference.ravel(), flat, rtol=1e-6)
    assert reference.sum() == pytest.approx(1, abs=1e-6)
    # The average over heads is all that is left of them: another temperature.
    ours = np.log(vision.attention(tokens).astype(float))
    theirs = np.log(reference.astype(float))
    np.testing.assert_allclose(theirs - theirs.mean(), (ours - ours.mean()) * HEADS / 16, atol=1e-5)


def test_the_small_network_keeps_its_heads(tmp_path):
    file = dino.write(tmp_path, layout="hub", dim=384, layers=1)["vision"]
    vision = DinoVision.open(file)
    tokens = vision.encode(pixels(vision))

    assert vision.heads == 6
    np.testing.assert_array_equal(vision.attention(tokens, "reference"), vision.attention(tokens))


@pytest.mark.parametrize("layout", ["hf", "hub"])
def test_weights_that_do_not_fit_are_named(tmp_path, layout):
    path = dino.write(tmp_path, layout=layout)["vision"]
    good = read_state(path)
    last = next(name for name in good if "1.norm2.bias" in name)

    def broken(**changes):
        return {name: value for name, value in (good | changes).items() if value is not None}

    with pytest.raises(ModelError, match=r"missing: encoder\.layer\.1\.norm2\.bias"):
        DinoVision.from_state(broken(**{last: None}), source=path)
    with pytest.raises(ModelError, match=r"unexpected: surprise\.weight"):
        DinoVision.from_state(broken(**{"surprise.weight": torch.ones(2)}), source=path)
    with pytest.raises(ModelError, match=r"norm2\.bias \(3,\) instead of \(32,\)"):
        DinoVision.from_state(broken(**{last: torch.ones(3)}), source=path)


def test_a_matrix_that_cannot_be_parted_is_named(tmp_path):
    state = dino.hub_state()
    state["blocks.0.attn.qkv.bias"] = torch.ones(95)
    with pytest.raises(ModelError, match=r"missing: .*attention.*unexpected: blocks\.0\.qkv\.bias"):
        DinoVision.from_state(state, source=tmp_path)


def test_two_layouts_in_one_file_are_refused(tmp_path):
    state = dino.hub_state()
    state["embeddings.cls_token"] = state["cls_token"]
    with pytest.raises(ModelError, match="mixes two layouts"):
        DinoVision.from_state(state, source=tmp_path)


def test_another_model_is_no_dino(tmp_path):
    with pytest.raises(ModelError, match="so it is no DINO"):
        DinoVision.open(clip.write(tmp_path, towers=("vision",))["clip"])


def test_weights_of_strange_shapes_are_no_dino(tmp_path):
    state = dino.hub_state() | {"patch_embed.proj.weight": torch.ones(3)}
    with pytest.raises(ModelError, match="no DINO's shape"):
        DinoVision.from_state(state, source=tmp_path)


def test_key_biases_that_count_are_not_dropped(tmp_path):
    state = dino.hub_state(kind="dinov3_vit", patch=16)
    state["blocks.0.attn.qkv.bias_mask"] = torch.ones(96)
    with pytest.raises(ModelError, match=r"unexpected: blocks\.0\.k\.bias"):
        DinoVision.from_state(state, source=tmp_path)


@pytest.mark.parametrize(
    "content", ["{", json.dumps({"model_type": "dinov2", "hidden_size": "wide"})]
)
def test_a_broken_config_is_told(tmp_path, content):
    folder = dino.write(tmp_path)["vision"]
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"missing or damaged|is no size of a network"):
        DinoVision.open(folder)


def test_a_config_of_another_program_is_passed_over(tmp_path):
    folder = dino.write(tmp_path, layout="hub-folder", dim=WIDTH)["vision"]
    (folder / "config.json").write_text(json.dumps({"model_name": "dinov2_vitb14_reg"}))
    assert DinoVision.open(folder).heads == HEADS


def test_other_weights_have_another_name(vision, kind, tmp_path):
    other = DinoVision.open(dino.write(tmp_path, kind=kind, dim=WIDTH, seed=1)["vision"])
    assert other.name != vision.name
    assert other.name.rpartition("-")[0] == vision.name.rpartition("-")[0]


def test_blocks_are_passed_in_order(vision):
    fractions = []

    def stop(fraction, _message):
        fractions.append(fraction)
        if fraction == 1 and len(fractions) > 2:
            raise Cancelled

    with block_progress(vision.blocks, stop, "on", (0.0, 1.0)):
        vision.encode(pixels(vision))
        with pytest.raises(Cancelled):
            vision.encode(pixels(vision))
    assert fractions == [0.5, 1.0] * 2


def test_two_threads_record_their_own_projections(vision):
    first, other = pixels(vision), pixels(vision, seed=1)
    expected = vision.encode(first).qkv
    second = Thread(target=vision.encode, args=(other,))

    def interrupt(fraction, _message):
        if fraction == 1:
            second.start()
            second.join(timeout=20)

    with block_progress(vision.blocks, interrupt, "on", (0.0, 1.0)):
        qkv = vision.encode(first).qkv
    second.join()
    torch.testing.assert_close(qkv, expected)
