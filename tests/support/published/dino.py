"""A tiny DINO in the forms it is published in: Hugging Face's folder or Meta's file."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("dinov2_with_registers", "dinov2", "dinov3_vit", "vit")
_PATCH = {"dinov2_with_registers": 14, "dinov2": 14, "dinov3_vit": 16, "vit": 8}


def write(
    folder: Path,
    *,
    seed: int = 0,
    kind: str = "dinov2_with_registers",
    layout: str = "hf",
    dim: int = 32,
    layers: int = 2,
    heads: int = 2,
    side: int = 3,
    patch: int | None = None,
) -> dict[str, Path]:
    """Write random weights; the role is vision.

    ``layout`` is ``"hf"`` (a folder with Hugging Face's names), ``"hub"`` (Meta's file alone,
    whose heads are 64 wide by definition) or ``"hub-folder"`` (Meta's names beside a
    ``config.json``). ``side`` is the native grid's, in patches.
    """
    patch = patch or _PATCH[kind]
    folder.mkdir(parents=True, exist_ok=True)
    state = hub_state(seed=seed, kind=kind, dim=dim, layers=layers, side=side, patch=patch)
    if layout == "hub":
        path = folder / f"{kind}_pretrain.pth"
        torch.save(state, path)
        return {"vision": path}
    settings = _config(kind, dim, layers, heads, side, patch)
    (folder / "config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    state = hf_state(state) if layout == "hf" else state
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return {"vision": folder}


def hub_state(
    *,
    seed: int = 0,
    kind: str = "dinov2_with_registers",
    dim: int = 32,
    layers: int = 2,
    side: int = 3,
    patch: int = 14,
    gated: bool = False,
) -> dict[str, Tensor]:
    """Random weights by Meta's names, lively enough that every part shows in the result.

    ``gated`` has SwiGLU in the blocks, as DINOv2's giant and DINOv3's plus models.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=draw)

    state = {"cls_token": normal(1, 1, dim)}
    if kind != "vit":
        state["mask_token"] = torch.zeros(1, dim)
    if kind == "dinov2_with_registers":
        state["register_tokens"] = normal(1, 4, dim)
    if kind == "dinov3_vit":
        state["storage_tokens"] = normal(1, 4, dim)
        state["rope_embed.periods"] = 100 ** torch.arange(0, 1, 0.25)
    else:
        state["pos_embed"] = normal(1, 1 + side**2, dim, scale=0.5)
    state["patch_embed.proj.weight"] = normal(dim, 3, patch, patch, scale=(3 * patch**2) ** -0.5)
    state["patch_embed.proj.bias"] = normal(dim, scale=0.1)

    def linear(name: str, inputs: int, outputs: int) -> None:
        state[f"{name}.weight"] = normal(outputs, inputs, scale=inputs**-0.5)
        state[f"{name}.bias"] = normal(outputs, scale=0.1)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = 1 + normal(dim, scale=0.1)
        state[f"{name}.bias"] = normal(dim, scale=0.1)

    for number in range(layers):
        block = f"blocks.{number}"
        norm(f"{block}.norm1")
        linear(f"{block}.attn.qkv", dim, 3 * dim)
        if kind == "dinov3_vit":
            mask = torch.ones(3 * dim)
            mask[dim : 2 * dim] = 0
            state[f"{block}.attn.qkv.bias_mask"] = mask
        linear(f"{block}.attn.proj", dim, dim)
        norm(f"{block}.norm2")
        if gated:
            hidden = (int(4 * dim * 2 / 3) + 7) // 8 * 8
            names = (
                [("w12", 2 * hidden)] if kind != "dinov3_vit" else [("w1", hidden), ("w2", hidden)]
            )
            for name, outputs in names:
                linear(f"{block}.mlp.{name}", dim, outputs)
            linear(f"{block}.mlp.w3", hidden, dim)
        else:
            linear(f"{block}.mlp.fc1", dim, 4 * dim)
            linear(f"{block}.mlp.fc2", 4 * dim, dim)
        if kind != "vit":
            state[f"{block}.ls1.gamma"] = 1 + normal(dim, scale=0.1)
            state[f"{block}.ls2.gamma"] = 1 + normal(dim, scale=0.1)
    norm("norm")
    return state


def hf_state(hub: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same weights as the hub has them, told apart from the package's mapping."""
    if "storage_tokens" in hub:
        return _dinov3(hub)
    return _vit(hub) if "blocks.0.ls1.gamma" not in hub else _dinov2(hub)


def _dinov2(hub: dict[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, value in hub.items():
        name = _EMBEDDINGS.get(name, name)
        name = re.sub(r"^norm\.", "layernorm.", name)
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = name.replace("blocks.", "encoder.layer.").replace("attn.proj", _OUT)
        name = re.sub(r"ls(\d)\.gamma", r"layer_scale\1.lambda1", name)
        state |= _parted(name, value, "attn.qkv", "attention.attention.{}", _WORDS)
    return state


def _vit(hub: dict[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, value in _dinov2(hub).items():
        name = name.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after")
        name = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        state[name] = value
    dim = hub["cls_token"].shape[-1]
    state["pooler.dense.weight"], state["pooler.dense.bias"] = torch.eye(dim), torch.zeros(dim)
    return state


def _dinov3(hub: dict[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, value in hub.items():
        if name.endswith("bias_mask") or name.startswith("rope_embed"):
            continue
        name = _EMBEDDINGS.get(name, name)
        value = value[None] if name.endswith("mask_token") else value
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings")
        name = name.replace("blocks.", "layer.").replace("attn.proj", "attention.o_proj")
        name = name.replace("mlp.fc1", "mlp.up_proj").replace("mlp.fc2", "mlp.down_proj")
        name = re.sub(r"ls(\d)\.gamma", r"layer_scale\1.lambda1", name)
        state |= _parted(name, value, "attn.qkv", "attention.{}_proj", ("q", "k", "v"))
    return {name: value for name, value in state.items() if not name.endswith("k_proj.bias")}


def _parted(
    name: str, value: Tensor, fused: str, pattern: str, letters: tuple[str, ...]
) -> dict[str, Tensor]:
    if fused not in name:
        return {name: value}
    pieces = zip(letters, value.chunk(3), strict=True)
    return {name.replace(fused, pattern.format(part)): piece.clone() for part, piece in pieces}


_OUT = "attention.output.dense"
_WORDS = ("query", "key", "value")
_EMBEDDINGS = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "register_tokens": "embeddings.register_tokens",
    "storage_tokens": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
}


def _config(
    kind: str, dim: int, layers: int, heads: int, side: int, patch: int
) -> dict[str, object]:
    """Settings as the published folders have them, as far as they count."""
    settings: dict[str, object] = {
        "model_type": kind,
        "hidden_size": dim,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": side * patch,
        "patch_size": patch,
        "num_channels": 3,
        "hidden_act": "gelu",
        "layer_norm_eps": {"dinov3_vit": 1e-5, "vit": 1e-12}.get(kind, 1e-6),
        "torch_dtype": "float32",
        "transformers_version": "4.56.0",
    }
    if kind in ("dinov3_vit", "dinov2_with_registers"):
        settings["num_register_tokens"] = 4
    if kind in ("dinov3_vit", "vit"):
        settings["intermediate_size"] = 4 * dim
    else:
        settings |= {"mlp_ratio": 4, "use_swiglu_ffn": False}
    return settings
