"""Where an image shows what a phrase says, and what is alike around a click."""

from __future__ import annotations

from .phrase import NounPhrase, read_phrase, split_negative
from .regions import RegionProposal, grow_region, propose_regions
from .scorer import PhraseScorer

__all__ = [
    "NounPhrase",
    "PhraseScorer",
    "RegionProposal",
    "grow_region",
    "propose_regions",
    "read_phrase",
    "split_negative",
]
