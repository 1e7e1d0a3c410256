"""What an image says to phrases and sentences, and what is alike around a click."""

from __future__ import annotations

from .apart import DistinctCaption, alike, distinct_captions
from .compare import (
    Comparison,
    ConceptRow,
    SliceComparison,
    Stretch,
    compare_regions,
    compare_slices,
)
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
from .scorer import PhraseScorer
from .sharp import sharp_mask, sharpen_box
from .words import GroundedWord, WordGrounder

__all__ = [
    "Change",
    "Comparison",
    "ConceptRow",
    "DistinctCaption",
    "GroundedWord",
    "NounPhrase",
    "PhraseScorer",
    "Realigned",
    "Realigner",
    "RegionProposal",
    "SliceComparison",
    "Stretch",
    "WordGrounder",
    "alike",
    "compare_regions",
    "compare_slices",
    "distinct_captions",
    "grow_outline",
    "grow_region",
    "propose_outlines",
    "propose_regions",
    "read_phrase",
    "region_outline",
    "sharp_mask",
    "sharpen_box",
    "split_negative",
]
