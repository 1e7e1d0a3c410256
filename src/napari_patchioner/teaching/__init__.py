"""Teach by example: regions with names in, names for regions that are alike out."""

from __future__ import annotations

from .classifier import Classifier, Confusion, Naming
from .describe import Descriptions, ImageMeasures, background, check_example, describe
from .files import is_lexicon, read_lexicon, write_lexicon
from .find import HEAT_CELLS, LONGEST, Finder, Proposal, Sample, overlap, peaks
from .lexicon import Example, Lexicon, Origin, TaughtImage, checked_name, places_of
from .search import Found, Part, box_in, mean_size, parts_of, samples_of, search_image

__all__ = [
    "HEAT_CELLS",
    "LONGEST",
    "Classifier",
    "Confusion",
    "Descriptions",
    "Example",
    "Finder",
    "Found",
    "ImageMeasures",
    "Lexicon",
    "Naming",
    "Origin",
    "Part",
    "Proposal",
    "Sample",
    "TaughtImage",
    "background",
    "box_in",
    "check_example",
    "checked_name",
    "describe",
    "is_lexicon",
    "mean_size",
    "overlap",
    "parts_of",
    "peaks",
    "places_of",
    "read_lexicon",
    "samples_of",
    "search_image",
    "write_lexicon",
]
