"""The beginning of a file, from which its format is told."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations._cells import unguard_cell
from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    import os

_LENGTH = 65536
_OPEN, _CLOSE = "{[", "}]"


@dataclass(frozen=True)
class Head:
    """The beginning of a file.

    Attributes
    ----------
    path : Path
        The file, or a folder.
    start : bytes
        Its first 64 KiB; nothing of a folder.
    suffix : str
        All its endings in lower case, such as ``".ome.xml"``; the last alone where the others
        are no endings.
    """

    path: Path
    start: bytes
    suffix: str

    @cached_property
    def text(self) -> str:
        """The beginning as text, without a byte order mark."""
        return self.start.decode("utf-8", "ignore").removeprefix("\ufeff")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The cells of the first row, if it is a table."""
        try:
            row = next((row for row in csv.reader(self.text.splitlines()) if any(row)), [])
        except csv.Error:
            return ()
        return tuple(unguard_cell(cell.strip()) for cell in row)

    @cached_property
    def keys(self) -> dict[str, str]:
        """The names in the first JSON object, each with the beginning of its value.

        The object may be the first item of a list, or the first line of a file of lines; where
        it is longer than the beginning of the file, those that are within.

        """
        text = self.text.lstrip()
        if self.is_list:
            text = text[1:].lstrip()
        return _top_keys(text) if text.startswith("{") else {}

    @property
    def is_list(self) -> bool:
        """Whether the file begins a JSON list."""
        return self.text.lstrip().startswith("[")


def head_of(path: str | os.PathLike[str]) -> Head:
    """Return the beginning of a file.

    Raises
    ------
    FormatError
        If it cannot be read.
    """
    path = Path(path)
    name = path.name.lower()
    last = path.suffix.lower()
    before = Path(name.removesuffix(last)).suffix
    suffix = f"{before}{last}" if before == ".ome" else last
    try:
        if path.is_dir():
            return Head(path, b"", "")
        with path.open("rb") as file:
            return Head(path, file.read(_LENGTH), suffix)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error


def _top_keys(text: str) -> dict[str, str]:
    """Return the names of an object's fields, with the text up to the next, as far as it goes."""
    found: dict[str, str] = {}
    name, begin, depth, place = "", 0, 0, 0
    while place < len(text):
        sign = text[place]
        if sign == '"':
            end = _string_end(text, place)
            after = text[end:].lstrip()[:1] if depth == 1 else ""
            if after == ":":
                found |= {name: text[begin:place]} if name else {}
                name, begin = _string(text[place:end]), end
            place = end
            continue
        depth += (sign in _OPEN) - (sign in _CLOSE)
        place += 1
        if depth == 0:
            break
    return {**found, name: text[begin:place]} if name else found


def _string_end(text: str, place: int) -> int:
    """Return where the string that begins here ends."""
    place += 1
    while place < len(text) and text[place] != '"':
        place += 2 if text[place] == "\\" else 1
    return place + 1


def _string(quoted: str) -> str:
    try:
        value: Any = json.loads(quoted)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""
