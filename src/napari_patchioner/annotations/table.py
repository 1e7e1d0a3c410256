"""Tables of text and the columns our table formats share: strict in reading, complete in writing.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return
for a formula. Such a text gets one apostrophe in front. So that no text is mistaken for a guarded
one, a text that itself begins with apostrophes followed by such a sign gets one more; reading
takes exactly one away. Every other text, also one like ``'tis``, stays as it is.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records, check_plain_file, read_file

from .files import decode_text, encoding_of
from .notes import leaving_out, note
from .record import SOURCES, Annotation
from .texts import free_name

CAPTION_COLUMNS = ("caption", "score", "source", "model")
# A lasso with thousands of vertices is one long cell; the csv module allows 131,072 characters.
_LONGEST_CELL = 2**31 - 1
# Characters in which a header ends.
_HEADER = 65536
# A line before the header: a comment, what sets the cells apart, or none.
_BEFORE_HEADER = re.compile(r"(?:#[^\r\n]*|sep=[,;\t]|[ ,;\t]*)(?:\r\n|\r|\n)")
_LINE_END = re.compile(r"\r\n|\r|\n")
_SEPARATOR = re.compile(r"sep=([,;\t])")
_COMMA = re.compile(r"\s*[+-]?\d{0,300},\d{1,300}([eE][+-]?\d{1,3})?\s*")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
# Before a name of a column that no table could hold as it is, and that stands there as JSON.
_AS_JSON = "json:"
# Before the name of an extra that would be taken for a column of the format itself.
_EXTRA = "extra:"


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a table as text; rows with their numbers as a spreadsheet counts (header: 1)."""

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

    def number(self, row: int, column: str, cell: str) -> float:
        """Return the finite number in a cell."""
        try:
            number = number_in(cell)
        except ValueError:
            raise self.error(row, column, f"{cell!r} is not a number") from None
        if not math.isfinite(number):
            raise self.error(row, column, f"{cell!r} is not a finite number")
        return number


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How a table is laid out, whatever is in it.

    ``before`` is what stands before the header: a byte order mark, comments, blank lines; ``sign``
    sets cells apart, ``end`` ends rows, ``columns`` is the header; all in this ``encoding``.
    """

    before: str = ""
    sign: str = ","
    end: str = "\n"
    columns: tuple[str, ...] = ()
    encoding: str = "utf-8"


def table_layout(path: str | os.PathLike[str]) -> TableLayout | None:
    """Return how the table in a file is laid out; None where there is none."""
    try:
        check_plain_file(path)
        with open(path, "rb") as file:
            data = file.read(_HEADER)
        encoding, mark = encoding_of(data)
        text = data[mark:].decode(encoding, "ignore")
        sign, start = table_dialect(text)
        rows = csv.reader(io.StringIO(text[start:], newline=""), delimiter=sign)
        header = next((row for row in rows if any(row)), None)
    except (OSError, FormatError, csv.Error):
        return None
    if header is None:
        return None
    end = next(filter(text.__contains__, ("\r\n", "\n", "\r")), "\n")
    return TableLayout("\ufeff" * bool(mark) + text[:start], sign, end, tuple(header), encoding)


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table with cells apart by commas, semicolons or tabs, in UTF-8 or as `decode_text`.

    Blank lines and empty columns without a name are passed over. Columns that share a name, or
    have none, get one by their number. Rows of another length than the header are left out.
    """
    path = Path(path)
    records = _read_records(path)
    header = next((cells for _, cells in records if cells), None)
    if header is None:
        raise FormatError(f"{path.name}: the file is empty; a table begins with a row of names")
    header_cells = _without_empty_end(header)
    columns = _named_columns(path.name, [column_name(cell) for cell in header_cells])
    rows = []
    for number, cells in records:
        if not cells or cells is header:
            continue
        where = f"{path.name}: row {number}"
        with leaving_out("row", where):
            filled = cells if len(cells) <= len(columns) else _without_empty_end(cells)
            if len(filled) != len(columns) and not len(cells) > len(columns) > len(filled):
                raise FormatError(
                    f"{where}: has {len(cells)} cells, but the header has {len(columns)} columns"
                )
            rows.append((number, filled + ("",) * (len(columns) - len(filled))))
    kept = [
        index
        for index, cell in enumerate(header_cells)
        if cell.strip() or any(cells[index] for _, cells in rows)
    ]
    if len(kept) < len(columns):
        columns = [columns[index] for index in kept]
        rows = [(number, tuple(cells[index] for index in kept)) for number, cells in rows]
    return Table(path.name, tuple(columns), tuple(rows))


def _without_empty_end(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Return cells without the empty ones at their end, as spreadsheets leave them."""
    return cells[: max((end for end, cell in enumerate(cells, 1) if cell.strip()), default=0)]


def _named_columns(name: str, columns: Sequence[str]) -> list[str]:
    """Return the names of columns, each once, and note which ones had to be changed."""
    names: dict[str, None] = {}
    taken = set(columns)
    # The numbers that come next for names that appear again.
    numbers: defaultdict[str, Iterator[int]] = defaultdict(partial(count, 2))
    for number, column in enumerate(columns, start=1):
        own = column or f"column {number}"
        if own in names:
            others = (f"{column} ({other})" for other in numbers[column])
            own = next(other for other in others if other not in taken and other not in names)
            note("column", f"{name}: row 1: the column {column!r} appears twice; one is {own!r}")
        names[own] = None
    return list(names)


def table_dialect(text: str) -> tuple[str, int]:
    r"""Return what sets the cells of a table apart, and where its header begins.

    Blank lines and comments may stand before the header.

    >>> table_dialect("image;uid;kind;wkt\n"), table_dialect("sep=;\nuid;wkt\n")
    ((';', 0), (';', 6))
    >>> table_dialect("# made by hand, twice\nuid;wkt\n")
    (';', 22)
    """
    start, sign = 0, ""
    while match := _BEFORE_HEADER.match(text, start):
        line, start = match[0], match.end()
        if separator := _SEPARATOR.match(line):
            sign = separator[1]
        elif line.startswith("#") and _is_header(line):  # a name of a column begins so
            start = match.start()
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
    longest = csv.field_size_limit(_LONGEST_CELL)
    try:
        reader = csv.reader(text, strict=True, delimiter=sign)
        for number, cells in enumerate(reader, start=1 + before):
            charge_records()
            records.append((number, tuple(cells) if any(cells) else ()))
    except csv.Error as error:
        raise FormatError(
            f"{path.name}: row {len(records) + 1}: the quoting is broken ({error})"
        ) from error
    finally:
        csv.field_size_limit(longest)
    return records


def number_in(cell: str) -> float:
    """Return the number in a cell, which may have a decimal comma, as beside semicolons.

    >>> number_in("0.75"), number_in("0,75")
    (0.75, 0.75)
    """
    return float(cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell)


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
            value = json.loads(name.removeprefix(_AS_JSON))
        except (ValueError, RecursionError):
            return name
        return value if isinstance(value, str) else name
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
    text = io.StringIO(newline="")
    # Line feeds and carriage returns are quoted only if both end the rows of the writer itself.
    writer = csv.writer(text, lineterminator="\r\n", delimiter=known.sign)
    header = [column_cell(column) for column in columns]
    # New columns stand behind all others.
    names = [name.strip().lower() for name in known.columns] + [name.lower() for name in header]
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    order = sorted(range(len(header)), key=lambda index: first[header[index].lower()])
    before = known.before
    for row in chain([header], rows):
        text.seek(0)
        text.truncate()
        writer.writerow([row[index] for index in order])
        yield before + text.getvalue().removesuffix("\r\n") + known.end
        before = ""


def guard_cell(text: str) -> str:
    """Return the text as it is written into a table.

    >>> guard_cell("=1+1"), guard_cell("'=1+1"), guard_cell("'tis a cat")
    ("'=1+1", "''=1+1", "'tis a cat")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_cell(cell: str) -> str:
    """Return the text that a cell stands for; undoes `guard_cell`.

    >>> unguard_cell("'=1+1"), unguard_cell("''=1+1"), unguard_cell("'tis a cat")
    ('=1+1', "'=1+1", "'tis a cat")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def guard_extra_cell(text: str) -> str:
    """Guard a cell of somebody else's column: plain numbers stay plain numbers.

    >>> guard_extra_cell("-3.5"), guard_extra_cell("-3.5+A1")
    ('-3.5', "'-3.5+A1")
    """
    return text if _NUMBER.match(text) else guard_cell(text)


def caption_fields(table: Table, row: int, cells: Mapping[str, str]) -> dict[str, Any]:
    """Return caption, score, source and model of a row, as arguments for an Annotation."""
    source = cells.get("source", "").strip().lower()
    if source not in SOURCES:
        known = f"{', '.join(SOURCES[1:])} or empty"
        raise table.error(row, "source", f"{source!r} is unknown; it may be {known}")
    cell = cells.get("score", "").strip()
    return {
        "caption": unguard_cell(cells.get("caption", "")),
        "score": table.number(row, "score", cell) if cell else None,
        "source": source,
        "model": unguard_cell(cells.get("model", "")),
    }


def caption_cells(annotation: Annotation) -> list[str]:
    """Return the cells for `CAPTION_COLUMNS`."""
    return [
        guard_cell(annotation.caption),
        annotation.score_text,
        annotation.source,
        guard_cell(annotation.model),
    ]


def extra_names(annotations: Iterable[Annotation]) -> list[str]:
    """Return the names of all extras in order of appearance."""
    return list(dict.fromkeys(name for annotation in annotations for name in annotation.extra))


def extra_columns(names: Iterable[str], taken: Sequence[str]) -> dict[str, str]:
    """Return the columns for the extras of these names, and the extra that each holds.

    An extra whose name a column of the format itself has stands under another one, which
    `extra_fields` knows. An extra without a name has no column.
    """
    columns = {_EXTRA * _is_taken(name, taken) + name: name for name in names}
    if "" in columns:
        raise FormatError("an extra without a name has no column; give it one")
    return columns


def _is_taken(name: str, taken: Sequence[str]) -> bool:
    """Whether a name stands for something else, or for the extra of another name, in a table."""
    while name.startswith(_EXTRA):
        name = name.removeprefix(_EXTRA)
    return name.lower() in taken or name.lower().startswith("axis-")


def extra_cells(annotation: Annotation, columns: Mapping[str, str]) -> list[str]:
    """Return the cells for the extra columns."""
    return [guard_extra_cell(annotation.extra.get(name, "")) for name in columns.values()]


def extra_fields(
    cells: Mapping[str, str], known: Sequence[str], taken: Sequence[str]
) -> dict[str, str]:
    """Return the extras of a row: its unknown columns, so that even an empty one is kept."""
    return {
        extra_name(column, taken): unguard_cell(cell)
        for column, cell in cells.items()
        if column not in known
    }


def extra_name(column: str, taken: Sequence[str]) -> str:
    """Return the name of the extra that a column holds, as `extra_columns` called it.

    >>> extra_name("extra:uid", ["uid"]), extra_name("extra:age", ["uid"])
    ('uid', 'extra:age')
    """
    return column.removeprefix(_EXTRA) if _is_taken(column, taken) else column


def check_unique(annotations: Sequence[Annotation]) -> None:
    """Refuse to write two regions of one image under one name, or a region without a name."""
    seen: set[tuple[str, str]] = set()
    for annotation in annotations:
        key = (annotation.image, annotation.uid)
        if not annotation.uid:
            raise FormatError(f"a region of image {annotation.image!r} has no uid")
        if key in seen:
            raise FormatError(
                f"the uid {annotation.uid!r} appears twice in image {annotation.image!r}; "
                "every region needs a uid of its own"
            )
        seen.add(key)


def with_uids(table: Table) -> Table:
    """Return a table whose every row has a uid: the number of the row where there was none."""
    if "uid" not in table.columns:
        rows = tuple((row, (*cells, "")) for row, cells in table.rows)
        table = replace(table, columns=(*table.columns, "uid"), rows=rows)
    index = table.columns.index("uid")
    known = {cells[index] for _, cells in table.rows}
    if "" not in known:
        return table
    named = []
    for row, cells in table.rows:
        uid = cells[index] or free_name(f"{row}", known)
        named.append((row, (*cells[:index], uid, *cells[index + 1 :])))
    note("no uid", f"{table.name}: rows without a uid get the number of their row as one")
    return replace(table, rows=tuple(named))
