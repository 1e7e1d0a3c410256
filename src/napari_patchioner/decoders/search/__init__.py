"""The one loop that generates text, whatever the decoder, and constraints on what it generates."""

from .beam import Hypothesis, LanguageModel, SearchOptions, caption_of, generate
from .constraints import TokenText, caption_rows, constrained_search

__all__ = [
    "Hypothesis",
    "LanguageModel",
    "SearchOptions",
    "TokenText",
    "caption_of",
    "caption_rows",
    "constrained_search",
    "generate",
]
