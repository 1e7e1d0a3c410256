"""Texts that a person has: read from files of any length, cleaned, each once."""

from __future__ import annotations

from .clean import LONGEST, Dropped, Example, TextReport, cleaned, unfit, unique_texts
from .files import Line, TextFile, TextList, TextSource

__all__ = [
    "LONGEST",
    "Dropped",
    "Example",
    "Line",
    "TextFile",
    "TextList",
    "TextReport",
    "TextSource",
    "cleaned",
    "unfit",
    "unique_texts",
]
