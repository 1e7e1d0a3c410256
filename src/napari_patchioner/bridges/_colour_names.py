"""Plain names for colours: eleven basic terms with soft borders in Oklab."""

from __future__ import annotations

COLOURS: tuple[str, ...] = (
    "black",
    "white",
    "gray",
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
)
"""The basic colour terms, in the order of the ``share_*`` axes."""
