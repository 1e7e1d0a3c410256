"""JSON files: strict in reading, all or nothing in writing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import FormatError

from ._fields import Fields
from ._table import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    FormatError
        If it cannot be read, is not UTF-8, or is no JSON; the sentence names the place.
    """
    return _parsed(_text(path), path.name)


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line of a file with one JSON value per line."""
    # Not splitlines: a caption may hold other separators of lines, which JSON allows.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield number, _parsed(line, f"{path.name}: line {number}")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name}: is not UTF-8 text; save it as UTF-8") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FormatError(f"{where}: is broken JSON at {place} ({error.msg})") from error
    except RecursionError as error:
        raise FormatError(f"{where}: is JSON nested too deeply to be annotations") from error


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
