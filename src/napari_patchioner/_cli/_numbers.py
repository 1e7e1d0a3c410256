"""Numbers on the command line."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST, _MOST, _LONGEST = 1e-6, 1e6, 40


def positive(text: str) -> int:
    """Read a whole number above 0, as large as a count of images may be."""
    return up_to(10**9)(text)


def up_to(most: int) -> Callable[[str], int]:
    """Return what reads a whole number from 1 to ``most``."""

    def read(text: str) -> int:
        # Not more digits than that needs: Python itself refuses thousands of them.
        digits = text.isascii() and text.isdecimal() and len(text) <= 12
        if not digits or not 1 <= int(text) <= most:
            kind = "above 0" if most >= 10**9 else f"from 1 to {most}"
            raise argparse.ArgumentTypeError(f"must be a whole number {kind}, not {_shown(text)}")
        return int(text)

    return read


def above_zero(text: str) -> float:
    """Read a number above 0, none so small or large that it cannot be computed with."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not _LEAST <= number <= _MOST:
        raise argparse.ArgumentTypeError(
            f"must be a number above 0, from {_LEAST:g} to {_MOST:g}, not {_shown(text)}"
        )
    return number


def _shown(text: str) -> str:
    """Return what a person wrote, short."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
