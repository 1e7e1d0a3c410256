"""How far a long piece of work is, on one line of a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

_CELLS = 24
# Where nobody watches, as in a log, a line so many seconds apart.
_SELDOM_S = 10.0


class Bar:
    """Called with a fraction and a message; draws over its own line until it is left.

    Parameters
    ----------
    out : text file, optional
        Standard error by default.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._watched = self._out.isatty()
        self._told = float("-inf")
        self._width = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            print(file=self._out, flush=True)

    def __call__(self, fraction: float, message: str) -> None:
        """Show how far it is."""
        if self._watched:
            done = round(fraction * _CELLS)
            line = f"[{'#' * done}{'.' * (_CELLS - done)}] {fraction:4.0%}  {message}"
            print("\r" + line.ljust(self._width), end="", file=self._out, flush=True)
            self._width = len(line)
        elif time.monotonic() - self._told >= _SELDOM_S:
            self._told = time.monotonic()
            print(f"{fraction:4.0%}  {message}", file=self._out, flush=True)

    def tell(self, text: str) -> None:
        """Print a sentence; the bar goes on below it."""
        if self._width:
            print("\r" + " " * self._width, end="\r", file=self._out)
        self._width = 0
        print(text, file=self._out, flush=True)
