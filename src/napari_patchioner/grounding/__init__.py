"""What an image says to phrases and sentences, and what is alike around a click."""

from __future__ import annotations

from .alternatives import Alternatives, alternatives
from .apart import DistinctCaption, alike, distinct_captions, perhaps_alike
from .compare import (
    Comparison,
    ConceptRow,
    SliceComparison,
    Stretch,
    compare_regions,
    compare_slices,
)
from .context import captions_in_context, context_parts
from .outline import region_outline
from .phrase import NounPhrase, read_phrase, split_negative
from .realign import Change, Realigned, Realigner
from .regions import (
    RegionProposal,
    grow_outline,
    grow_region,
    propose_outlines,
    propose_regions,
)
from .scorer import PhraseScorer, nothing_wanted
from .search import PhraseFound, find_in_levels
from .sharp import sharp_mask, sharpen_box
from .words import GroundedWord, WordGrounder

__all__ = [
    "Alternatives",
    "Change",
    "Comparison",
    "ConceptRow",
    "DistinctCaption",
    "GroundedWord",
    "NounPhrase",
    "PhraseFound",
    "PhraseScorer",
    "Realigned",
    "Realigner",
    "RegionProposal",
    "SliceComparison",
    "Stretch",
    "WordGrounder",
    "alike",
    "alternatives",
    "captions_in_context",
    "compare_regions",
    "compare_slices",
    "context_parts",
    "distinct_captions",
    "find_in_levels",
    "grow_outline",
    "grow_region",
    "nothing_wanted",
    "perhaps_alike",
    "propose_outlines",
    "propose_regions",
    "read_phrase",
    "region_outline",
    "sharp_mask",
    "sharpen_box",
    "split_negative",
]
