"""Tiny language models of MeaCap, in the layout of the hub's folders.

``flan-t5-base-VG-factual-sg`` reads captions as scene graphs, ``all-MiniLM-L6-v2`` compares
words. Both write ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
"""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

CAPTIONS = (
    "A black dog runs on the grass.",
    "A black dog catches a ball.",
    "A red bus drives down the street.",
    "Two people ride a bus.",
    "A man holds a surfboard.",
    "A small dog sleeps on a sofa.",
    "A girl blows out a candle.",
    "A wave breaks near the beach.",
)
_WORDS = ("dog", "bus", "grass", "ball", "black", "red", "is", "on", "man", "Scene", "Graph")


def write(
    folder: Path,
    *,
    seed: int = 0,
    dim: int | None = None,
    captions: Sequence[str] = CAPTIONS,
    layers: int = 1,
) -> dict[str, Path]:
    """Write both models and, where its ``dim`` is given, a memory of random vectors.

    Returns
    -------
    dict of str to Path
        ``parser``, ``sentences`` and maybe ``bank``.
    """
    files = {
        "parser": write_parser(folder / "parser", seed=seed, layers=layers),
        "sentences": write_sentences(folder / "sentences", seed=seed, layers=layers),
    }
    if dim is not None:
        from napari_patchioner.bridges import MemoryBank

        vectors = torch.randn(len(captions), dim, generator=_dice(seed)).numpy()
        MemoryBank.build(folder / "bank", [(captions, vectors)], dtype="float32")
        files["bank"] = folder / "bank"
    return files


def write_parser(
    folder: Path, *, seed: int = 0, width: int = 16, heads: int = 2, layers: int = 1
) -> Path:
    """Write a T5 of random weights, with a gate and a head of its own as flan-t5 has them."""
    folder.mkdir(parents=True)
    pieces = ["▁", *string.ascii_letters, *string.digits, *"(),.:'", *("▁" + w for w in _WORDS)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0)]
    vocabulary += [(piece, -8.0 + len(piece)) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": width,
        "d_kv": width // heads,
        "d_ff": 2 * width,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "num_heads": heads,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "vocab_size": len(vocabulary),
        "torch_dtype": "float32",
    }
    _save(folder, config, _t5(_dice(seed), width, heads, layers, len(vocabulary)))
    return folder


def write_sentences(
    folder: Path, *, seed: int = 0, width: int = 16, heads: int = 2, layers: int = 1
) -> Path:
    """Write a BERT of random weights; its tokenizer asks for 128 tokens as the published does."""
    folder.mkdir(parents=True)
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = string.ascii_lowercase + string.digits
    pieces = [*marks, *letters, *("##" + letter for letter in letters), *".,'"]
    pieces += [word for word in map(str.lower, _WORDS) if word not in pieces]
    tokens = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(tokens, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(marks)
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "vocab_size": len(tokens),
        "pad_token_id": 0,
        "layer_norm_eps": 1e-12,
    }
    _save(folder, config, _bert(_dice(seed + 1), width, layers, len(tokens), 64))
    return folder


def _save(folder: Path, config: dict[str, object], state: dict[str, Tensor]) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _t5(
    dice: torch.Generator, width: int, heads: int, layers: int, words: int
) -> dict[str, Tensor]:
    """Keys of the published safetensors file: the shared table stands for both embeddings."""

    def normal(*shape: int, scale: float = 0.4) -> Tensor:
        return scale * torch.randn(*shape, generator=dice)

    state = {"shared.weight": normal(words, width, scale=1.0)}
    state["lm_head.weight"] = normal(words, width, scale=1.0)
    for side, parts in (("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDec"])):
        for layer in range(layers):
            block = f"{side}.block.{layer}.layer"
            for place, part in enumerate(parts):
                name = f"{block}.{place}.{part.replace('EncDec', 'EncDecAttention')}"
                for letter in "qkvo":
                    state[f"{name}.{letter}.weight"] = normal(width, width)
                state[f"{block}.{place}.layer_norm.weight"] = torch.ones(width)
            name = f"{block}.{len(parts)}"
            state[f"{name}.DenseReluDense.wi_0.weight"] = normal(2 * width, width)
            state[f"{name}.DenseReluDense.wi_1.weight"] = normal(2 * width, width)
            state[f"{name}.DenseReluDense.wo.weight"] = normal(width, 2 * width)
            state[f"{name}.layer_norm.weight"] = torch.ones(width)
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        state[bias] = normal(32, heads)
        state[f"{side}.final_layer_norm.weight"] = torch.ones(width)
    return state


def _bert(
    dice: torch.Generator, width: int, layers: int, words: int, positions: int
) -> dict[str, Tensor]:
    """Keys of the published file, with its pooler and its table of positions."""

    def normal(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=dice)

    state = {
        "embeddings.position_ids": torch.arange(positions)[None],
        "embeddings.word_embeddings.weight": normal(words, width),
        "embeddings.position_embeddings.weight": normal(positions, width),
        "embeddings.token_type_embeddings.weight": normal(2, width),
    }
    norms = ["embeddings.LayerNorm"]
    lines = {"pooler.dense": (width, width)}
    for layer in range(layers):
        name = f"encoder.layer.{layer}"
        for letter in ("query", "key", "value"):
            lines[f"{name}.attention.self.{letter}"] = (width, width)
        lines[f"{name}.attention.output.dense"] = (width, width)
        lines[f"{name}.intermediate.dense"] = (2 * width, width)
        lines[f"{name}.output.dense"] = (width, 2 * width)
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
    for name, shape in lines.items():
        state |= {f"{name}.weight": normal(*shape), f"{name}.bias": normal(shape[0])}
    for name in norms:
        state |= {f"{name}.weight": torch.ones(width), f"{name}.bias": torch.zeros(width)}
    return state
