"""From a vector to a sentence.

What needs torch is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from napari_patchioner.parts import PartKind

from .caption import Caption, Decoder, Evidence, TextRater, Thing
from .options import CaptionOptions, Length, Pooling
from .quote import QuoteDecoder

if TYPE_CHECKING:
    from .bpe import ClipTokenizer, Gpt2Tokenizer
    from .clipcap import ClipCapDecoder, prefix_gpt_from_clipcap
    from .decap import DeCapDecoder, prefix_gpt_from_decap
    from .gpt import (
        MapperConfig,
        MappingNetwork,
        PrefixGPT,
        PrefixGPTConfig,
        caption_loss,
        check_heads,
    )
    from .grounded import GroundedDecoder
    from .search import Hypothesis, LanguageModel, SearchOptions, caption_of, generate
    from .viecap import ViECapDecoder, hard_prompt, prefix_gpt_from_viecap

__all__ = [
    "DECODERS",
    "Caption",
    "CaptionOptions",
    "ClipCapDecoder",
    "ClipTokenizer",
    "DeCapDecoder",
    "Decoder",
    "Evidence",
    "Gpt2Tokenizer",
    "GroundedDecoder",
    "Hypothesis",
    "LanguageModel",
    "Length",
    "MapperConfig",
    "MappingNetwork",
    "Pooling",
    "PrefixGPT",
    "PrefixGPTConfig",
    "QuoteDecoder",
    "SearchOptions",
    "TextRater",
    "Thing",
    "ViECapDecoder",
    "caption_loss",
    "caption_of",
    "check_heads",
    "generate",
    "hard_prompt",
    "prefix_gpt_from_clipcap",
    "prefix_gpt_from_decap",
    "prefix_gpt_from_viecap",
]

_GPT2 = ("weights", "tokenizer")
DECODERS = {
    "decap": PartKind(
        "decoders:DeCapDecoder",
        ("weights",),
        ("merges", "tokenizer"),
        ("heads", "length_penalty", "tidy"),
    ),
    "viecap": PartKind(
        "decoders:ViECapDecoder", _GPT2, (), ("heads", "mapper_heads", "prompt", "tidy")
    ),
    "clipcap": PartKind("decoders:ClipCapDecoder", _GPT2, (), ("heads", "mapper_heads", "tidy")),
    "quote": PartKind("decoders:QuoteDecoder"),
}
"""The decoders that a preset can name."""

_LAZY = {
    "bpe": ("ClipTokenizer", "Gpt2Tokenizer"),
    "clipcap": ("ClipCapDecoder", "prefix_gpt_from_clipcap"),
    "decap": ("DeCapDecoder", "prefix_gpt_from_decap"),
    "gpt": (
        "MapperConfig",
        "MappingNetwork",
        "PrefixGPT",
        "PrefixGPTConfig",
        "caption_loss",
        "check_heads",
    ),
    "grounded": ("GroundedDecoder",),
    "search": ("Hypothesis", "LanguageModel", "SearchOptions", "caption_of", "generate"),
    "viecap": ("ViECapDecoder", "hard_prompt", "prefix_gpt_from_viecap"),
}

__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs=_LAZY)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
