"""Reading the records of a published file; whatever is wrong is said with the record's name."""

from __future__ import annotations

import math
import os
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NoReturn

from napari_patchioner.annotations.formats._json_file import parse_json
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file
from napari_patchioner.regions import Box

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HALF = 0.5


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FormatError
        The file is missing or no JSON; the line is named.
    """
    if os.path.exists(path):
        check_plain_file(path)
    try:
        if path.exists():
            check_plain_file(path)
        data = path.read_bytes()
    except FileNotFoundError:
        raise FormatError(f"{path}: there is no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    return parse_json(data, path.name)


class Record:
    """One record of a file, read field by field.

    Parameters
    ----------
    file : str
        Name of the file.
    name : str
        Which record, such as ``"image 391895"``.
    values : object
        What the file holds there; must be a mapping.
    """

    def __init__(self, file: str, name: str, values: object) -> None:
        self.file, self.name = file, name
        if not isinstance(values, dict):
            self.fail("must be an object with named fields")
        self.values: Mapping[str, Any] = values

    def fail(self, problem: str) -> NoReturn:
        """Raise a `FormatError` about this record."""
        raise FormatError(f"{self.file}: {self.name}: {problem}")

    def text(self, *keys: str) -> str:
        """Return the text under the first of the keys that is there."""
        value = self._first(keys)
        if not isinstance(value, str):
            self.fail(f"{keys[0]!r} must be a text")
        return value

    def identity(self, *keys: str) -> str:
        """Return the whole number or text under the first of the keys that is there, as text."""
        value = self._first(keys)
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            self.fail(f"{keys[0]!r} must be a number or a name")
        return str(value)

    def number(self, key: str) -> float:
        """Return a finite number."""
        return number(self._first((key,)), self, key)

    def records(self, key: str) -> list[Any]:
        """Return the list that must be there."""
        value = self._first((key,))
        if not isinstance(value, list):
            self.fail(f"{key!r} must be a list")
        return value

    def _first(self, keys: tuple[str, ...]) -> Any:
        for key in keys:
            if key in self.values:
                return self.values[key]
        self.fail(f"has no {' or '.join(map(repr, keys))}")


def number(value: Any, record: Record, what: str) -> float:
    """Return a finite number of a record.

    Raises
    ------
    FormatError
        It is no number, infinite, or not a number at all.
    """
    try:
        if not isinstance(value, bool | str) and math.isfinite(value):
            return float(value)
    except (TypeError, OverflowError):
        pass
    record.fail(f"{what!r} must be a finite number, not {shorten(repr(value), 40)}")


def box_of(corners: Any, record: Record) -> Box:
    """Box from ``[x1, y1, x2, y2]``, pixel corners at integers.

    A side without length is one pixel long, as the paper's evaluation has it.

    Raises
    ------
    FormatError
        There are not four finite numbers, or they stand the wrong way round.
    """
    if not isinstance(corners, list) or len(corners) != 4:
        record.fail(f"a box must be [x1, y1, x2, y2], not {shorten(repr(corners), 60)}")
    left, top, right, bottom = (number(value, record, "box") for value in corners)
    right += left == right
    bottom += top == bottom
    if right < left or bottom < top:
        record.fail(f"the box {corners!r} ends before it begins; give [x1, y1, x2, y2]")
    return Box(top - _HALF, left - _HALF, bottom - _HALF, right - _HALF)
