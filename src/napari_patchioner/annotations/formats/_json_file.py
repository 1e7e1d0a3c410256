"""JSON files: strict in reading, all or nothing in writing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations._fields import Fields
from napari_patchioner.annotations._table import write_text
from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Digits of a number that is still finite.
_LONGEST_NUMBER = 300
_DIGITS = re.compile(r"[0-9]{1,18}\Z")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    FormatError
        If it cannot be read, is not UTF-8, or is no JSON; the sentence names the place.
    """
    return parse_json(_read(path), path.name)


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line of a file with one JSON value per line."""
    # Not splitlines: a caption may hold other separators of lines, which JSON allows.
    for number, line in enumerate(_read(path).split(b"\n"), start=1):
        if line.strip():
            yield number, parse_json(line.strip(), f"{path.name}: line {number}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse_json(data: str | bytes, where: str) -> Any:
    """Return what a JSON text holds.

    Parameters
    ----------
    data : str or bytes
        The text; UTF-8, with or without a byte order mark.
    where : str
        The file, or the place in it, for messages.

    Raises
    ------
    FormatError
        If it is no JSON, is not UTF-8, or is nested too deeply.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        return json.loads(text, parse_int=_whole_number)
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: is not UTF-8 text; save it as UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FormatError(f"{where}: is broken JSON at {place} ({error.msg})") from error
    except RecursionError as error:
        raise FormatError(f"{where}: is JSON nested too deeply to be read") from error


def _whole_number(text: str) -> float:
    """Return a whole number; one that no computer counts to is infinite, as large fractions are."""
    return int(text) if len(text) < _LONGEST_NUMBER else float(text)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all; text stays readable in any language."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any) -> str:
    """Return a value as one line of JSON.

    >>> to_json({"caption": "ein Häuschen"})
    '{"caption": "ein Häuschen"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def as_texts(entries: Mapping[str, Any]) -> dict[str, str]:
    """Return free entries of a file as texts; what is no text stays JSON.

    >>> as_texts({"who": "me", "occluded": False, "depth": 2})
    {'who': 'me', 'occluded': 'false', 'depth': '2'}
    """
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in entries.items()
        if value is not None
    }


def whole_number(text: str) -> int | None:
    """Return the number that a text of digits is, or None.

    >>> whole_number("0071"), whole_number("7.5"), whole_number("²")
    (71, None, None)
    """
    return int(text) if _DIGITS.match(text) else None


def fields_of(value: object, where: str) -> Fields:
    """Return the fields of a JSON object, where null is the same as nothing."""
    if isinstance(value, dict):
        value = {name: one for name, one in value.items() if one is not None}
    return Fields(value, where)


def identifier(fields: Fields, name: str, default: object = None) -> Any:
    """Return a number or a text by which records name each other; an error where it is neither."""
    value = fields.take(name, object) if default is None else fields.take(name, object, default)
    if not isinstance(value, str | int | float):
        raise fields.error(f"{name!r} must be a number or a text")
    return value
