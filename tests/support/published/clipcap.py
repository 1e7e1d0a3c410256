"""A tiny ClipCap decoder: a GPT-2 behind an MLP or a transformer, ``coco_weights.pt``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from . import gpt2, viecap

if TYPE_CHECKING:
    from pathlib import Path


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 24,
    width: int = 24,
    tokens: int = 10,
    mapper: str = "mlp",
    **sizes: int,
) -> dict[str, Path]:
    """Write random weights and a tokenizer; the roles are weights and tokenizer.

    ``mapper`` is mlp or transformer; ``sizes`` are those of ``gpt2.state``.
    """
    files = gpt2.write(folder / "gpt2")
    dice = torch.Generator().manual_seed(seed)
    if mapper == "mlp":
        hidden = tokens * width // 2
        state = {}
        for place, shape in ((0, (hidden, dim)), (2, (tokens * width, hidden))):
            weight = 2 * shape[1] ** -0.5 * torch.randn(*shape, generator=dice)
            state[f"clip_project.model.{place}.weight"] = weight
            state[f"clip_project.model.{place}.bias"] = 0.1 * torch.randn(shape[0], generator=dice)
    else:
        state = viecap.mapper_state("clip_project", dice, dim, width, tokens)
    state |= gpt2.state("gpt", dice=dice, width=width, **sizes)
    torch.save(state, folder / "coco_weights.pt")
    return {"weights": folder / "coco_weights.pt"} | files
