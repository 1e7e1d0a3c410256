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
    from collections.abc import Iterator, Mapping, Sequence

    from ._annotation import Annotation, Source
    from ._table import Table

CAPTION_COLUMNS = ("caption", "score", "source", "model")
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


def extra_columns(annotations: Sequence[Annotation], taken: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all extra columns in order of appearance.

    Raises
    ------
    FormatError
        If an extra has the name of one of the format's own columns, or none at all.
    """
    names = dict.fromkeys(name for annotation in annotations for name in annotation.extra)
    for name in names:
        if not name or name in taken or name.startswith("axis-"):
            raise FormatError(f"{name!r} cannot name an extra column; give it another name")
    return tuple(names)


def extra_cells(annotation: Annotation, names: Sequence[str]) -> list[str]:
    """Return the cells for the extra columns."""
    return [guard_extra_cell(annotation.extra.get(name, "")) for name in names]


def extra_fields(cells: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """Return the extras of a row: its unknown columns, so that even an empty one is kept."""
    return {name: unguard_cell(cell) for name, cell in cells.items() if name not in known}


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
