"""A tiny RegionCLIP as it is published: detectron2's .pth, or the CLIP ResNet it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from . import clip

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 24,
    width: int = 4,
    blocks: tuple[int, ...] = (2, 1, 1, 1),
    side: int = 7,
    text_width: int = 16,
    layers: int = 2,
    layout: str = "regionclip",
) -> dict[str, Path]:
    """Write the checkpoint and CLIP's merges; the roles are weights and merges.

    ``layout="openai"`` gives the names of OpenAI's RN50.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = clip.openai_state(
        seed=seed, dim=dim, text_width=text_width, layers=layers, towers=("text",)
    )
    visual = resnet_state(seed=seed, dim=dim, width=width, blocks=blocks, side=side)
    path = folder / "regionclip_pretrained-cc_rn50.pth"
    if layout == "openai":
        state = {f"visual.{name}": value for name, value in visual.items()} | text
        torch.save(state, path)
    else:
        torch.save({"model": _detectron(visual, text), "iteration": 599999}, path)
    clip.write_tokenizer(folder)
    return {"weights": path, "merges": folder / "merges.txt"}


def resnet_state(
    *, seed: int, dim: int, width: int, blocks: tuple[int, ...], side: int
) -> dict[str, Tensor]:
    """Random weights by OpenAI's names without ``visual.``."""
    draw = torch.Generator().manual_seed(seed)
    state = _convolution(draw, "", 1, 3, width // 2, 3)
    state |= _convolution(draw, "", 2, width // 2, width // 2, 3)
    state |= _convolution(draw, "", 3, width // 2, width, 3)
    channels = width
    for stage, repeats in enumerate(blocks):
        planes = width * 2**stage
        for block in range(repeats):
            name = f"layer{stage + 1}.{block}."
            state |= _convolution(draw, name, 1, channels, planes, 1)
            state |= _convolution(draw, name, 2, planes, planes, 3)
            state |= _convolution(draw, name, 3, planes, 4 * planes, 1)
            if block == 0:
                weight = torch.randn(4 * planes, channels, 1, 1, generator=draw) / channels**0.5
                state[f"{name}downsample.0.weight"] = weight
                state |= _norm(draw, f"{name}downsample.1.", 4 * planes)
            channels = 4 * planes
    for part, outputs in (("q", channels), ("k", channels), ("v", channels), ("c", dim)):
        weight = torch.randn(outputs, channels, generator=draw) / channels**0.5
        state[f"attnpool.{part}_proj.weight"] = weight
        state[f"attnpool.{part}_proj.bias"] = 0.1 * torch.randn(outputs, generator=draw)
    positions = torch.randn(side**2 + 1, channels, generator=draw)
    return state | {"attnpool.positional_embedding": positions}


def _detectron(visual: dict[str, Tensor], text: dict[str, Tensor]) -> dict[str, Tensor]:
    """Student, teacher, text tower and proposals, as the pretraining saved them."""
    words = {name: value for name, value in text.items() if name != "logit_scale"}
    return (
        {
            f"backbone.{name}": value
            for name, value in visual.items()
            if not name.endswith("num_batches_tracked")
        }
        | {"teacher_backbone.conv1.weight": torch.zeros(1, 3, 3, 3)}
        | {"teacher_backbone.attnpool.k_proj.bias": torch.zeros(1)}
        | {"offline_backbone.stem.conv1.weight": torch.zeros(1, 3, 7, 7)}
        | {"offline_proposal_generator.rpn_head.conv.bias": torch.zeros(1)}
        | {f"lang_encoder.{name}": value for name, value in words.items()}
    )


def _convolution(
    draw: torch.Generator, block: str, place: int, inputs: int, outputs: int, kernel: int
) -> dict[str, Tensor]:
    scale = (inputs * kernel**2) ** -0.5
    weight = scale * torch.randn(outputs, inputs, kernel, kernel, generator=draw)
    return {f"{block}conv{place}.weight": weight} | _norm(draw, f"{block}bn{place}.", outputs)


def _norm(draw: torch.Generator, name: str, channels: int) -> dict[str, Tensor]:
    return {
        f"{name}weight": 1 + 0.1 * torch.randn(channels, generator=draw),
        f"{name}bias": 0.1 * torch.randn(channels, generator=draw),
        f"{name}running_mean": 0.1 * torch.randn(channels, generator=draw),
        f"{name}running_var": 0.5 + torch.rand(channels, generator=draw),
        f"{name}num_batches_tracked": torch.tensor(1),
    }
