"""What sub-commands share: where output goes, progress, tables, numbers, folders to write into."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from napari_patchioner.errors import FormatError, ModelError, PatchionerError, os_errors

_CELLS = 24
# Where nobody watches, as in a log, a line so many seconds apart.
_SELDOM_S = 10.0
_LEAST, _MOST, _LONGEST = 1e-6, 1e6, 40


def say(text: str) -> None:
    """Print a sentence to a person, on standard error."""
    print(text, file=sys.stderr, flush=True)


def print_exactly(data: bytes) -> None:
    """Print UTF-8 as it is, whatever the console's encoding and line ends."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode())
    else:
        sys.stdout.flush()
        buffer.write(data)
    sys.stdout.flush()


def agreed(alone: str) -> bool:
    """Ask a person whether to go on; the question goes where the progress goes.

    A ModelError that says ``alone`` where nobody is there to answer.
    """
    try:
        answers = sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # standard input is closed
        answers = False
    if not answers:
        raise ModelError(alone)
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):  # closed meanwhile, or bytes that are no text
        answer = ""
    if not answer.endswith("\n"):
        print(file=sys.stderr, flush=True)
    return answer.strip().lower() in ("y", "yes")


class Bar:
    """A `Progress` that draws over its own line of a terminal until it is left."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._watched = self._out.isatty()
        self._printed = float("-inf")
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
        elif time.monotonic() - self._printed >= _SELDOM_S:
            self._printed = time.monotonic()
            print(f"{fraction:4.0%}  {message}", file=self._out, flush=True)

    def say(self, text: str) -> None:
        """Print a sentence; the bar goes on below it."""
        if self._width:
            print("\r" + " " * self._width, end="\r", file=self._out)
        self._width = 0
        print(text, file=self._out, flush=True)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with aligned columns and a rule under the header.

    >>> print(text_table(["no", "caption"], [["1", "a cat"], ["12", "a dog"]]))
    no  caption
    --  -------
    1   a cat
    12  a dog
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def _width(text: str) -> int:
    """Return how many columns a text takes in a terminal."""
    return len(text) + sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add which images a command is about, and the model that encodes them."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, zarr images, folders, or patterns in quotes such as 'scans/**/*.png'",
    )
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="search folders within folders as well"
    )
    parser.add_argument("--model", default="mini", help="id of the model (mini)")


def split_names(text: str | None) -> list[str]:
    """Return the names in a list with commas, none if there is no list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


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


def specificity(text: str) -> float:
    """Read a specificity, 0 to 5."""
    from napari_patchioner.decoders.options import MOST_SPECIFIC

    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_SPECIFIC:
        raise argparse.ArgumentTypeError(
            f"must be a number from 0 to {MOST_SPECIFIC:g}, not {_shown(text)}"
        )
    return number


def share_of_one(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {_shown(text)}")
    return number


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


def length(text: str) -> str:
    """Read a length with its unit, as text."""
    # It loads what the quick commands have no use for.
    from napari_patchioner.decoders.options import as_length

    try:
        as_length(text)
    except PatchionerError as error:
        raise argparse.ArgumentTypeError(str(error).removesuffix(".")) from error
    return text


def _shown(text: str) -> str:
    """Return what a person typed, short."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def make_folder(folder: Path) -> None:
    """Make a folder, or say in one sentence why not."""
    with os_errors(folder, "made"):
        folder.mkdir(parents=True, exist_ok=True)


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file can be made."""
    if not folder.is_dir():
        raise FormatError(f"{folder}: there is no such folder to write into")
    with os_errors(folder, "written"), tempfile.TemporaryFile(dir=folder):
        pass
