"""What an image says to phrases and sentences, and what is alike around a click."""

from __future__ import annotations

from .phrase import NounPhrase, read_phrase, split_negative
from .regions import RegionProposal, grow_region, propose_regions
from .scorer import PhraseScorer
from .words import GroundedWord, WordGrounder

__all__ = [
    "GroundedWord",
    "NounPhrase",
    "PhraseScorer",
    "RegionProposal",
    "WordGrounder",
    "grow_region",
    "propose_regions",
    "read_phrase",
    "split_negative",
]
