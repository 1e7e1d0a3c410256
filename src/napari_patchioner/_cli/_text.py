"""Tables in plain text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with aligned columns and a rule under the header.

    >>> print(text_table(["no", "caption"], [["1", "a cat"], ["12", "a dog"]]))
    no  caption
    --  -------
    1   a cat
    12  a dog
    """
    lines = [header, *rows]
    columns = range(len(header))
    widths = [max(_width(line[column]) for line in lines) for column in columns]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(line, widths) for line in [header, rule, *rows])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one aligned line."""
    padded = [
        cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many columns a text takes in a terminal."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide
