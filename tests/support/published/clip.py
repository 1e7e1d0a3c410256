"""A tiny CLIP in the forms it is published in: Hugging Face's folder, by its names or OpenAI's."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

MERGES = 49152 - 256 - 2
VOCABULARY = 49408
_BYTE_LETTERS = [*range(33, 127), *range(161, 173), *range(174, 256)]


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int = 24,
    width: int = 32,
    patch: int = 8,
    size: int = 32,
    text_width: int = 16,
    layers: int = 2,
    heads: int = 2,
    layout: str = "hf",
    towers: tuple[str, ...] = ("text", "vision"),
    form: str = "safetensors",
) -> dict[str, Path]:
    """Write random weights, ``config.json``, ``merges.txt`` and ``vocab.json``; the role is clip.

    ``size`` is what the positions are made for, in pixels; the vocabulary is CLIP's own. ``form``
    is ``"safetensors"`` or ``"bin"``, the ``pytorch_model.bin`` that ViT-B/16 is published as.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = openai_state(
        seed=seed,
        dim=dim,
        width=width,
        patch=patch,
        size=size,
        text_width=text_width,
        layers=layers,
        towers=towers,
    )
    if layout == "hf":
        state = hf_state(state) | _position_ids(towers, (size // patch) ** 2 + 1)
    elif layout != "openai":
        raise ValueError(layout)
    if form == "bin":
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    settings = _config(dim, width, patch, size, text_width, layers, heads)
    (folder / "config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    write_tokenizer(folder)
    return {"clip": folder}


def write_tokenizer(folder: Path) -> None:
    """Write ``merges.txt`` and ``vocab.json`` as the hub has them for CLIP."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "merges.txt").write_text(_merges_text(), encoding="utf-8")
    (folder / "vocab.json").write_text(_vocabulary_text(), encoding="utf-8")


def openai_state(
    *,
    seed: int = 0,
    dim: int = 24,
    width: int = 32,
    patch: int = 8,
    size: int = 32,
    text_width: int = 16,
    layers: int = 2,
    towers: tuple[str, ...] = ("text", "vision"),
) -> dict[str, Tensor]:
    """Random weights by OpenAI's names, lively enough that every part shows in the result."""
    draw = _Draw(seed)
    state: dict[str, Tensor] = {"logit_scale": torch.tensor(4.6052)}
    if "vision" in towers:
        state["visual.class_embedding"] = draw(width)
        state["visual.positional_embedding"] = draw((size // patch) ** 2 + 1, width, scale=0.5)
        state["visual.conv1.weight"] = draw(width, 3, patch, patch, scale=(3 * patch**2) ** -0.5)
        state |= _norm(draw, "visual.ln_pre", width)
        state |= _blocks(draw, "visual.transformer", width, layers)
        state |= _norm(draw, "visual.ln_post", width)
        state["visual.proj"] = draw(width, dim, scale=width**-0.5)
    if "text" in towers:
        state["positional_embedding"] = draw(77, text_width, scale=0.5)
        # One row for every token is most of the file: half precision, as OpenAI's own has.
        state["token_embedding.weight"] = draw(VOCABULARY, text_width).half()
        state |= _blocks(draw, "transformer", text_width, layers)
        state |= _norm(draw, "ln_final", text_width)
        state["text_projection"] = draw(text_width, dim, scale=text_width**-0.5)
    return state


def hf_state(openai: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same weights by Hugging Face's names, told apart from the package's mapping."""
    state: dict[str, Tensor] = {}
    for name, value in openai.items():
        new = name.replace("visual.transformer.resblocks", "vision_model.encoder.layers")
        new = new.replace("transformer.resblocks", "text_model.encoder.layers")
        new = _HF_NAMES.get(name, new)
        for old, part in _HF_PARTS:
            new = new.replace(old, part)
        if "in_proj" in new:
            q, k, v = value.chunk(3)
            kind = new.rsplit("_", 1)[1]
            stem = new.split(".attn")[0]
            for letter, piece in (("q", q), ("k", k), ("v", v)):
                state[f"{stem}.self_attn.{letter}_proj.{kind}"] = piece.contiguous()
        elif name in ("visual.proj", "text_projection"):
            state[new] = value.T.contiguous()
        else:
            state[new] = value
    return state


_HF_NAMES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.proj": "visual_projection.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "text_projection": "text_projection.weight",
}
_HF_PARTS = (
    ("visual.ln_pre", "vision_model.pre_layrnorm"),
    ("visual.ln_post", "vision_model.post_layernorm"),
    ("ln_final", "text_model.final_layer_norm"),
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("c_fc", "fc1"),
    ("c_proj", "fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
)


def _position_ids(towers: tuple[str, ...], patches: int) -> dict[str, Tensor]:
    """Counters that old versions of transformers wrote among the weights."""
    counts = {"text": 77, "vision": patches}
    return {
        f"{tower}_model.embeddings.position_ids": torch.arange(counts[tower])[None]
        for tower in towers
    }


class _Draw:
    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=self._generator)


def _norm(draw: _Draw, name: str, width: int) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + draw(width, scale=0.1), f"{name}.bias": draw(width, scale=0.1)}


def _linear(draw: _Draw, name: str, inputs: int, outputs: int) -> dict[str, Tensor]:
    weight = draw(outputs, inputs, scale=inputs**-0.5)
    return {f"{name}weight": weight, f"{name}bias": draw(outputs, scale=0.1)}


def _blocks(draw: _Draw, name: str, width: int, layers: int) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for layer in range(layers):
        block = f"{name}.resblocks.{layer}"
        state |= _linear(draw, f"{block}.attn.in_proj_", width, 3 * width)
        state |= _linear(draw, f"{block}.attn.out_proj.", width, width)
        state |= _norm(draw, f"{block}.ln_1", width)
        state |= _linear(draw, f"{block}.mlp.c_fc.", width, 4 * width)
        state |= _linear(draw, f"{block}.mlp.c_proj.", 4 * width, width)
        state |= _norm(draw, f"{block}.ln_2", width)
    return state


def _config(
    dim: int, width: int, patch: int, size: int, text_width: int, layers: int, heads: int
) -> dict[str, object]:
    """Settings as ``openai/clip-vit-base-patch16`` has them, as far as they count."""
    common = {"num_hidden_layers": layers, "num_attention_heads": heads}
    common |= {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "attention_dropout": 0.0}
    text = {"hidden_size": text_width, "intermediate_size": 4 * text_width}
    text |= {"vocab_size": VOCABULARY, "max_position_embeddings": 77}
    # What the published files have: not the end token's id.
    text |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    vision = {"hidden_size": width, "intermediate_size": 4 * width}
    vision |= {"image_size": size, "patch_size": patch, "num_channels": 3}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": dim,
        "logit_scale_init_value": 2.6592,
        "text_config": {"model_type": "clip_text_model"} | text | common,
        "text_config_dict": None,
        "vision_config": {"model_type": "clip_vision_model"} | vision | common,
        "vision_config_dict": None,
        "torch_dtype": "float32",
    }


@lru_cache(maxsize=1)
def _merges_text() -> str:
    [folder] = find_spec("clip").submodule_search_locations
    with gzip.open(Path(folder) / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n") for _, line in zip(range(MERGES + 1), file, strict=False)]
    return "\n".join(["#version: 0.2", *lines[1:]]) + "\n"


@lru_cache(maxsize=1)
def _vocabulary_text() -> str:
    letters = [chr(byte) for byte in _BYTE_LETTERS]
    letters += [chr(256 + place) for place in range(256 - len(letters))]
    pieces = [*letters, *(letter + "</w>" for letter in letters)]
    pieces += ["".join(line.split()) for line in _merges_text().splitlines()[1:]]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return json.dumps({piece: place for place, piece in enumerate(pieces)}, ensure_ascii=False)
