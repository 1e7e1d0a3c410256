"""A tiny AlphaCLIP as it is published: the visual tower alone in a .pth, beside a CLIP folder."""

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
    width: int = 64,
    patch: int = 16,
    size: int = 64,
    text_width: int = 16,
    layers: int = 2,
    prefix: str = "",
) -> dict[str, Path]:
    """Write the visual weights and the CLIP folder; the roles are alpha and clip.

    ``prefix="visual."`` gives the names a whole model has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"dim": dim, "width": width, "patch": patch, "size": size, "layers": layers}
    whole = clip.openai_state(seed=seed, towers=("vision",), **sizes)
    state = {}
    for name, value in whole.items():
        if name.startswith("visual."):
            # AlphaCLIP's attention has a linear layer where CLIP's has bare parameters.
            bare = name.removeprefix("visual.").replace("attn.in_proj_", "attn.in_proj.")
            state[prefix + bare] = value
    generator = torch.Generator().manual_seed(seed + 1)
    alpha = torch.randn((width, 1, patch, patch), generator=generator) / patch
    state[f"{prefix}conv1_alpha.weight"] = alpha
    path = folder / "clip_b16_grit1m_fultune_8xe.pth"
    torch.save(state, path)
    text = clip.write(folder / "clip", seed=seed, text_width=text_width, **sizes)
    return {"alpha": path, "clip": text["clip"]}
