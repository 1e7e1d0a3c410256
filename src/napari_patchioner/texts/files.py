"""Where texts come from: plain lines, a column of a table, a field of JSON, a list at hand."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

from napari_patchioner.errors import FormatError, os_errors, reason
from napari_patchioner.limits import check_plain_file
from napari_patchioner.progress import Progress, no_progress

from .json_stream import JsonStream

NOT_UTF8, NOT_JSON, NO_FIELD, TOO_LONG = "not UTF-8", "not JSON", "no such field", "too long"
# Characters of a line of plain text that are read; what is longer is no caption. Objects hold more.
_LONGEST_LINE, _LONGEST_OBJECT = 10_000, 1_000_000
_TABLES = (".csv", ".tsv", ".tab")
_OBJECTS = (".jsonl", ".ndjson")
# What files call the text of a row, best first; the case does not matter.
_USUAL = (
    *("caption", "captions", "text", "texts", "sentence", "sentences", "description", "raw"),
    *("name", "label", "title", "class", "category"),
)
# Arrays of a JSON object that hold captions.
_ARRAYS = ("annotations", "captions", "sentences", "texts", "data", "images")
# Rows that are asked which column holds the longest texts.
_SAMPLE = 100
_HEAD = 2**16
_BOMS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_EVERY = 5000


class Line(NamedTuple):
    """A text as its source has it, and its line there, from 1.

    ``problem`` says why there is no usable text; empty where there is.
    """

    number: int
    text: str
    problem: str = ""


class TextSource(Protocol):
    """Where texts come from; `lines` gives the same ones whenever it is called."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    def digest(self) -> str:
        """Return a SHA-256 of all that it holds."""

    def lines(self, progress: Progress = no_progress) -> Iterator[Line]:
        """Yield its texts; a FormatError where it cannot be read."""


@dataclass(frozen=True, slots=True)
class TextList:
    """Texts at hand, such as what was pasted."""

    name: str
    texts: tuple[str, ...]

    @classmethod
    def pasted(cls, text: str, name: str = "pasted text") -> TextList:
        """Return the lines of a text."""
        return cls(name, tuple(text.splitlines()))

    def digest(self) -> str:
        """Return a SHA-256 of the texts."""
        return hashlib.sha256("\n".join(self.texts).encode("utf-8", "replace")).hexdigest()

    def lines(self, progress: Progress = no_progress) -> Iterator[Line]:
        """Yield the texts."""
        for number, text in enumerate(self.texts, start=1):
            if not number % _EVERY:
                progress(number / len(self.texts), f"{number:,} lines read")
            yield Line(number, text)


@dataclass(frozen=True, slots=True)
class TextFile:
    r"""A file of texts, read line by line whatever its length.

    The ending says what it is: ``.csv``, ``.tsv`` (a column), ``.jsonl`` (a field of each line's
    object, or a text), ``.json`` (a list, or an object with lists such as the ``annotations`` of
    COCO captions); all else is plain text with a caption on each line. Each may be compressed
    (``.gz``). It is read as UTF-8, or as UTF-16 or UTF-32 where a byte order mark says so.

    Parameters
    ----------
    path : Path
        Where it lies.
    column : str, optional
        The column or field that holds the texts, whatever the case of its letters; by default one
        of a usual name such as ``caption``, else that with the longest texts.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "cells.csv")
    >>> _ = path.write_text('id,caption\n1,"a cell, dividing"\n')
    >>> list(TextFile(path).lines())
    [Line(number=2, text='a cell, dividing', problem='')]
    """

    path: Path
    column: str | None = None

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.path.name

    @property
    def ending(self) -> str:
        """The ending that says what it holds."""
        stem = self.path.with_suffix("") if self.path.suffix.lower() == ".gz" else self.path
        return stem.suffix.lower()

    @property
    def is_table(self) -> bool:
        """Whether it holds rows with columns."""
        return self.ending in _TABLES

    def digest(self) -> str:
        """Return the SHA-256 of its bytes."""
        check_plain_file(self.path)
        with os_errors(self.path), self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def columns(self) -> tuple[tuple[str, ...], str]:
        """Return the columns or fields there are to choose from, and the one taken by default.

        None where each line is a text.
        """
        if self.is_table:
            with self._opened(newline="") as (stream, raw):
                header, rows = self._table(stream, no_progress, raw, 1)
                place = self._default(header, [row for _, row in islice(rows, _SAMPLE)])
                return (tuple(header), header[place]) if place is not None else ((), "")
        if self.ending in _OBJECTS or self.ending == ".json":
            known: tuple[str, ...] = ()
            for item in islice(self._items(), _SAMPLE):
                if isinstance(item, dict):
                    names = tuple(str(name) for name in item)
                    if usual := _usual(names):
                        return names, usual
                    known = known or names
            return known, ""
        return (), ""

    def lines(self, progress: Progress = no_progress) -> Iterator[Line]:
        """Yield its texts; a FormatError in one sentence where it cannot be read."""
        read = self._rows if self.is_table else self._plain
        if self.ending in _OBJECTS:
            read = self._objects
        elif self.ending == ".json":
            read = self._array
        size = max(check_plain_file(self.path), 1)
        lines = read(progress, size)
        with os_errors(self.path):
            try:
                for line in lines:
                    # Bytes that are no UTF-8 have become halves of surrogate pairs.
                    bad = line.text and any("\ud800" <= sign <= "\udfff" for sign in line.text)
                    yield line._replace(problem=NOT_UTF8) if bad else line
            except (EOFError, zlib.error) as error:
                raise FormatError(f"{self.name}: is damaged ({reason(error)})") from error

    # how files are opened

    @contextmanager
    def _opened(self, newline: str | None = None) -> Iterator[tuple[io.TextIOWrapper, IO[bytes]]]:
        """Open it as text, and give the bytes below, whose position says how far it is read."""
        check_plain_file(self.path)
        with os_errors(self.path), self.path.open("rb") as raw:
            packed = self.path.suffix.lower() == ".gz"
            below = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
            try:
                head = below.read(_HEAD)
                below.seek(0)
            except (EOFError, zlib.error) as error:
                raise FormatError(f"{self.name}: is damaged ({reason(error)})") from error
            encoding = next((name for bom, name in _BOMS.items() if head.startswith(bom)), "")
            if not encoding and b"\0" in head:
                raise FormatError(f"{self.name}: is not a text file; give one in UTF-8")
            errors = "surrogateescape" if encoding in ("", "utf-8-sig") else "replace"
            stream = io.TextIOWrapper(
                below, encoding=encoding or "utf-8", errors=errors, newline=newline
            )
            yield stream, raw

    def _capped(
        self, stream: io.TextIOWrapper, most: int, follow: Progress, raw: IO[bytes], size: int
    ) -> Iterator[tuple[int, str | None]]:
        """Yield numbered lines, None in the place of those longer than so many characters."""
        number = 0
        while text := stream.readline(most + 1):
            number += 1
            is_long = len(text) > most and not text.endswith(("\n", "\r"))
            rest = is_long
            while rest:
                more = stream.readline(_HEAD)
                follow(min(raw.tell() / size, 1.0), f"{self.name}: line {number:,} is long")
                rest = bool(more) and not more.endswith(("\n", "\r"))
            if not number % _EVERY:
                follow(min(raw.tell() / size, 1.0), f"{self.name}: {number:,} lines read")
            yield number, None if is_long else text

    # kinds of files

    def _plain(self, progress: Progress, size: int) -> Iterator[Line]:
        with self._opened() as (stream, raw):
            for number, text in self._capped(stream, _LONGEST_LINE, progress, raw, size):
                yield Line(number, text or "", "" if text is not None else TOO_LONG)

    def _rows(self, progress: Progress, size: int) -> Iterator[Line]:
        with self._opened(newline="") as (stream, raw):
            header, rows = self._table(stream, progress, raw, size)
            sample = list(islice(rows, _SAMPLE))
            place = self._chosen(header, [row for _, row in sample])
            if place is None:
                # A single column without a title: its first line is a text, too.
                place, sample = 0, [(1, header), *sample] if header else sample
            for number, row in chain(sample, rows):
                yield Line(number, row[place] if place < len(row) else "")

    def _table(
        self, stream: io.TextIOWrapper, progress: Progress, raw: IO[bytes], size: int
    ) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        """Return the first row of a table and its other rows, with the line each begins on."""
        capped = self._capped(stream, _LONGEST_OBJECT, progress, raw, size)

        def lines() -> Iterator[str]:
            for number, text in capped:
                if text is None:
                    raise FormatError(
                        f"{self.name}: line {number:,} is longer than {_LONGEST_OBJECT:,} "
                        "characters, which no table has; give plain text as .txt"
                    )
                yield text

        every = lines()
        first = next(every, "")
        separator = max(",;\t", key=first.count) if self.ending == ".csv" else "\t"
        reader = csv.reader(chain([first], every), delimiter=separator)

        def rows() -> Iterator[tuple[int, list[str]]]:
            while True:
                start = reader.line_num + 1
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    raise FormatError(
                        f"{self.name}: the row that begins on line {start} cannot be read "
                        f"({reason(error)}); check it for a quotation mark that is not closed"
                    ) from error
                if row is None:
                    return
                if row:
                    yield start, row

        every_row = rows()
        _, header = next(every_row, (0, []))
        return header, every_row

    def _chosen(self, header: Sequence[str], sample: Sequence[Sequence[str]]) -> int | None:
        """Return the place of the column to read; None for a single one without a title."""
        if self.column is None:
            return self._default(header, sample)
        names = [name.strip().casefold() for name in header]
        if self.column.strip().casefold() not in names:
            raise FormatError(
                f"{self.name}: has no column {_short(self.column)!r}; it has {_listed(header)}"
            )
        return names.index(self.column.strip().casefold())

    def _default(self, header: Sequence[str], sample: Sequence[Sequence[str]]) -> int | None:
        """Return the place of a column of a usual name, or with the longest texts."""
        usual = _usual(header)
        if usual is not None:
            return list(header).index(usual)
        if len(header) < 2:
            return None
        if "wkt" in (name.strip().casefold() for name in header):
            # Outlines are the longest texts of a table of regions, and none.
            raise FormatError(
                f"{self.name}: is a table of regions without captions; name a column of texts, it "
                f"has {_listed(header)}"
            )
        lengths = [
            sum(len(row[place]) for row in sample if place < len(row))
            for place in range(len(header))
        ]
        return lengths.index(max(lengths))

    def _objects(self, progress: Progress, size: int) -> Iterator[Line]:
        """Yield the texts of JSON lines."""
        with self._opened() as (stream, raw):
            fields = _Fields(self.name, self.column)
            for number, text in self._capped(stream, _LONGEST_OBJECT, progress, raw, size):
                if text is None:
                    yield Line(number, "", TOO_LONG)
                elif text.strip():
                    try:
                        value = json.loads(text)
                    except (ValueError, RecursionError):
                        yield Line(number, text.strip(), NOT_JSON)
                        continue
                    yield from fields.lines(number, value)
            fields.check()

    def _array(self, progress: Progress, size: int) -> Iterator[Line]:
        """Yield the texts of the arrays of a JSON file; their numbers count the items."""
        fields = _Fields(self.name, self.column)
        for number, item in enumerate(self._items(progress, size), start=1):
            yield from fields.lines(number, item)
        fields.check()

    def _items(self, progress: Progress = no_progress, size: int = 1) -> Iterator[Any]:
        """Yield the items of JSON, of lines or of arrays that may hold texts, one at a time."""
        with self._opened() as (stream, raw):
            if self.ending in _OBJECTS:
                for _, text in self._capped(stream, _LONGEST_OBJECT, progress, raw, size):
                    try:
                        yield json.loads(text or "null")
                    except (ValueError, RecursionError):
                        continue
                return
            wanted = None if self.column is not None else _ARRAYS
            items = JsonStream(stream, self.name).items(wanted)
            for number, item in enumerate(items, start=1):
                if not number % _EVERY:
                    progress(min(raw.tell() / size, 1.0), f"{self.name}: {number:,} items read")
                yield item


class _Fields:
    """Takes the text out of JSON values, and notes which fields they have."""

    def __init__(self, name: str, column: str | None) -> None:
        self._name, self._column = name, column
        self._taken, self._seen = 0, dict[str, None]()

    def lines(self, number: int, value: Any) -> Iterator[Line]:
        """Yield what one value holds."""
        if isinstance(value, dict):
            field = self._field(value)
            if field is None:
                if len(self._seen) < _SAMPLE:
                    self._seen.update(dict.fromkeys(islice(value, 10)))
                yield Line(number, "", NO_FIELD)
                return
            value = value[field]
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                self._taken += 1
                yield Line(number, item)
            elif isinstance(item, dict) and isinstance(item.get("raw"), str):
                self._taken += 1
                yield Line(number, item["raw"])
            elif item is not None:
                yield Line(number, json.dumps(item)[:_HEAD], "no text")

    def _field(self, value: Mapping[str, Any]) -> str | None:
        if self._column is None:
            return _usual(value)
        wanted = self._column.casefold()
        return next((name for name in value if name.casefold() == wanted), None)

    def check(self) -> None:
        """Raise a FormatError where no value had a text and there is a field to choose."""
        if not self._taken and self._seen:
            wanted = f"field {_short(self._column)!r}" if self._column else "caption"
            raise FormatError(
                f"{self._name}: has no {wanted}; name a field with text: {_listed(self._seen)}"
            )


def _usual(names: Iterable[str]) -> str | None:
    """Return the name that most likely stands for a text."""
    by_fold = {name.strip().casefold(): name for name in reversed(list(names))}
    return next((by_fold[name] for name in _USUAL if name in by_fold), None)


def _listed(names: Iterable[str]) -> str:
    """Return some names for a message."""
    shown = [_short(name) for name in islice(names, 9)]
    more = ", …" if len(shown) > 8 else ""
    return ", ".join(shown[:8]) + more or "none"


def _short(name: str) -> str:
    clean = " ".join(name.split())
    return clean if len(clean) <= 40 else f"{clean[:39]}…"
