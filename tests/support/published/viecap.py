"""A tiny ViECap decoder as ``coco_prefix-0014.pt``: a mapping network and a GPT-2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import gpt2

if TYPE_CHECKING:
    from pathlib import Path


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 24,
    width: int = 24,
    tokens: int = 10,
    projected: int = 10,
    mapper_layers: int = 2,
    **sizes: int,
) -> dict[str, Path]:
    """Write random weights and a tokenizer; the roles are weights and tokenizer.

    ``width`` can be split into the 12 and 8 heads of the published decoder; ``sizes`` are those of
    ``gpt2.state``.
    """
    files = gpt2.write(folder / "gpt2")
    dice = torch.Generator().manual_seed(seed)
    state = mapper_state("mapping_network", dice, dim, width, tokens, projected, mapper_layers)
    state |= gpt2.state("gpt", dice=dice, width=width, **sizes)
    torch.save(state, folder / "coco_prefix-0014.pt")
    return {"weights": folder / "coco_prefix-0014.pt"} | files


def mapper_state(
    stem: str,
    dice: torch.Generator,
    dim: int,
    width: int,
    tokens: int = 10,
    projected: int = 10,
    layers: int = 2,
) -> dict[str, Tensor]:
    """Random weights of a transformer mapper, under ``stem``."""

    def normal(*shape: int) -> Tensor:
        return shape[-1] ** -0.5 * torch.randn(*shape, generator=dice)

    lines = {"linear": (projected * width, dim)}
    for layer in range(layers):
        name = f"transformer.layers.{layer}"
        lines |= {f"{name}.attn.to_queries": (width, width)}
        lines |= {f"{name}.attn.to_keys_values": (2 * width, width)}
        lines |= {f"{name}.attn.project": (width, width)}
        lines |= {f"{name}.mlp.fc1": (2 * width, width), f"{name}.mlp.fc2": (width, 2 * width)}
    state = {f"{stem}.prefix_const": width**0.5 * normal(tokens, width)}
    for name, shape in lines.items():
        state[f"{stem}.{name}.weight"] = normal(*shape)
        if ".to_" not in name:
            state[f"{stem}.{name}.bias"] = 0.1 * normal(shape[0])
    for name in (
        f"transformer.layers.{layer}.norm{one}" for layer in range(layers) for one in "12"
    ):
        state[f"{stem}.{name}.weight"] = 1 + 0.1 * normal(width)
        state[f"{stem}.{name}.bias"] = 0.1 * normal(width)
    return state
