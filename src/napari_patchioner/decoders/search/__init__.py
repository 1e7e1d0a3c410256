"""The one loop that generates text, whatever the decoder, and constraints on what it generates."""

from .automaton import Spelling
from .beam import (
    Hypothesis,
    LanguageModel,
    SearchOptions,
    caption_of,
    generate,
    guided,
    rate,
)
from .constraints import TokenText, caption_rows, constrained_search, missing_words

__all__ = [
    "Hypothesis",
    "LanguageModel",
    "SearchOptions",
    "Spelling",
    "TokenText",
    "caption_of",
    "caption_rows",
    "constrained_search",
    "generate",
    "guided",
    "missing_words",
    "rate",
]
