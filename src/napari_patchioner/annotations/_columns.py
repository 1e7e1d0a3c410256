"""The columns both table formats share."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from napari_patchioner.errors import FormatError

from ._cells import guard_cell, guard_extra_cell, unguard_cell
from ._notes import note
from ._table import number_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ._annotation import Annotation, Source
    from ._table import Table

CAPTION_COLUMNS = ("caption", "score", "source", "model")
# Before the name of an extra that would be taken for a column of the format itself.
_EXTRA = "extra:"
_SOURCES = ("", "model", "edited", "human")


def caption_fields(table: Table, row: int, cells: Mapping[str, str]) -> dict[str, Any]:
    """Return caption, score, source and model of a row, as arguments for an Annotation."""
    source = cells.get("source", "").strip().lower()
    if source not in _SOURCES:
        known = "model, edited, human or empty"
        raise table.error(row, "source", f"{source!r} is unknown; it may be {known}")
    return {
        "caption": unguard_cell(cells.get("caption", "")),
        "score": _score(table, row, cells.get("score", "").strip()),
        "source": cast("Source", source),
        "model": unguard_cell(cells.get("model", "")),
    }


def _score(table: Table, row: int, cell: str) -> float | None:
    """Return a score, or None where the cell is empty."""
    if not cell:
        return None
    try:
        score = number_in(cell)
    except ValueError:
        raise table.error(row, "score", f"{cell!r} is not a number") from None
    if not math.isfinite(score):
        raise table.error(row, "score", f"{cell!r} is not a finite number")
    return score


def caption_cells(annotation: Annotation) -> list[str]:
    """Return the cells for `CAPTION_COLUMNS`."""
    score = annotation.score
    if score is not None and not math.isfinite(score):
        raise FormatError(f"the score of region {annotation.uid!r} is not a finite number")
    return [
        guard_cell(annotation.caption),
        "" if score is None else repr(float(score)),
        annotation.source,
        guard_cell(annotation.model),
    ]


def extra_names(annotations: Iterable[Annotation]) -> list[str]:
    """Return the names of all extras in order of appearance."""
    return list(dict.fromkeys(name for annotation in annotations for name in annotation.extra))


def extra_columns(names: Iterable[str], taken: Sequence[str]) -> dict[str, str]:
    """Return the columns for the extras of these names, and the extra that each holds.

    An extra whose name a column of the format itself has stands under another one, which
    `extra_fields` knows.

    Raises
    ------
    FormatError
        If an extra has no name.
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
        if not annotation.uid or key in seen:
            raise FormatError(
                f"the uid {annotation.uid!r} appears twice in image {annotation.image!r}; "
                "every region needs a uid of its own"
                if annotation.uid
                else f"a region of image {annotation.image!r} has no uid"
            )
        seen.add(key)


def identity(table: Table, row: int, cells: Mapping[str, str], seen: dict[Any, int]) -> str:
    """Return the uid of a row; another one, with a note, where it was seen before."""
    uid = unguard_cell(cells["uid"])
    if not uid:
        raise table.error(row, "uid", "is empty; every region needs a uid of its own")
    own = own_uid(cells.get("image", ""), uid, seen)
    if own != uid:
        told = table.error(row, "uid", f"{uid!r} was used before; this region is {own!r} now")
        note("uid", str(told))
    return own


def with_uids(table: Table) -> Table:
    """Return a table whose every row has a uid: the number of the row where there was none."""
    has = "uid" in table.columns
    columns = table.columns if has else (*table.columns, "uid")
    rows = table.rows if has else tuple((row, (*cells, "")) for row, cells in table.rows)
    at = columns.index("uid")
    known = {cells[at] for _, cells in rows}
    if "" not in known:
        return replace(table, columns=columns, rows=rows)
    found = []
    for row, cells in rows:
        uid = cells[at]
        if not uid:
            uid = next(one for one in _counted(f"{row}") if one not in known)
        found.append((row, (*cells[:at], uid, *cells[at + 1 :])))
    note("no uid", f"{table.name}: rows without a uid get the number of their row as one")
    return replace(table, columns=columns, rows=tuple(found))


def _counted(name: str) -> Iterator[str]:
    """Yield a name, and then the same with numbers behind it."""
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def own_uid(image: str, uid: str, seen: dict[Any, int]) -> str:
    """Return a uid that no region of an image had before, and count it among those seen.

    >>> seen = {}
    >>> [own_uid("cat.png", uid, seen) for uid in ("a", "a", "a-2", "a")]
    ['a', 'a-2', 'a-2-2', 'a-3']
    """
    key = (image, uid)
    count = seen.get(key, 0) + 1
    own = uid
    while (image, own) in seen:
        count += count < 2
        own = f"{uid}-{count}"
        count += (image, own) in seen
    seen[key] = max(count, 1)
    seen.setdefault((image, own), 1)
    return own
