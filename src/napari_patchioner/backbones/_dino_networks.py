"""The network that a DINO's weights belong to, built with transformers and filled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from napari_patchioner.checkpoints import fit, read_settings
from napari_patchioner.errors import ModelError

from ._dino_layouts import depth, named_like, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_patchioner.checkpoints import State

_HEAD_WIDTH = 64
_LETTERS = {192: "t", 384: "s", 768: "b", 1024: "l", 1280: "h", 1536: "g"}
_ESSENTIAL = {
    "cls_token": "cls_token",
    "patch.weight": "patch_embed.proj.weight",
    "norm.weight": "norm.weight",
    "blocks.0.up.weight": "blocks.0.mlp",
}
_FAMILIES = {
    "dinov2_with_registers": "dinov2",
    "dinov2": "dinov2",
    "dinov3_vit": "dinov3",
    "vit": "dino",
}


def build(state: Mapping[str, Tensor], *, source: Path) -> tuple[Any, State]:
    """Build the network of a DINO and fill it.

    Parameters
    ----------
    state : mapping of str to Tensor
        By Meta's names or Hugging Face's.
    source : Path
        Where they came from. A folder's ``config.json`` is followed where it describes a DINO;
        otherwise the sizes are read off the weights, with heads 64 wide as in all of them.

    Returns
    -------
    network : PreTrainedModel
        In evaluation mode.
    weights : dict of str to Tensor
        In this package's names, see ``_dino_layouts.plain``.

    Raises
    ------
    ModelError
        The weights are no DINO's, or do not fit the settings; what is wrong is named.
    """
    weights = plain(state)
    settings = _settings(source)
    if settings is None:
        settings = infer_settings(weights, source)
    network = _empty(settings, source)
    named = named_like(weights, network.state_dict())
    return fit(network, named, source=source), weights


def family(network: Any) -> str:
    """Name a network as people do, ``dinov2-vitb14-reg4``."""
    config = network.config
    letter = _LETTERS.get(config.hidden_size, f"-{config.hidden_size}w-")
    registers = int(getattr(config, "num_register_tokens", 0))
    ending = f"-reg{registers}" if registers else ""
    return f"{_FAMILIES[config.model_type]}-vit{letter}{config.patch_size}{ending}"


def infer_settings(weights: Mapping[str, Tensor], source: object) -> dict[str, Any]:
    """Read a network's settings off its weights, in this package's names.

    Raises
    ------
    ModelError
        They are not the weights of a DINO.
    """
    for name, published in _ESSENTIAL.items():
        if name not in weights:
            raise ModelError(f"{source} holds no {published}, so it is no DINO; choose one.")
    try:
        dim, channels, patch, _ = weights["patch.weight"].shape
        common = {
            "hidden_size": dim,
            "num_channels": channels,
            "patch_size": patch,
            "num_hidden_layers": depth(weights),
            "num_attention_heads": max(1, dim // _HEAD_WIDTH),
        }
        return common | _kind(weights, dim, patch)
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"{source} has weights of no DINO's shape; choose another file."
        ) from error


def _kind(weights: Mapping[str, Tensor], dim: int, patch: int) -> dict[str, Any]:
    hidden = int(weights["blocks.0.up.weight"].shape[0])
    registers = int(weights["registers"].shape[1]) if "registers" in weights else 0
    gated = "blocks.0.gate.weight" in weights
    if "positions" not in weights:
        return {
            "model_type": "dinov3_vit",
            "intermediate_size": hidden,
            "num_register_tokens": registers,
            "use_gated_mlp": gated,
            "hidden_act": "silu" if gated else "gelu",
            "layer_norm_eps": 1e-5,
            "image_size": 224,
        }
    size = {"image_size": patch * math.isqrt(weights["positions"].shape[1] - 1)}
    if "blocks.0.scale1" not in weights:
        return size | {"model_type": "vit", "intermediate_size": hidden, "layer_norm_eps": 1e-6}
    kind = "dinov2_with_registers" if registers else "dinov2"
    known = {"model_type": kind, "use_swiglu_ffn": gated, "layer_norm_eps": 1e-6}
    # A gated layer keeps two thirds of four times the width.
    ratio = {"mlp_ratio": 4 if gated else hidden // dim}
    return size | known | ratio | ({"num_register_tokens": registers} if registers else {})


def _settings(source: Path) -> dict[str, Any] | None:
    """Return what a folder's ``config.json`` says of a DINO, None where it is of another kind."""
    path = source / "config.json"
    if not path.is_file():
        return None
    content = read_settings(path)
    return content if content.get("model_type") in _FAMILIES else None


def _empty(settings: Mapping[str, Any], source: Path) -> Any:
    """Build a network without weights."""
    config_class, model_class, extra = _classes(settings["model_type"])
    try:
        config = config_class.from_dict(dict(settings))
        with torch.device("meta"):
            network = model_class(config, **extra)
    except Exception as error:
        # The settings are a stranger's: whatever transformers makes of them is told as one thing.
        reason = str(error).strip().splitlines()[-1][:120] if str(error) else repr(error)
        raise ModelError(f"{source} has settings that make no network ({reason}).") from error
    # No weights of a finished network: only training hides patches behind it.
    if hasattr(network.embeddings, "mask_token"):
        network.embeddings.mask_token = None
    if hasattr(network, "rope_embeddings"):
        network.rope_embeddings = type(network.rope_embeddings)(config)
    return network


def _classes(kind: str) -> tuple[Any, Any, dict[str, Any]]:
    import transformers

    stem = {
        "dinov2_with_registers": "Dinov2WithRegisters",
        "dinov2": "Dinov2",
        "dinov3_vit": "DINOv3ViT",
        "vit": "ViT",
    }[kind]
    extra = {"add_pooling_layer": False} if kind == "vit" else {}
    return getattr(transformers, f"{stem}Config"), getattr(transformers, f"{stem}Model"), extra
