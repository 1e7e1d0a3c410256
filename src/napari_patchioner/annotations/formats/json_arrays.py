"""JSON files: strict in reading, all or nothing in writing."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any

from napari_patchioner import limits
from napari_patchioner.annotations import files
from napari_patchioner.annotations.fields import Fields
from napari_patchioner.annotations.metadata import Base, remember_file
from napari_patchioner.annotations.notes import note
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import BudgetError, charge_file, charge_json, check_plain_file

_parsed: ContextVar[dict[Path, Any] | None] = ContextVar("parsed", default=None)

# Digits of a number that is still finite.
_LONGEST_NUMBER = 300
_INDENTED = re.compile(r"\s*[\[{][ \t]*\r?\n([ \t]{1,16})[^\s\]}]")
_COLON = re.compile(r'[\s\[{]*"(?:[^"\\]|\\.){0,256}"(\s{0,2}:[ \t]{0,2})')
_COMMENTS = re.compile(r"(?:[ \t]*(?:(?:#|//)[^\n]*)?\r?\n)*")
# Bytes at either end of a file in which its layout shows; whole characters in any encoding.
_LAYOUT = 4096
# Lines of a file of lines that may be broken before the first that is not.
_BROKEN_LINES = 1000
_DIGITS = re.compile(r"[0-9]{1,18}\Z")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; see `parsed_before`."""
    known = _parsed.get() or {}
    return known.pop(path) if path in known else parse_json(limits.read_file(path), path.name)


@contextmanager
def parsed_before(values: dict[Path, Any]) -> Iterator[None]:
    """Let `read_json` within return these values of files, once each, instead of parsing them."""
    token = _parsed.set(values)
    try:
        yield
    finally:
        _parsed.reset(token)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and text, for `parse_json`, of each line of a file of one JSON value a line."""
    for number, line in enumerate(_lines(path), start=1):
        if not is_blank(line):
            yield number, line.removeprefix(BOM_UTF8).strip()


def is_blank(line: bytes) -> bool:
    r"""Whether a line of a file of lines is none of JSON's: it is blank, or a comment.

    >>> is_blank(b"# made by hand\n"), is_blank(b"\n"), is_blank(b'{"a": 1}')
    (True, True, False)
    """
    bare = line.removeprefix(BOM_UTF8).lstrip()
    return not bare or bare.startswith((b"#", b"//"))


def first_json(path: Path) -> tuple[Any, bool]:
    """Return what a JSON file holds and False, or its first line and True if it is one of lines."""
    lines = _lines(path)
    blank: list[bytes] = []
    first = b""
    for line in lines:
        if not is_blank(line):
            first = line
            break
        blank.append(line)
    value, error = parsed(first, path.name)
    if error is None:
        return value, not all(map(is_blank, lines))
    rest = list(lines)
    value, error = parsed(b"".join([*blank, first, *rest]), path.name)
    if error is None:
        return value, False
    # The first of the next lines that is a JSON object by itself, if any is.
    starts = (line for line in rest[:_BROKEN_LINES] if line.lstrip().startswith(b"{"))
    whole = next((value for line in starts if (value := parsed(line, "")[0]) is not None), None)
    if not isinstance(whole, dict) or first.removeprefix(BOM_UTF8).lstrip().startswith(b"["):
        raise error
    return whole, True


def parsed(data: str | bytes, where: str) -> tuple[Any, FormatError | None]:
    """Return what a JSON text holds, or why it is none."""
    try:
        return parse_json(data, where), None
    except BudgetError:
        raise
    except FormatError as error:
        return None, error


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file in UTF-8, one in memory at a time."""
    # Not splitlines: a caption may hold other separators of lines, which JSON allows.
    try:
        charge_file(check_plain_file(path))
        with path.open("rb") as file:
            if files.encoding_of(file.peek(4)[:4])[0] != "utf-8":
                text = files.decode_text(file.read(), path.name)
                yield from text.encode("utf-8", "surrogatepass").splitlines(keepends=True)
                return
            yield from file
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse_json(data: str | bytes, where: str = "") -> Any:
    """Return what a JSON text holds; bytes are in UTF-8, or as `decode_text` reads them."""
    text = data if isinstance(data, str) else files.decode_text(data, where)
    if start := comments_before(text):
        # As many lines as before, so that errors name the right one.
        text = "\n" * text.count("\n", 0, start) + text[start:]
    charge_json(text)

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            twice.append(next(name for name, n in Counter(n for n, _ in pairs).items() if n > 1))
        return value

    def whole_or_infinite(text: str) -> float:
        return int(text) if len(text) < _LONGEST_NUMBER else float(text)

    twice: list[str] = []
    try:
        value = json.loads(text, parse_int=whole_or_infinite, object_pairs_hook=fields)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FormatError(f"{where}: is broken JSON at {place} ({error.msg})") from error
    except RecursionError as error:
        raise FormatError(f"{where}: is JSON nested too deeply to be read") from error
    for name in twice:
        note("name twice", f"{where}: names {name!r} twice in one object; the last one counts")
    return value


def json_as_read(value: Any, before: bytes = b"") -> bytes:
    """Return a value as JSON, which may hold what only some programs read: NaN.

    Lines, indents, ends of lines, the encoding with its byte order mark, escapes, and comments
    that stand first, are as in the file ``before``; without one, all is in one line.
    """
    encoding, mark = files.encoding_of(before)
    start = before[mark : mark + _LAYOUT].decode(encoding, "ignore")
    first = comments_before(start)
    indented, spaces = (pattern.match(start, first) for pattern in (_INDENTED, _COLON))
    colon = spaces[1] if spaces else ": "
    text = json.dumps(
        value,
        ensure_ascii=before.isascii() and b"\\u" in before,
        indent=indented[1] if indented else None,
        separators=("," if indented or colon == ":" else ", ", colon),
    )
    tail = before[-_LAYOUT:].decode(encoding, "ignore")
    end = tail[len(tail.rstrip()) :] if before else "\n"
    text = text.replace("\n", "\r\n") if "\r\n" in start[first:] else text
    text = f"{start[:first]}{text}{end}"
    if encoding == "utf-8":
        return before[:mark] + files.encode_text(text)
    return before[:mark] + text.encode(encoding, "surrogatepass")


def comments_before(text: str) -> int:
    r"""Return where a text begins after the blank lines and lines of comments that stand first.

    >>> comments_before("# made by hand\n\n{}"), comments_before(" {}"), comments_before("")
    (16, 0, 0)
    """
    match = _COMMENTS.match(text)
    return match.end() if match and match[0].strip() else 0


def write_json(
    path: Path,
    base: Base[Any] | None,
    new: Callable[[], Any],
    again: Callable[[Base[Any]], tuple[Any, Mapping[str, str]]],
) -> None:
    """Write a new file, or a base as ``again`` returns it, with where its entries went."""
    if base is None:
        files.write_text(path, to_json(new()) + "\n")
        return
    value, places = again(base)
    data = json_as_read(value, base.data)
    files.write_bytes(path, data)
    remember_file(data, base.file, places)


def list_in(value: Any, name: str) -> list[Any]:
    """Return the list in a field; an empty one in the place of anything else."""
    items = value.get(name) if isinstance(value, dict) else None
    return items if isinstance(items, list) else []


def dicts_in(value: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects of the list in a field."""
    return [item for item in list_in(value, name) if isinstance(item, dict)]


def dict_in(value: Any, name: str) -> dict[str, Any]:
    """Return the object in a field; an empty one in the place of anything else."""
    fields = value.get(name) if isinstance(value, dict) else None
    return fields if isinstance(fields, dict) else {}


def to_json(value: Any) -> str:
    """Return a value as one line of JSON.

    >>> to_json({"caption": "ein Häuschen"})
    '{"caption": "ein Häuschen"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def as_texts(entries: Any) -> dict[str, str]:
    """Return free entries of a file as texts; what is no text stays JSON. None of no object.

    >>> as_texts({"who": "me", "occluded": False, "depth": 2})
    {'who': 'me', 'occluded': 'false', 'depth': '2'}
    """
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in (entries.items() if isinstance(entries, dict) else ())
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
        value = {name: item for name, item in value.items() if item is not None}
    return Fields(value, where)


def key_of(value: object) -> str:
    """Return the text by which records name each other, whether numbers or texts do so in a file.

    >>> key_of("7"), key_of(7), key_of(7.0)
    ('7', '7', '7')
    """
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def next_ids(known: Collection[object]) -> Iterator[int]:
    """Yield numbers beyond all that are known, from 1 where there are none."""
    numbers = [item for item in known if isinstance(item, int) and not isinstance(item, bool)]
    texts = [number for item in known if isinstance(item, str) and (number := whole_number(item))]
    return count(max([0, *numbers, *texts]) + 1)


def identifier(fields: Fields, name: str, *default: object) -> Any:
    """Return a number or a text by which records name each other; an error where it is neither."""
    value = fields.take(name, object, *default)
    if not isinstance(value, str | int | float):
        raise fields.error(f"{name!r} must be a number or a text")
    return value
