"""A format, and what it is recognised by: how a file begins and, of JSON, all that it holds."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from napari_patchioner.annotations.files import encoding_of
from napari_patchioner.annotations.images import Images
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.table import column_name, table_dialect
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import BudgetError, check_plain_file

from . import json_arrays

_LENGTH = 65536
_LINES = (".jsonl", ".ndjson")
_OPENING = ("{", "[")
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*("(?:[^"\\]|\\.)*")?')


@dataclass(frozen=True, slots=True)
class Format:
    """A file format for annotations.

    Attributes
    ----------
    name : str
        What the command line calls it.
    title : str
        What a person calls it.
    suffixes : tuple of str
        Endings of its files; the first is the usual one, and none means a folder.
    read : callable
        Turns a file into annotations.
    write : callable
        Writes annotations of images, each with a uid of its own, to a file and returns those the
        format cannot hold.
    knows : callable
        Whether a file that begins so is of this format.
    needs : str
        The extra that installs the library it needs; empty where it needs none.
    sized : bool
        Whether ``read`` also takes the images, whose names or sizes its files may lack.
    single : bool
        Whether a file is about one image only, so that several images are several files.
    any_view : bool
        Whether it has a place for regions drawn in other views of a stack. The others are about
        the picture of rows and columns, over which such a region would lie where nobody has
        drawn it.
    file_names : callable, optional
        The files that ``write`` would make in a folder.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    read: Callable[..., list[Annotation]]
    write: Callable[[Path, Sequence[Annotation], Images], tuple[Annotation, ...]]
    knows: Callable[[Head], bool]
    needs: str = ""
    sized: bool = False
    single: bool = False
    any_view: bool = False
    file_names: Callable[[Path, Sequence[Annotation], Images], Iterable[str]] | None = None


@dataclass(frozen=True)
class Head:
    """A file whose format is to be recognised.

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
        encoding, mark = encoding_of(self.start)
        return self.start[mark:].decode(encoding, "ignore")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The cells of the first row, if it is a table."""
        try:
            sign, start = table_dialect(self.text)
            lines = csv.reader(self.text[start:].splitlines(), delimiter=sign)
            return tuple(map(column_name, next((row for row in lines if any(row)), [])))
        except csv.Error:
            return ()

    @cached_property
    def _json(self) -> tuple[Any, bool, FormatError | None]:
        """What JSON holds, whether it is one of lines, and why it cannot be read."""
        if self._first_sign not in _OPENING and self.suffix not in _LINES:
            return None, False, None
        try:
            return *json_arrays.first_json(self.path), None
        except BudgetError:
            raise
        except FormatError as error:
            return None, False, error if self._first_sign in _OPENING else None

    @cached_property
    def _first_sign(self) -> str:
        """The first sign of the text, blanks and comments aside: of JSON, a bracket."""
        return self.text[json_arrays.comments_before(self.text) :].lstrip()[:1]

    @property
    def json(self) -> Any:
        """All that a JSON file holds, or what stands in the first line of a file of lines.

        None where it is no JSON, or broken. The whole file is read, once: `read_annotations` gives
        what was parsed here to the reader.
        """
        return self._json[0]

    @property
    def broken(self) -> FormatError | None:
        """Why a file that begins like JSON is none."""
        return self._json[2]

    @property
    def is_list(self) -> bool:
        """Whether the file begins a JSON list."""
        return self._first_sign == "["

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The fields of the first JSON object.

        The object may be the first one of a list, or the first line of a file of lines. Of broken
        JSON, the names of fields at its beginning, wherever they stand, with those of their values
        that are texts, so that the reader of its format can say what is wrong.
        """
        result = self.json
        if result is None and self._first_sign in _OPENING:
            fields = {}
            for name, quoted in reversed(_NAME.findall(self.text)):
                fields[name] = ""
                with suppress(ValueError):
                    fields[name] = json.loads(quoted or '""')
            return fields
        if isinstance(result, list):
            result = next((item for item in result if isinstance(item, dict)), None)
        return result if isinstance(result, dict) else {}

    def release_json(self) -> dict[Path, Any]:
        """Return the value of a file that was parsed whole, by its path, and keep it no longer."""
        value, is_lines, _ = self.__dict__.pop("_json", (None, False, None))
        self.__dict__.pop("fields", None)
        return {} if is_lines or value is None else {self.path: value}


def head_of(path: str | os.PathLike[str]) -> Head:
    """Return what the format of a file is recognised by; an error if it is no plain file."""
    path = Path(path)
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    suffix = "".join(endings if endings[:1] == [".ome"] else endings[-1:])
    try:
        if path.is_dir():
            return Head(path, b"", "")
        check_plain_file(path)
        with path.open("rb") as file:
            return Head(path, file.read(_LENGTH), suffix)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
