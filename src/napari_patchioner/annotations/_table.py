"""Comma-separated tables: strict in reading, all or nothing in writing."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records, check_plain_file, read_file

from ._cells import guard_cell, unguard_cell
from ._file_names import short_name
from ._notes import leaving_out, note
from ._text import decode_text, encoding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# A lasso with thousands of vertices is one long cell; the csv module allows 131,072 characters.
_LONGEST_CELL = 2**31 - 1
# Characters in which a header ends.
_HEADER = 65536
# A line before the header: a comment, what sets the cells apart, or none.
_BEFORE_HEADER = re.compile(r"(?:#[^\r\n]*|sep=[,;\t]|[ ,;\t]*)(?:\r\n|\r|\n)")
_LINE_END = re.compile(r"\r\n|\r|\n")
_SAID = re.compile(r"sep=([,;\t])")
_COMMA = re.compile(r"\s*[+-]?\d{0,300},\d{1,300}([eE][+-]?\d{1,3})?\s*")
# Before a name of a column that no table could hold as it is, and that stands there as JSON.
_AS_JSON = "json:"


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a table, as text.

    Attributes
    ----------
    name : str
        File name, for messages.
    columns : tuple of str
        The header.
    rows : tuple of (int, tuple of str)
        Row number as a spreadsheet counts (the header is row 1) and the cells.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def require(self, columns: Sequence[str], kind: str) -> None:
        """Raise a FormatError unless all these columns are there."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise FormatError(
                f"{self.name}: row 1: {kind} needs the column{'s' * (len(missing) > 1)} "
                f"{', '.join(map(repr, missing))}, which the header lacks"
            )

    def error(self, row: int, column: str, problem: str) -> FormatError:
        """Return the error that names the file, the row and the column."""
        return FormatError(f"{self.name}: row {row}, column {column!r}: {problem}")


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How a table is laid out, whatever is in it.

    Attributes
    ----------
    before : str
        What stands before the header: a byte order mark, comments, blank lines.
    sign : str
        What sets its cells apart.
    end : str
        What ends its rows.
    columns : tuple of str
        Its header.
    """

    before: str = ""
    sign: str = ","
    end: str = "\n"
    columns: tuple[str, ...] = ()

    def place_of(self, column: str) -> int:
        """Return where a column stands; behind all others if it is new."""
        names = [name.strip().lower() for name in self.columns]
        name = column.lower()
        return names.index(name) if name in names else len(names)


def table_layout(path: str | os.PathLike[str]) -> TableLayout | None:
    """Return how the table is laid out that lies somewhere; None where there is none.

    Its cells are not looked at. A table that is not in UTF-8 has none, as none is written so.
    """
    try:
        check_plain_file(path)
        with open(path, "rb") as file:
            data = file.read(_HEADER)
        encoding, mark = encoding_of(data)
        text = data[mark:].decode("utf-8", "ignore")
        sign, start = table_dialect(text)
        rows = csv.reader(io.StringIO(text[start:], newline=""), delimiter=sign)
        header = next((row for row in rows if any(row)), None)
    except (OSError, FormatError, csv.Error):
        return None
    if header is None or encoding != "utf-8":
        return None
    end = "\r\n" if "\r\n" in text else "\n"
    return TableLayout("\ufeff" * bool(mark) + text[:start], sign, end, tuple(header))


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table with cells apart by commas, semicolons or tabs, in UTF-8 or as `decode_text`.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Table
        Blank lines and empty columns without a name are passed over. Columns that share a name,
        or have none, get one by their number. Rows of another length than the header are left out.

    Raises
    ------
    FormatError
        If the file cannot be read, is not UTF-8 or is empty.
    """
    path = Path(path)
    records = _read_records(path)
    header = next((cells for _, cells in records if cells), None)
    if header is None:
        raise FormatError(f"{path.name}: the file is empty; a table begins with a row of names")
    named = _without_empty_end(header)
    columns = _named_columns(path.name, tuple(column_name(cell) for cell in named))
    rows = []
    for number, cells in records:
        if not cells or cells is header:
            continue
        with leaving_out("row", f"{path.name}: row {number}"):
            rows.append((number, _fitted(cells, len(columns), f"{path.name}: row {number}")))
    unnamed = [at for at, cell in enumerate(named) if not cell.strip()]
    empty = {at for at in unnamed if not any(cells[at] for _, cells in rows)}
    if empty:
        kept = [at for at in range(len(columns)) if at not in empty]
        columns = tuple(columns[at] for at in kept)
        rows = [(number, tuple(cells[at] for at in kept)) for number, cells in rows]
    return Table(path.name, columns, tuple(rows))


def _without_empty_end(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Return cells without the empty ones at their end, as spreadsheets leave them."""
    end = len(cells)
    while end and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _fitted(cells: tuple[str, ...], count: int, where: str) -> tuple[str, ...]:
    """Return as many cells as there are columns; too many may be empty ones only."""
    found = cells if len(cells) <= count else _without_empty_end(cells)
    if len(found) != count and not (len(cells) > count > len(found)):
        raise FormatError(f"{where}: has {len(cells)} cells, but the header has {count} columns")
    return found + ("",) * (count - len(found))


def _named_columns(name: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of columns, each once, and say which ones had to be changed."""
    found: list[str] = []
    for number, column in enumerate(columns, start=1):
        own = column or f"column {number}"
        if own in found:
            own = next(
                other
                for count in range(2, len(columns) + 2)
                if (other := f"{column} ({count})") not in (*columns, *found)
            )
            note("column", f"{name}: row 1: the column {column!r} appears twice; one is {own!r}")
        found.append(own)
    return tuple(found)


def table_dialect(text: str) -> tuple[str, int]:
    r"""Return what sets the cells of a table apart, and where its header begins.

    Parameters
    ----------
    text : str
        The table, or its beginning. Blank lines and comments may stand before the header.

    >>> table_dialect("image;uid;kind;wkt\n"), table_dialect("sep=;\nuid;wkt\n")
    ((';', 0), (';', 6))
    >>> table_dialect("# made by hand, twice\nuid;wkt\n")
    (';', 22)
    """
    start, sign = 0, ""
    while found := _BEFORE_HEADER.match(text, start):
        line, start = found[0], found.end()
        if said := _SAID.match(line):
            sign = said[1]
        elif line.startswith("#") and _is_header(line):  # a name of a column begins so
            start = found.start()
            break
    if sign:
        return sign, start
    lines = text[start : start + _HEADER].splitlines()
    first = next((line for line in lines if line.strip(" ,;\t")), "")
    bare = re.sub(r'"[^"]*"', "", first)
    return max(",;\t", key=lambda sign: (bare.count(sign), sign == ",")), start


def _is_header(line: str) -> bool:
    """Whether a line names the columns of a table of regions, and is no comment."""
    names = {name.strip(' "').lower() for name in re.split("[,;\t]", line.strip())}
    return {"kind", "wkt"} <= names or {"shape-type", "vertex-index"} <= names


def _read_records(path: Path) -> list[tuple[int, tuple[str, ...]]]:
    """Return all records of a file, numbered from 1, blank ones as empty tuples."""
    records: list[tuple[int, tuple[str, ...]]] = []
    whole = decode_text(read_file(path), path.name)
    sign, start = table_dialect(whole)
    text = io.StringIO(whole[start:], newline="")
    before = len(_LINE_END.findall(whole, 0, start))
    try:
        with _long_cells():
            reader = csv.reader(text, strict=True, delimiter=sign)
            for number, cells in enumerate(reader, start=1 + before):
                charge_records()
                blank = not any(cells)
                records.append((number, () if blank else tuple(cells)))
    except csv.Error as error:
        raise FormatError(
            f"{path.name}: row {len(records) + 1}: the quoting is broken ({error})"
        ) from error
    return records


def number_in(cell: str) -> float:
    """Return the number in a cell, which may have a decimal comma, as beside semicolons.

    Raises
    ------
    ValueError
        If it is none.

    >>> number_in("0.75"), number_in("0,75")
    (0.75, 0.75)
    """
    return float(cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell)


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module read cells of any length for a while."""
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class _Lines(list[str]):
    r"""Collects what a csv writer writes, one string per row, rows ended as told.

    The writer quotes line feeds and carriage returns only if both end its own rows, hence the
    default ``\\r\\n`` is asked for and replaced.
    """

    def __init__(self, end: str) -> None:
        super().__init__()
        self._end = end

    def write(self, row: str) -> None:
        """Take one row."""
        self.append(row.removesuffix("\r\n") + self._end)


def column_cell(name: str) -> str:
    r"""Return the name of a column as a header holds it; as JSON where it begins or ends oddly.

    >>> column_cell("class"), column_cell(" a\r")
    ('class', 'json:" a\\r"')
    """
    odd = name != name.strip() or not name.isprintable() or name.startswith(_AS_JSON)
    return guard_cell(f"{_AS_JSON}{json.dumps(name)}" if odd or not name else name)


def column_name(cell: str) -> str:
    """Return the name that stands in a header; undoes `column_cell`."""
    name = unguard_cell(cell.strip())
    if name.startswith(_AS_JSON):
        try:
            found = json.loads(name.removeprefix(_AS_JSON))
        except (ValueError, RecursionError):
            return name
        return found if isinstance(found, str) else name
    return name


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    r"""Return a comma-separated table as text.

    >>> format_table(["uid", "caption"], [["1", "a cat, asleep"]])
    'uid,caption\n1,"a cat, asleep"\n'
    """
    return "".join(table_lines(columns, rows))


def table_lines(
    columns: Sequence[str], rows: Iterable[Sequence[str | int]], layout: TableLayout | None = None
) -> Iterator[str]:
    """Yield the rows of a table as text, the header first; apart by commas without a layout."""
    known = layout or TableLayout()
    lines = _Lines(known.end)
    writer = csv.writer(lines, lineterminator="\r\n", delimiter=known.sign)
    named = [column_cell(column) for column in columns]
    order = sorted(range(len(named)), key=lambda at: (known.place_of(named[at]), at))
    writer.writerow([named[at] for at in order])
    if known.before:
        lines.insert(0, known.before)
    for row in rows:
        writer.writerow([row[at] for at in order])
        yield from lines
        lines.clear()
    yield from lines


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole UTF-8 file or nothing: beside it first, then in its place.

    Parameters
    ----------
    path : path-like
        The file; it is replaced if it exists.
    text : str
        Its contents, written as they are (no newline translation).

    Raises
    ------
    FormatError
        If the folder is missing or cannot be written, or the text cannot be stored; the old
        file is left as it was.
    """
    write_bytes(path, encode_text(text))


def encode_text(text: str) -> bytes:
    """Return a text as UTF-8, or say in one sentence why that cannot be."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 20) : error.start]
        raise FormatError(
            f"the text after {near!r} is no Unicode (half a character, or a file name in another "
            "encoding), so no table can hold it"
        ) from error


def write_bytes(
    path: str | os.PathLike[str],
    data: bytes,
    may_replace: bool = True,
) -> bool:
    """Write a whole file or nothing, as `write_text` does; False where there is one to be kept."""
    try:
        _write_beside(Path(path), [data], os.replace if may_replace else _rename_to_new)
    except FormatError as error:
        if not may_replace and isinstance(error.__cause__, FileExistsError):
            return False
        raise
    return True


def write_chunks(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> None:
    """Write a whole file or nothing, as `write_text` does, from parts that are made on the way."""
    _write_beside(Path(path), chunks, os.replace)


def _rename_to_new(beside: str, path: Path) -> None:
    """Give a file its name unless another has it, in one step where the file system can."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        os.replace(beside, path)
    else:
        os.unlink(beside)


def _write_beside(
    path: Path, chunks: Iterable[bytes], rename: Callable[[str, Path], object]
) -> None:
    """Write a file beside the one that is meant, then give it that one's name."""
    try:
        path = path.resolve()
        handle, beside = tempfile.mkstemp(prefix=f".{short_name(path.name, 80)}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            _copy_mode(path, beside)
            rename(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
    except OSError as error:
        raise FormatError(f"{path}: cannot be written ({error.strerror or error})") from error


def _copy_mode(path: Path, beside: str) -> None:
    """Give the new file the rights of the old one, or those of any new file."""
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    os.chmod(beside, mode)
