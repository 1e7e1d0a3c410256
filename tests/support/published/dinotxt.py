"""A tiny DINO.txt in its published files: DINOv2, vision head, text encoder, word pieces."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from . import dino

_NAME = "dinov2_vitl14_reg4_dinotxt_tet1280d20h24l"
_MERGES = "bpe_simple_vocab_16e6.txt.gz"
_VOCABULARY = 49408


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 32,
    text_width: int = 16,
    text_layers: int = 2,
    layout: str = "hf",
    **sizes: int,
) -> dict[str, Path]:
    """Write random weights; the roles are vision, head, text and merges.

    ``layout`` and ``sizes`` are those of ``dino.write``; a text embedding is twice ``dim`` long.
    """
    files = dino.write(folder / "vision", seed=seed, layout=layout, dim=dim, **sizes)
    files["head"] = folder / f"{_NAME}_vision_head.pth"
    torch.save(head_state(seed=seed, dim=dim), files["head"])
    files["text"] = folder / f"{_NAME}_text_encoder.pth"
    torch.save(
        text_state(seed=seed, dim=2 * dim, width=text_width, layers=text_layers), files["text"]
    )
    [carrier] = find_spec("clip").submodule_search_locations
    files["merges"] = Path(shutil.copy(Path(carrier) / _MERGES, folder / _MERGES))
    return files


def head_state(*, seed: int = 0, dim: int = 32, blocks: int = 2) -> dict[str, Tensor]:
    """Weights of the vision head; its hidden layers are two thirds of four times as wide,
    rounded up to 64."""
    draw = _Draw(2000 + seed)
    hidden = int(4 * dim * 2 / 3)
    hidden += -hidden % 64
    state: dict[str, Tensor] = {}
    for number in range(blocks):
        block = f"block_list.{number}"
        state |= draw.norm(f"{block}.norm1", dim)
        state |= draw.linear(f"{block}.attn.qkv", dim, 3 * dim, bias=False)
        state |= draw.linear(f"{block}.attn.proj", dim, dim)
        state[f"{block}.ls1.gamma"] = draw(dim, scale=0.5)
        state |= draw.norm(f"{block}.norm2", dim)
        state |= draw.linear(f"{block}.mlp.w1", dim, hidden)
        state |= draw.linear(f"{block}.mlp.w2", dim, hidden)
        state |= draw.linear(f"{block}.mlp.w3", hidden, dim)
        state[f"{block}.ls2.gamma"] = draw(dim, scale=0.5)
    return state | draw.norm("ln_final", dim)


def text_state(
    *, seed: int = 0, dim: int = 64, width: int = 16, layers: int = 2
) -> dict[str, Tensor]:
    """Weights of the text encoder; half precision where one row a token makes the file large."""
    draw = _Draw(3000 + seed)
    state = {
        "backbone.positional_embedding": draw(77, width, scale=0.5),
        "backbone.token_embedding.weight": draw(_VOCABULARY, width).half(),
    }
    for number in range(layers):
        block = f"backbone.blocks.{number}"
        state |= draw.norm(f"{block}.attention_norm", width)
        state |= draw.linear(f"{block}.attention.qkv", width, 3 * width, bias=False)
        state |= draw.linear(f"{block}.attention.proj", width, width)
        state |= draw.norm(f"{block}.ffn_norm", width)
        state |= draw.linear(f"{block}.feed_forward.fc1", width, 4 * width)
        state |= draw.linear(f"{block}.feed_forward.fc2", 4 * width, width)
    state |= draw.norm("backbone.ln_final", width)
    return state | draw.linear("head.linear_projection", width, dim, bias=False)


class _Draw:
    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=self._generator)

    def norm(self, name: str, width: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": 1 + self(width, scale=0.1),
            f"{name}.bias": self(width, scale=0.1),
        }

    def linear(
        self, name: str, inputs: int, outputs: int, *, bias: bool = True
    ) -> dict[str, Tensor]:
        state = {f"{name}.weight": self(outputs, inputs, scale=inputs**-0.5)}
        return state | ({f"{name}.bias": self(outputs, scale=0.1)} if bias else {})
