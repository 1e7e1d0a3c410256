"""How far a piece of work is: the one kind of callback that all of them report to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[float, str], None]
"""Called with the fraction that is done, 0 to 1, and a message; may raise ``Cancelled``."""


def no_progress(_fraction: float, _message: str) -> None:
    """Nobody wants to know."""


def part(progress: Progress, start: float, stop: float, message: str | None = None) -> Progress:
    """Return a progress of one part of the work, which begins at ``start`` and ends at ``stop``.

    Its own message stands in for every message of the part, if there is one.

    >>> part(lambda fraction, message: print(fraction, message), 0.5, 1.0)(0.5, "half of the rest")
    0.75 half of the rest
    """

    def scaled(fraction: float, inner: str) -> None:
        progress(start + (stop - start) * fraction, inner if message is None else message)

    return scaled
