"""The tidy table: one row per region, of any kind, of any number of images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from napari_patchioner.annotations import table
from napari_patchioner.annotations.box_columns import has_boxes, with_outlines
from napari_patchioner.annotations.files import encode_text, write_chunks
from napari_patchioner.annotations.images import Images
from napari_patchioner.annotations.notes import leaving_out, naming
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.table import CAPTION_COLUMNS, Table, guard_cell, unguard_cell
from napari_patchioner.annotations.texts import with_unique_uids
from napari_patchioner.annotations.wkt import members_cell, region_from_text, region_to_text
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Region, RegionSet

from .head import Format, Head

TIDY_COLUMNS = ("image", "uid", "kind", "wkt")
NEEDED = ("image", "kind", "wkt")
"""The columns that a table is known by."""
# Only written where there are sets: what well-known text alone cannot tell about their parts.
_MEMBERS = "members"
# In well-known text as programs write it, a space follows the comma after a position.
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_KNOWN = (*TIDY_COLUMNS, *CAPTION_COLUMNS, _MEMBERS)


def knows(head: Head) -> bool:
    """Whether a file is a tidy table, or one of boxes."""
    return _is_known(head.columns)


def _is_known(columns: Sequence[str]) -> bool:
    """Whether there are columns of ours, or those of boxes, and not napari's."""
    return _is_tidy(columns) or (has_boxes(columns) and not {"shape-type", "wkt"} & set(columns))


def _is_tidy(columns: Sequence[str]) -> bool:
    return set(NEEDED) <= set(_own_names(columns))


def _own_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns, those of ours without their capitals."""
    results = list(columns)
    for name in (*TIDY_COLUMNS, *CAPTION_COLUMNS):
        like = [at for at, column in enumerate(results) if column.lower() == name]
        if like and name not in results:
            results[like[0]] = name
    return tuple(results)


def read_tidy_csv(path: str | os.PathLike[str]) -> list[Annotation]:
    """Read a tidy table.

    Parameters
    ----------
    path : path-like
        A UTF-8 CSV with the columns ``image, uid, kind, wkt`` and, where there are captions,
        ``caption, score, source, model``, in any order and with any capitals; other columns are
        kept as extras. A row without a uid gets its number as one. In place of kind and outline, a
        table may have a box in four columns (see `has_boxes`), in ``x y`` pixels as well-known
        text has them; the image may then be called ``filename`` or the like, or be missing.

    Returns
    -------
    list of Annotation
        One per row, in the order of the rows, coordinates in ``(row, column)``.

    Raises
    ------
    FormatError
        One sentence that names the file, the row (the header is row 1) and the column.
    """
    known = table.read_table(path)
    known = replace(known, columns=_own_names(known.columns))
    if "wkt" not in known.columns and has_boxes(known.columns):
        known = with_outlines(known)
    known.require(NEEDED, "a table of regions")
    known = table.with_uids(known)
    annotations, places = [], []
    for row, values in known.rows:
        where = f"{known.name}: row {row}"
        with leaving_out("row", where):
            annotations.append(_annotation(known, row, values))
            places.append(where)
    return with_unique_uids(annotations, places)


def _annotation(known: Table, row: int, values: Sequence[str]) -> Annotation:
    """Return the annotation in one row."""
    cells = dict(zip(known.columns, values, strict=True))
    kind = cells["kind"].strip().lower()
    try:
        region, wkt = _region(cells["wkt"], kind, cells.get(_MEMBERS, "").strip())
    except FormatError as error:
        column = "kind" if "is unknown" in str(error) else "wkt"
        raise known.error(row, column, str(error)) from error
    return Annotation(
        uid=unguard_cell(cells["uid"]),
        image=unguard_cell(cells["image"]),
        region=region,
        **table.caption_fields(known, row, cells),
        extra=table.extra_fields(cells, _KNOWN, _KNOWN),
        written=(region, wkt),
    )


def _region(wkt: str, kind: str, members: str) -> tuple[Region, str]:
    """Return a region and its text, in which numbers may have decimal commas."""
    try:
        return region_from_text(wkt, kind, members), wkt
    except FormatError as error:
        pointed = _DECIMAL_COMMA.sub(".", wkt)
        if kind == "mask" or pointed == wkt:
            raise
        try:
            return region_from_text(pointed, kind, members), pointed
        except FormatError:
            raise error from None


def format_tidy_csv(annotations: Sequence[Annotation]) -> str:
    r"""Return annotations as a tidy table, as text.

    Parameters
    ----------
    annotations : sequence of Annotation
        Regions of any number of images, coordinates in ``(row, column)``.

    Returns
    -------
    str
        The columns ``image, uid, kind, wkt, caption, score, source, model``, then the extras.

    Raises
    ------
    FormatError
        If a region makes no sense, or two of one image share a uid.

    >>> from napari_patchioner.regions import Point
    >>> print(format_tidy_csv([Annotation("a", "cat.png", Point(1, 2), "an ear")]), end="")
    image,uid,kind,wkt,caption,score,source,model
    cat.png,a,point,POINT (2.5 1.5),an ear,,,
    """
    return "".join(_lines(annotations))


def _lines(
    annotations: Sequence[Annotation], layout: table.TableLayout | None = None
) -> Iterator[str]:
    """Yield the table line by line; the annotations are gone through, never held."""
    table.check_unique(annotations)
    named = any(isinstance(annotation.region, RegionSet) for annotation in annotations)
    extras = table.extra_columns(table.extra_names(annotations), _KNOWN)
    columns = (*TIDY_COLUMNS, *CAPTION_COLUMNS, *([_MEMBERS] if named else []), *extras)

    def cells(annotation: Annotation) -> list[str]:
        region, wkt = annotation.written or (None, "")
        if region is not annotation.region:  # else as it was read
            with naming(f"region {annotation.uid!r}"):
                wkt = region_to_text(annotation.region)
        return [
            *(guard_cell(annotation.image), guard_cell(annotation.uid), annotation.kind, wkt),
            *table.caption_cells(annotation),
            *([members_cell(annotation.region)] if named else []),
            *table.extra_cells(annotation, extras),
        ]

    yield from table.table_lines(columns, map(cells, annotations), layout)


def write_tidy_csv(
    path: str | os.PathLike[str], annotations: Sequence[Annotation]
) -> tuple[Annotation, ...]:
    """Write the text of `format_tidy_csv`, whole or not at all, and return what it cannot hold.

    That is nothing. In a table that is there already, its encoding, what sets its cells apart, what
    ends its rows, the order of its columns and what stands before them stay. Where it cannot be
    written, that is a FormatError, and the old file stays.
    """
    layout = table.table_layout(path)
    if layout is not None and not _is_known(tuple(map(table.column_name, layout.columns))):
        layout = None
    encoding = layout.encoding if layout is not None else "utf-8"
    write_chunks(path, (encode_text(line, encoding) for line in _lines(annotations, layout)))
    return ()


def _write(path: Path, annotations: Sequence[Annotation], _: Images) -> tuple[Annotation, ...]:
    return write_tidy_csv(path, annotations)


FORMAT = Format(
    "tidy", "Table, one row per region", (".csv",), read_tidy_csv, _write, knows, any_view=True
)
