"""A tiny Talk2DINO: a DINO, the published projection file and CLIP's folder, or all in one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from . import clip, dino

if TYPE_CHECKING:
    from pathlib import Path


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 32,
    text_dim: int = 24,
    kind: str = "dinov2_with_registers",
    layout: str = "hf",
    text: bool = True,
    **sizes: int,
) -> dict[str, Path]:
    """Write random weights; the roles are vision, projection and, where asked for, text.

    ``layout`` and ``sizes`` are those of ``dino.write``.
    """
    files = dino.write(folder / "vision", seed=seed, kind=kind, layout=layout, dim=dim, **sizes)
    files["projection"] = write_projection(
        folder / "vitb_mlp_infonce.pth", seed=seed, dim=dim, text_dim=text_dim
    )
    if text:
        files["text"] = clip.write(folder / "text", seed=seed, dim=text_dim)["clip"]
    return files


def write_projection(
    path: Path, *, seed: int = 0, dim: int = 32, text_dim: int = 24, legacy: bool = False
) -> Path:
    """Write a projection as ``vitb_mlp_infonce.pth`` is; ``legacy`` by an older name."""
    state = projection_state(seed=seed, dim=dim, text_dim=text_dim)
    if legacy:
        state = {name.replace("hidden_layers.0", "linear_layer2"): w for name, w in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def projection_state(*, seed: int = 0, dim: int = 32, text_dim: int = 24) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1000 + seed)
    return {
        "linear_layer.weight": text_dim**-0.5 * torch.randn(dim, text_dim, generator=draw),
        "linear_layer.bias": 0.1 * torch.randn(dim, generator=draw),
        "hidden_layers.0.weight": dim**-0.5 * torch.randn(dim, dim, generator=draw),
        "hidden_layers.0.bias": 0.1 * torch.randn(dim, generator=draw),
    }


def write_whole(
    folder: Path, *, seed: int = 0, dim: int = 64, text_dim: int = 24, **sizes: int
) -> dict[str, Path]:
    """Write everything in one folder, as ``lorebianchi98/Talk2DINO-ViTB``; the role is vision.

    Meta's names, so heads are 64 wide; CLIP by OpenAI's names; a ``config.json`` of the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {"logit_scale": torch.tensor(2.6593)}
    parts = {
        "model": dino.hub_state(seed=seed, dim=dim, **sizes),
        "clip_model": clip.openai_state(seed=seed, dim=text_dim),
        "proj": projection_state(seed=seed, dim=dim, text_dim=text_dim),
    }
    for prefix, part in parts.items():
        state |= {f"{prefix}.{name}": value for name, value in part.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {"model_name": "dinov2_vitb14_reg", "resize_dim": 448, "clip_model_name": "ViT-B/16"}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return {"vision": folder}
