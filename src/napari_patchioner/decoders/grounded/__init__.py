"""The embedded model's decoder: a small language model that names only what was recognised."""

from .decoder import GroundedDecoder
from .grammar import GroundedGrammar
from .relations import Grounds, Relations, Selection
from .scenes import Description
from .vocabulary import Concept, Words, load_concepts

__all__ = [
    "Concept",
    "Description",
    "GroundedDecoder",
    "GroundedGrammar",
    "Grounds",
    "Relations",
    "Selection",
    "Words",
    "load_concepts",
]
