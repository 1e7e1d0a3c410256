"""Teach by example: regions with names in, names for regions that are alike out."""

from __future__ import annotations

from .classifier import Classifier, Confusion, Naming
from .describe import Descriptions, ImageMeasures, background, describe
from .files import is_lexicon, read_lexicon, write_lexicon
from .find import HEAT_CELLS, LONGEST, Finder, Proposal, Sample, overlap, peaks
from .lexicon import Example, Lexicon, Origin, TaughtImage, checked_name

__all__ = [
    "HEAT_CELLS",
    "LONGEST",
    "Classifier",
    "Confusion",
    "Descriptions",
    "Example",
    "Finder",
    "ImageMeasures",
    "Lexicon",
    "Naming",
    "Origin",
    "Proposal",
    "Sample",
    "TaughtImage",
    "background",
    "checked_name",
    "describe",
    "is_lexicon",
    "overlap",
    "peaks",
    "read_lexicon",
    "write_lexicon",
]
