"""A tiny GPT-2 as a language model's folder of the hub, plain or fine-tuned on captions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from . import gpt2

if TYPE_CHECKING:
    from pathlib import Path


def write(
    folder: Path, *, seed: int = 0, captions: bool = False, width: int = 24, layers: int = 2
) -> dict[str, Path]:
    """Write random weights, ``config.json`` and the tokenizer; the role is gpt2.

    The plain form has bare names and no head, as ``gpt2`` has; ``captions`` has a pickled file
    with prefixes and two tokens more, as ``cambridgeltl/magic_mscoco`` has.
    """
    gpt2.write(folder)
    words = gpt2.size() + 2 * captions
    dice = torch.Generator().manual_seed(seed)
    state = gpt2.state("x", dice=dice, vocabulary=words, width=width, layers=layers, positions=64)
    state = {name.removeprefix("x."): value for name, value in state.items()}
    if captions:
        torch.save(state, folder / "pytorch_model.bin")
        added = {"<-start_of_text->": words - 2, "<-pad->": words - 1}
        (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    else:
        del state["lm_head.weight"]
        bare = {name.removeprefix("transformer."): value for name, value in state.items()}
        save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "n_ctx": 64,
        "n_embd": width,
        "n_head": 2,
        "n_layer": layers,
        "n_positions": 64,
        "vocab_size": words,
        "bos_token_id": gpt2.size() - 1,
        "eos_token_id": gpt2.size() - 1,
        "layer_norm_epsilon": 1e-5,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return {"gpt2": folder}
