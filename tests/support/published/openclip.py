"""Tiny CLIPs as OpenCLIP publishes them: CLIP's own towers, or timm's transformer and a BERT."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from . import clip

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

# Heads of a BERT are always 64 wide.
WIDTH, TEXT_WIDTH, HEADS = 128, 128, 2
CONTEXT = 24
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'"
COLOURS = {"mean": [0.48145466, 0.4578275, 0.40821073]}
COLOURS |= {"std": [0.26862954, 0.26130258, 0.27577711]}


def write(
    folder: Path,
    *,
    bert: bool = False,
    seed: int = 0,
    dim: int = 24,
    patch: int = 8,
    size: int = 32,
    layers: int = 2,
    form: str = "safetensors",
    colours: dict[str, list[float]] | None = None,
    **model: object,
) -> dict[str, Path]:
    """Write random weights and what lies beside them; the role is clip.

    ``bert`` writes what BiomedCLIP is, a vision transformer of timm and a BERT; otherwise it is a
    ViT of CLIP with its own text tower, as QuiltNet and BioCLIP 2 are. ``form`` is
    ``"safetensors"`` or ``"bin"``; ``model`` are further settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if bert:
        state = _timm_state(seed, dim, patch, size, layers) | _bert_state(seed, dim, layers)
        vision: dict[str, object] = {"timm_model_name": "vit_base_patch16_224", "timm_pool": ""}
        vision |= {"timm_model_pretrained": False, "timm_proj": "linear", "image_size": size}
        text: dict[str, object] = {"hf_proj_type": "mlp", "context_length": CONTEXT}
        text |= {"hf_pooler_type": "cls_last_hidden_state_pooler"}
        text |= dict.fromkeys(("hf_model_name", "hf_tokenizer_name"), "owner/bert")
        _tokenizer().save(str(folder / "tokenizer.json"))
        fast = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
        fast |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        (folder / "tokenizer_config.json").write_text(json.dumps(fast), encoding="utf-8")
    else:
        width, text_width = 32, 16
        state = clip.openai_state(
            seed=seed,
            dim=dim,
            width=width,
            patch=patch,
            size=size,
            text_width=text_width,
            layers=layers,
        )
        vision = {"image_size": size, "layers": layers, "width": width, "patch_size": patch}
        vision["head_width"] = width // HEADS
        text = {"context_length": 77, "vocab_size": clip.VOCABULARY, "width": text_width}
        text |= {"heads": HEADS, "layers": layers}
        clip.write_tokenizer(folder)
    settings = {"embed_dim": dim, "vision_cfg": vision, "text_cfg": text} | model
    content = {"model_cfg": settings, "preprocess_cfg": COLOURS if colours is None else colours}
    (folder / "open_clip_config.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    if form == "bin":
        torch.save(state, folder / "open_clip_pytorch_model.bin")
    else:
        save_file(state, folder / "open_clip_model.safetensors")
    return {"clip": folder}


def bert_config(layers: int = 2) -> dict[str, object]:
    """Return the ``config.json`` of the BERT."""
    return {
        "model_type": "bert",
        "vocab_size": len(_vocabulary()),
        "hidden_size": TEXT_WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": TEXT_WIDTH // 64,
        "intermediate_size": 2 * TEXT_WIDTH,
        "max_position_embeddings": 32,
        "pad_token_id": 0,
    }


def _vocabulary() -> dict[str, int]:
    pieces = [*_SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    return {piece: place for place, piece in enumerate(pieces)}


def _tokenizer() -> Tokenizer:
    """BERT's pipeline on an alphabet instead of 30,000 pieces."""
    tokenizer = Tokenizer(models.WordPiece(_vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


class _Draw:
    """Random weights, lively enough that every part shows in the result."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=self._generator)

    def linear(self, name: str, inputs: int, outputs: int) -> dict[str, Tensor]:
        weight = self(outputs, inputs, scale=inputs**-0.5)
        return {f"{name}.weight": weight, f"{name}.bias": self(outputs, scale=0.1)}

    def norm(self, name: str, width: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": 1 + self(width, scale=0.1),
            f"{name}.bias": self(width, scale=0.1),
        }


def _timm_state(seed: int, dim: int, patch: int, size: int, layers: int) -> dict[str, Tensor]:
    draw, trunk = _Draw(seed), "visual.trunk"
    state = {
        f"{trunk}.cls_token": draw(1, 1, WIDTH),
        f"{trunk}.pos_embed": draw(1, 1 + (size // patch) ** 2, WIDTH, scale=0.5),
    }
    state |= {
        f"{trunk}.patch_embed.proj.weight": draw(
            WIDTH, 3, patch, patch, scale=(3 * patch**2) ** -0.5
        ),
        f"{trunk}.patch_embed.proj.bias": draw(WIDTH, scale=0.3),
    }
    for layer in range(layers):
        block = f"{trunk}.blocks.{layer}"
        state |= draw.norm(f"{block}.norm1", WIDTH) | draw.norm(f"{block}.norm2", WIDTH)
        state |= draw.linear(f"{block}.attn.qkv", WIDTH, 3 * WIDTH)
        state |= draw.linear(f"{block}.attn.proj", WIDTH, WIDTH)
        state |= draw.linear(f"{block}.mlp.fc1", WIDTH, 4 * WIDTH)
        state |= draw.linear(f"{block}.mlp.fc2", 4 * WIDTH, WIDTH)
    state |= draw.norm(f"{trunk}.norm", WIDTH)
    state["visual.head.proj.weight"] = draw(dim, WIDTH, scale=WIDTH**-0.5)
    return state | {"logit_scale": torch.tensor(4.6)}


def _bert_state(seed: int, dim: int, layers: int) -> dict[str, Tensor]:
    draw, bert = _Draw(seed + 1), "text.transformer"
    width, embeddings = TEXT_WIDTH, "text.transformer.embeddings"
    state = {
        f"{embeddings}.word_embeddings.weight": draw(len(_vocabulary()), width),
        f"{embeddings}.position_embeddings.weight": draw(32, width, scale=0.5),
        f"{embeddings}.token_type_embeddings.weight": draw(2, width, scale=0.5),
        # A counter that old versions of transformers wrote among the weights.
        f"{embeddings}.position_ids": torch.arange(32)[None],
    }
    state |= draw.norm(f"{embeddings}.LayerNorm", width)
    for layer in range(layers):
        block = f"{bert}.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            state |= draw.linear(f"{block}.attention.self.{part}", width, width)
        state |= draw.linear(f"{block}.attention.output.dense", width, width)
        state |= draw.norm(f"{block}.attention.output.LayerNorm", width)
        state |= draw.linear(f"{block}.intermediate.dense", width, 2 * width)
        state |= draw.linear(f"{block}.output.dense", 2 * width, width)
        state |= draw.norm(f"{block}.output.LayerNorm", width)
    hidden = (width + dim) // 2
    state["text.proj.0.weight"] = draw(hidden, width, scale=width**-0.5)
    state["text.proj.2.weight"] = draw(dim, hidden, scale=hidden**-0.5)
    return state
