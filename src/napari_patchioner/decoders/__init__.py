"""From a vector to a sentence.

What needs torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._caption import Caption, Evidence
from ._decoder import Decoder
from ._quote import QuoteDecoder
from ._wishes import Length, Wishes

if TYPE_CHECKING:
    from ._bpe import ClipTokenizer
    from ._clipcap import ClipCapDecoder
    from ._clipcap_weights import prefix_gpt_from_clipcap
    from ._decap import DeCapDecoder
    from ._decap_weights import prefix_gpt_from_decap
    from ._generate import generate
    from ._gpt import PrefixGPT, PrefixGPTConfig
    from ._gpt2_bpe import Gpt2Tokenizer
    from ._language_model import Hypothesis, LanguageModel
    from ._loss import caption_loss
    from ._mapping import MapperConfig, MappingNetwork
    from ._prompt import hard_prompt
    from ._tell import tell
    from ._viecap import ViECapDecoder
    from ._viecap_weights import prefix_gpt_from_viecap
    from .grounded import GroundedDecoder

__all__ = [
    "Caption",
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
    "PrefixGPT",
    "PrefixGPTConfig",
    "QuoteDecoder",
    "ViECapDecoder",
    "Wishes",
    "caption_loss",
    "generate",
    "hard_prompt",
    "prefix_gpt_from_clipcap",
    "prefix_gpt_from_decap",
    "prefix_gpt_from_viecap",
    "tell",
]

_HOMES = {
    "ClipCapDecoder": "._clipcap",
    "ClipTokenizer": "._bpe",
    "DeCapDecoder": "._decap",
    "Gpt2Tokenizer": "._gpt2_bpe",
    "GroundedDecoder": ".grounded",
    "Hypothesis": "._language_model",
    "LanguageModel": "._language_model",
    "MapperConfig": "._mapping",
    "MappingNetwork": "._mapping",
    "PrefixGPT": "._gpt",
    "PrefixGPTConfig": "._gpt",
    "caption_loss": "._loss",
    "ViECapDecoder": "._viecap",
    "generate": "._generate",
    "hard_prompt": "._prompt",
    "prefix_gpt_from_clipcap": "._clipcap_weights",
    "prefix_gpt_from_decap": "._decap_weights",
    "prefix_gpt_from_viecap": "._viecap_weights",
    "tell": "._tell",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
