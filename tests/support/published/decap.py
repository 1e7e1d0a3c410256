"""A tiny DeCap decoder as ``coco_karpathy-009.pt``: a linear layer, a GPT-2, CLIP's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from . import clip, gpt2

if TYPE_CHECKING:
    from pathlib import Path


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 24,
    width: int = 8,
    vocabulary: int = 50257,
    layers: int = 2,
    positions: int = 48,
) -> dict[str, Path]:
    """Write random weights and CLIP's merges; the roles are weights and merges.

    The vocabulary is GPT-2's in size, as published, though the tokens are CLIP's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clip.write_tokenizer(folder / "clip")
    dice = torch.Generator().manual_seed(seed)
    state = {
        "clip_project.model.0.weight": 4 * torch.randn(width, dim, generator=dice),
        "clip_project.model.0.bias": 0.1 * torch.randn(width, generator=dice),
    }
    state |= gpt2.state(
        "decoder",
        dice=dice,
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        positions=positions,
    )
    torch.save(state, folder / "coco_karpathy-009.pt")
    return {
        "weights": folder / "coco_karpathy-009.pt",
        "merges": folder / "clip" / "merges.txt",
    }
