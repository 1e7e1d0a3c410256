"""From a vector to a sentence.

What needs torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._caption import Caption, Evidence
from ._decoder import Decoder
from ._quote import QuoteDecoder

if TYPE_CHECKING:
    from ._bpe import ClipTokenizer
    from ._decap import DeCapDecoder
    from ._decap_weights import prefix_gpt_from_decap
    from ._generate import generate
    from ._gpt import PrefixGPT, PrefixGPTConfig
    from ._language_model import Hypothesis, LanguageModel
    from ._loss import caption_loss
    from ._tell import tell
    from .grounded import GroundedDecoder

__all__ = [
    "Caption",
    "ClipTokenizer",
    "DeCapDecoder",
    "Decoder",
    "Evidence",
    "GroundedDecoder",
    "Hypothesis",
    "LanguageModel",
    "PrefixGPT",
    "PrefixGPTConfig",
    "QuoteDecoder",
    "caption_loss",
    "generate",
    "prefix_gpt_from_decap",
    "tell",
]

_HOMES = {
    "ClipTokenizer": "._bpe",
    "DeCapDecoder": "._decap",
    "GroundedDecoder": ".grounded",
    "Hypothesis": "._language_model",
    "LanguageModel": "._language_model",
    "PrefixGPT": "._gpt",
    "PrefixGPTConfig": "._gpt",
    "caption_loss": "._loss",
    "generate": "._generate",
    "prefix_gpt_from_decap": "._decap_weights",
    "tell": "._tell",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
