"""GPT-2 as decoders carry it: weights by Hugging Face's names, and a small tokenizer of bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pathlib import Path

MERGES = (
    ("Ġ", "a"),
    ("Ġ", "t"),
    ("Ġ", "."),
    ("h", "e"),
    ("i", "n"),
    ("Ġt", "he"),
    ("Ġ", "in"),
    ("a", "g"),
    ("e", "r"),
    ("ag", "e"),
    ("Ġ", "d"),
    ("o", "g"),
    ("Ġd", "og"),
    ("T", "he"),
)
_VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]


def write(folder: Path, *, seed: int = 0, original_names: bool = False) -> dict[str, Path]:
    """Write ``vocab.json`` and ``merges.txt`` of all bytes and a few merges; the role is tokenizer.

    ``original_names`` calls them ``encoder.json`` and ``vocab.bpe``; there is nothing random.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("encoder.json", "vocab.bpe") if original_names else ("vocab.json", "merges.txt")
    tokens = {piece: place for place, piece in enumerate(_pieces())}
    (folder / names[0]).write_text(json.dumps(tokens), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / names[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"tokenizer": folder}


def size() -> int:
    """Number of tokens."""
    return len(_pieces())


def state(
    stem: str,
    *,
    dice: torch.Generator,
    vocabulary: int | None = None,
    width: int = 24,
    layers: int = 2,
    positions: int = 96,
    buffers: bool = True,
) -> dict[str, Tensor]:
    """Random weights under ``stem``, with the tied head and the buffers of old versions.

    Linear layers are (in, out), as GPT-2's are. They are strong enough to say different things.
    """

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(*shape, generator=dice)

    words = normal(vocabulary or size(), width)
    weights = {
        f"{stem}.transformer.wte.weight": words,
        f"{stem}.transformer.wpe.weight": normal(positions, width, scale=1.5),
        f"{stem}.transformer.ln_f.weight": 1 + normal(width, scale=0.1),
        f"{stem}.transformer.ln_f.bias": normal(width, scale=0.1),
        f"{stem}.lm_head.weight": words,
    }
    for layer in range(layers):
        block = f"{stem}.transformer.h.{layer}"
        lines = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
        lines |= {"mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}
        for name, shape in lines.items():
            weights[f"{block}.{name}.weight"] = normal(*shape, scale=1.5 * shape[0] ** -0.5)
            weights[f"{block}.{name}.bias"] = normal(shape[1], scale=0.1)
        for name in ("ln_1", "ln_2"):
            weights[f"{block}.{name}.weight"] = 1 + normal(width, scale=0.1)
            weights[f"{block}.{name}.bias"] = normal(width, scale=0.1)
        if buffers:
            seen = torch.ones(positions, positions, dtype=torch.uint8).tril()[None, None]
            weights[f"{block}.attn.bias"] = seen
            weights[f"{block}.attn.masked_bias"] = torch.tensor(-1e4)
    return weights


def _pieces() -> list[str]:
    letters = [chr(byte) for byte in _VISIBLE]
    letters += [chr(256 + place) for place in range(256 - len(letters))]
    merged = ["".join(pair) for pair in MERGES]
    return [*letters, *merged, "<|endoftext|>"]
