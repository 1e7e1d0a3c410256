"""CLIP's towers: dense tokens, MaskCLIP, INViTE, ProxyCLIP, and positions on other grids."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from napari_patchioner.backbones.clip import ClipDense, Invite, MaskClip
from napari_patchioner.backbones.clip_towers import (
    ClipText,
    ClipVision,
    hugging_face,
    resample_positions,
)
from napari_patchioner.backbones.proxyclip import ProxyClip
from napari_patchioner.decoders import ClipTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from .conftest import Case

LAYOUTS = ("openai", "hf")


def folder_of(case: Case) -> Path:
    return (case.root / case.entry["npz"]).parent


def state_of(case: Case, layout: str) -> dict[str, Tensor]:
    """Weights by OpenAI's names or Hugging Face's; a small set has only the former on disk."""
    folder = folder_of(case)
    stored = folder / f"clip_tiny_{layout}_keys.safetensors"
    if stored.exists():
        return load_file(stored)
    assert layout == "hf"
    return hugging_face(state_of(case, "openai"))


def sizes(case: Case) -> dict[str, Any]:
    return dict(json.loads((folder_of(case) / "clip_tiny.config.json").read_text()))


def vision(case: Case, layout: str = "openai", *, half: bool = False) -> ClipVision:
    from transformers import CLIPVisionConfig

    given, state = sizes(case), state_of(case, layout)
    config = CLIPVisionConfig(
        hidden_size=given["vision_width"],
        intermediate_size=4 * given["vision_width"],
        projection_dim=given["embed_dim"],
        num_hidden_layers=given["vision_layers"],
        num_attention_heads=given["vision_heads"],
        image_size=given["image_resolution"],
        patch_size=given["patch_size"],
        hidden_act=given["act"],
        layer_norm_eps=given["ln_eps"],
    )
    if half:
        state = {name: value.half() for name, value in state.items()}
    return ClipVision.from_state(state, source=case.id, config=config)


def text(case: Case, layout: str) -> ClipText:
    from transformers import CLIPTextConfig

    given = sizes(case)
    config = CLIPTextConfig(
        vocab_size=given["vocab_size"],
        hidden_size=given["text_width"],
        intermediate_size=4 * given["text_width"],
        projection_dim=given["embed_dim"],
        num_hidden_layers=given["text_layers"],
        num_attention_heads=given["text_heads"],
        max_position_embeddings=given["context_length"],
        hidden_act=given["act"],
        layer_norm_eps=given["ln_eps"],
        bos_token_id=given["vocab_size"] - 2,
        eos_token_id=given["vocab_size"] - 1,
    )
    state = state_of(case, layout)
    return ClipText.from_state(state, ClipTokenizer(), source=case.id, config=config)


def tensor(case: Case, name: str) -> Tensor:
    return torch.from_numpy(case.inputs[name])


@pytest.mark.cases("05_clip_dense/dense_tokens")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_token_normalised_and_projected(case: Case, layout: str) -> None:
    tokens = ClipDense(vision(case, layout)).tokens(tensor(case, "pixels"))
    case.check("plain_all_tokens_lnpost_proj", tokens)
    case.check("cls", tokens[:, 0])


@pytest.mark.cases("05_clip_dense/dense_tokens")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tokens_that_see_only_themselves(case: Case, layout: str) -> None:
    tower, pixels = vision(case, layout), tensor(case, "pixels")
    invited = [re.fullmatch(r"invite_last(\d+)_all_tokens", name) for name in case.expected]
    depths = [int(match[1]) for match in invited if match]
    assert depths
    for last in depths:
        tokens = Invite(tower, last=last).tokens(pixels)
        case.check(f"invite_last{last}_all_tokens", tokens)


@pytest.mark.cases("05_clip_dense/dense_tokens")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_value_path(case: Case, layout: str) -> None:
    tower, pixels = vision(case, layout), tensor(case, "pixels")
    tokens = MaskClip(tower).tokens(pixels)
    case.check("maskclip_value_path_official_residual_mlp", tokens[:, 1:])
    case.check("cls", tokens[:, 0])
    bare = MaskClip(tower, residual=False).tokens(pixels)
    case.check("maskclip_value_path_no_residual_no_mlp_independent", bare[:, 1:])


@pytest.mark.cases("05_clip_dense/dense_tokens")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_texts(case: Case, layout: str) -> None:
    ids = tensor(case, "text_ids")
    tower = text(case, layout)
    case.check("text_features", tower.embed_tokens(ids))
    for row, tokens in enumerate(ids):
        cut = tokens[: int(tokens.argmax()) + 1]
        case.check("text_features", tower.embed_tokens(cut[None]), rows=slice(row, row + 1))


@pytest.mark.cases("05_clip_dense/dense_tokens")
def test_one_naming_in_another(case: Case) -> None:
    keys = json.loads((folder_of(case) / "keys.json").read_text())
    openai = state_of(case, "openai")
    assert {name: list(value.shape) for name, value in openai.items()} == keys["openai"]
    translated = hugging_face(openai)
    assert {name: list(value.shape) for name, value in translated.items()} == keys["hf"]
    for name, value in state_of(case, "hf").items():
        assert torch.equal(translated[name], value), name


def proxy(case: Case, beta: float, gamma: float) -> ProxyClip:
    """A ProxyCLIP whose guide's features are given."""
    guide = SimpleNamespace(name="given", patch_size=1, network=torch.nn.Module(), blocks=[])
    return ProxyClip(vision(case), guide, size=64, beta=beta, gamma=gamma)  # type: ignore[arg-type]


@pytest.mark.cases("05_clip_dense/proxyclip")
def test_proxy_attention(case: Case) -> None:
    model = proxy(case, case.params["beta"], case.params["gamma"])
    pixels, features = tensor(case, "pixels"), tensor(case, "vfm_features_BCHW")
    for item in range(len(pixels)):
        mixed = model.mix(pixels[item, None], features[item, None])
        check_with_length(case, f"batch1_item{item}", mixed)
    together = model.mix(pixels, features, over_batch=True)
    check_with_length(case, "batch2_reference_batch_mean_quirk", together)
    case.check("no_vfm_features_plain_patches", model.tokens(pixels[:1])[:, 1:])


@pytest.mark.cases("05_clip_dense/proxyclip")
def test_proxy_attention_with_other_thresholds(case: Case) -> None:
    pixels, features = tensor(case, "pixels"), tensor(case, "vfm_features_BCHW")
    named = [re.fullmatch(r"batch1_item(\d+)_beta([\d.]+)_gamma([\d.]+)", n) for n in case.expected]
    found = [match for match in named if match]
    assert found
    for match in found:
        item, model = int(match[1]), proxy(case, float(match[2]), float(match[3]))
        check_with_length(case, match[0], model.mix(pixels[item, None], features[item, None]))


@pytest.mark.cases("05_clip_dense/proxyclip")
def test_proxy_attention_on_a_larger_picture(case: Case) -> None:
    model = proxy(case, case.params["beta"], case.params["gamma"])
    larger = tensor(case, "pixels_larger"), tensor(case, "vfm_features_larger_BCHW")
    case.check("larger_image_batch1", model.mix(*larger))


def check_with_length(case: Case, name: str, mixed: Tensor) -> None:
    """Compare, and once more with unit length where the set has it."""
    case.check(name, mixed)
    if f"{name}_l2" in case.expected:
        case.check(f"{name}_l2", torch.nn.functional.normalize(mixed, dim=-1))


@pytest.mark.cases("05_clip_dense/pos_embed")
def test_positions_on_other_grids(case: Case) -> None:
    table = tensor(case, "position_embedding")
    ways = {
        "invite_bicubic": "bicubic",
        "hf": "bicubic",
        "timm_bicubic_antialias": "antialias",
        "proxyclip_bicubic_plus0.1": "offset",
    }
    named = [(name, *name.rsplit("_g", 1)) for name in case.expected if "_g" in name]
    assert {kind for _, kind, _ in named} == set(ways)
    for name, kind, side in named:
        grid = (int(side), int(side))
        case.check(name, resample_positions(table, grid, ways[kind]))  # type: ignore[arg-type]


@pytest.mark.cases("05_clip_dense/pos_embed")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_larger_pictures(case: Case, layout: str) -> None:
    tower, pixels = vision(case, layout), tensor(case, "pixels_larger")
    case.check("plain_all_tokens_larger_image_invite_bicubic", ClipDense(tower).tokens(pixels))
    smooth = ClipDense(tower, positions="antialias").tokens(pixels)
    case.check("plain_all_tokens_larger_image_timm_antialias", smooth)
    case.check("invite_last1_all_tokens_larger_image", Invite(tower).tokens(pixels))
    rounded = Invite(vision(case, layout, half=True)).tokens(pixels)
    case.check("invite_last1_all_tokens_larger_image_fp16weights_cast", rounded)
