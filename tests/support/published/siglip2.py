"""A tiny SigLIP 2 as it is published: Hugging Face's folder with a tokenizer of Gemma's kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
_LETTERS = "▁abcdefghijklmnopqrstuvwxyz0123456789.,'"
LENGTH = 64


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 24,
    patch: int = 16,
    size: int = 64,
    layers: int = 2,
    heads: int = 2,
) -> dict[str, Path]:
    """Write random weights, ``config.json`` and ``tokenizer.json``; the role is folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = len(_SPECIAL) + len(_LETTERS) + 256
    tower = {"hidden_size": dim, "intermediate_size": 2 * dim, "num_hidden_layers": layers}
    tower["num_attention_heads"] = heads
    vision = {"model_type": "siglip_vision_model", "image_size": size, "patch_size": patch}
    text = {"model_type": "siglip_text_model", "vocab_size": vocabulary, "projection_size": dim}
    text |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    config = {
        "architectures": ["SiglipModel"],
        "initializer_factor": 1.0,
        "model_type": "siglip",
        "text_config": text | tower,
        "torch_dtype": "float32",
        "vision_config": vision | tower,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    _tokenizer().save(str(folder / "tokenizer.json"))
    state = _state(seed, dim, patch, size, layers, vocabulary)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return {"folder": folder}


def _tokenizer() -> Tokenizer:
    """Gemma's pipeline on an alphabet instead of 256,000 pieces; it keeps case by itself."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {piece: place for place, piece in enumerate([*_SPECIAL, *_LETTERS, *bytes_])}
    model = models.BPE(vocabulary, [], fuse_unk=True, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def _state(
    seed: int, dim: int, patch: int, size: int, layers: int, vocabulary: int
) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=draw)

    def linear(name: str, inputs: int, outputs: int, bias: float = 0.1) -> dict[str, Tensor]:
        weight = normal(outputs, inputs, scale=inputs**-0.5)
        return {f"{name}.weight": weight, f"{name}.bias": normal(outputs, scale=bias)}

    def norm(name: str) -> dict[str, Tensor]:
        return {
            f"{name}.weight": 1 + normal(dim, scale=0.1),
            f"{name}.bias": normal(dim, scale=0.1),
        }

    def mlp(name: str) -> dict[str, Tensor]:
        return linear(f"{name}.fc1", dim, 2 * dim) | linear(f"{name}.fc2", 2 * dim, dim)

    def blocks(tower: str) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for layer in range(layers):
            block = f"{tower}.encoder.layers.{layer}"
            for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                state |= linear(f"{block}.self_attn.{part}", dim, dim)
            state |= norm(f"{block}.layer_norm1") | norm(f"{block}.layer_norm2")
            state |= mlp(f"{block}.mlp")
        return state

    vision, text = "vision_model", "text_model"
    embedding = f"{vision}.embeddings"
    attention = f"{vision}.head.attention"
    pixels = 3 * patch**2
    return (
        {"logit_scale": torch.tensor([4.7]), "logit_bias": torch.tensor([-16.8])}
        | {f"{embedding}.patch_embedding.weight": normal(dim, 3, patch, patch, scale=pixels**-0.5)}
        | {f"{embedding}.patch_embedding.bias": normal(dim, scale=0.1)}
        | {f"{embedding}.position_embedding.weight": normal((size // patch) ** 2, dim, scale=0.5)}
        | blocks(vision)
        | norm(f"{vision}.post_layernorm")
        | {f"{vision}.head.probe": normal(1, 1, dim)}
        | {f"{attention}.in_proj_weight": normal(3 * dim, dim, scale=dim**-0.5)}
        | {f"{attention}.in_proj_bias": normal(3 * dim, scale=0.1)}
        | linear(f"{attention}.out_proj", dim, dim)
        | norm(f"{vision}.head.layernorm")
        | mlp(f"{vision}.head.mlp")
        | {f"{text}.embeddings.token_embedding.weight": normal(vocabulary, dim)}
        | {f"{text}.embeddings.position_embedding.weight": normal(LENGTH, dim, scale=0.5)}
        | blocks(text)
        | norm(f"{text}.final_layer_norm")
        | linear(f"{text}.head", dim, dim)
    )
