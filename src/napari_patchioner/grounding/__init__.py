"""Find by text: where an image shows what a phrase says."""

from __future__ import annotations

from .phrase import NounPhrase, read_phrase, split_negative
from .scorer import PhraseScorer

__all__ = ["NounPhrase", "PhraseScorer", "read_phrase", "split_negative"]
