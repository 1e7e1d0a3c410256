"""A tiny DenseCLIP as it is published: the whole segmentation model in one .pth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from . import clip

if TYPE_CHECKING:
    from pathlib import Path


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 24,
    width: int = 32,
    patch: int = 16,
    size: int = 64,
    text_width: int = 16,
    layers: int = 2,
    context: int = 13,
) -> dict[str, Path]:
    """Write the checkpoint and CLIP's merges; the roles are weights and merges.

    The text tower is that of ``clip.openai_state`` with the same seed and sizes, with the first
    ``context`` of its positions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = clip.openai_state(
        seed=seed,
        dim=dim,
        width=width,
        patch=patch,
        size=size,
        text_width=text_width,
        layers=layers,
    )
    state = {}
    for name, value in whole.items():
        if name.startswith("visual."):
            state[name.replace("visual.", "backbone.", 1)] = value
        elif name == "positional_embedding":
            state["text_encoder.positional_embedding"] = value[:context].clone()
        elif name != "logit_scale":
            state[f"text_encoder.{name}"] = value
    state |= _rest(width, dim)
    path = folder / "segmentation.pth"
    torch.save({"meta": {"epoch": 1, "CLASSES": ("wall",)}, "state_dict": state}, path)
    clip.write_tokenizer(folder)
    return {"weights": path, "merges": folder / "merges.txt"}


def _rest(width: int, dim: int) -> dict[str, torch.Tensor]:
    """One weight of every part that only segmentation needs."""
    return {
        "contexts": torch.zeros(1, 8, 16),
        "gamma": torch.full((dim,), 1e-4),
        "backbone.fpn1.0.weight": torch.ones(width),
        "backbone.fpn1.2.num_batches_tracked": torch.tensor(3),
        "backbone.fpn4.0.bias": torch.zeros(width),
        "context_decoder.memory_proj.0.weight": torch.ones(dim),
        "neck.lateral_convs.0.conv.weight": torch.zeros(4, width, 1, 1),
        "decode_head.conv_seg.bias": torch.zeros(150),
    }
