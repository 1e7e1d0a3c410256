"""napari's own table of shapes, one row per vertex, with our columns after napari's."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_patchioner.annotations import napari_shapes, table
from napari_patchioner.annotations.files import write_text
from napari_patchioner.annotations.images import Images
from napari_patchioner.annotations.notes import Notes, leaving_out, naming, noting
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.table import CAPTION_COLUMNS, Table, guard_cell, unguard_cell
from napari_patchioner.annotations.texts import with_unique_uids
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Region, Trace

from .head import Format, Head

NAPARI_COLUMNS = ("index", "shape-type", "vertex-index", "axis-0", "axis-1")
_OURS = ("uid", "image", *CAPTION_COLUMNS)
# Where a shape lies in an image of more than two dimensions: its other coordinates.
_PLANE = "plane"
# napari knows no loose points; a table with some says so in a column, else it has none.
_CONNECTED, _LOOSE = "trace-connected", "false"
_OWN = (*NAPARI_COLUMNS, *_OURS, _CONNECTED)
# What is drawn: a kind, and the bytes of its coordinates.
_Drawn: TypeAlias = tuple[str, bytes]
_Cells: TypeAlias = list[list[str]]


def knows(head: Head) -> bool:
    """Whether a file is napari's table of shapes."""
    return set(NAPARI_COLUMNS) <= set(head.columns)


def read_napari_csv(path: str | os.PathLike[str]) -> list[Annotation]:
    """Read napari's table of shapes, written by napari or by `write_napari_csv`.

    Parameters
    ----------
    path : path-like
        A UTF-8 CSV that begins with the columns ``index`` and ``shape-type`` and has
        ``vertex-index, axis-0, axis-1``; more axes may follow. A shape lies along the last two,
        row and column, unless its vertices say otherwise (extra ``"axes"``); the others become
        the extra ``"plane"``. Our own columns may be missing.

    Returns
    -------
    list of Annotation
        One per shape. Without a ``uid`` column the uid is the index; without an ``image``
        column the image is empty. Errors are as of `read_tidy_csv`.
    """
    known = table.read_table(path)
    known.require(NAPARI_COLUMNS, "a napari table of shapes")
    if known.columns[:2] != NAPARI_COLUMNS[:2]:
        raise FormatError(
            f"{known.name}: row 1: a napari table of shapes begins with the columns 'index' and "
            "'shape-type'"
        )
    shapes = itertools.groupby(known.rows, key=lambda row: row[1][0].strip())
    annotations: list[Annotation] = []
    places: list[str] = []
    for position, (index, rows) in enumerate(shapes):
        listed = list(rows)
        where = f"{known.name}: row {listed[0][0]}"
        with leaving_out("shape", where):
            annotations.append(_annotation(known, position, index, listed))
            places.append(where)
    return with_unique_uids(annotations, places)


def _annotation(
    known: Table, position: int, index: str, rows: Sequence[tuple[int, Sequence[str]]]
) -> Annotation:
    """Return the annotation that the rows of one shape make."""
    row, values = rows[0]
    # A shape whose rows were all left out leaves a gap.
    if index != str(position) and not (index.isdecimal() and position < int(index[:9])):
        raise known.error(row, "index", f"must be {position}, but is {index[:40]!r}")
    cells = dict(zip(known.columns, values, strict=True))
    uid = unguard_cell(cells.get("uid", "")) or index
    at = known.columns.index(NAPARI_COLUMNS[2])
    counted = [row_cells[at].strip().removesuffix(".0") for _, row_cells in rows]
    if counted != [str(place) for place in range(len(rows))]:
        raise known.error(row, "vertex-index", "the vertices must be counted from 0, each once")
    axes = {n: name for n, name in enumerate(known.columns) if name.startswith("axis-")}
    vertices = np.array(
        [
            [known.number(number, name, row_cells[axis]) for axis, name in axes.items()]
            for number, row_cells in rows
        ]
    )
    extra = table.extra_fields(cells, (*_OWN, *axes.values()), _OWN)
    shown = napari_shapes.axes_drawn_along(vertices)
    last = len(axes) - 2, len(axes) - 1
    if len(axes) > 2:  # where in a stack it lies: the coordinates that all its vertices share
        if shown is None:
            raise known.error(row, "axis-0", "the shape spans several planes; draw it in one")
        others = [axis for axis in range(len(axes)) if axis not in shown]
        extra[_PLANE] = " ".join(f"{value:g}" for value in vertices[0, others].tolist())
        extra |= {} if shown == last else {napari_shapes.AXES: f"{shown[0]} {shown[1]}"}
    try:
        region = napari_shapes.region_from_shape(
            vertices[:, list(shown or last)], cells["shape-type"].strip()
        )
    except FormatError as error:
        raise known.error(row, "shape-type", str(error)) from error
    if isinstance(region, Trace) and cells.get(_CONNECTED, "").strip().lower() == _LOOSE:
        region = replace(region, connected=False)
    return Annotation(
        uid=uid,
        image=unguard_cell(cells.get("image", "")),
        region=region,
        **table.caption_fields(known, row, cells),
        extra=extra,
    )


def format_napari_csv(
    annotations: Sequence[Annotation],
    before: Mapping[_Drawn, Sequence[Sequence[str]]] | None = None,
) -> tuple[str, tuple[Annotation, ...]]:
    """Return annotations as napari's table of shapes, as text, and what it could not hold.

    Parameters
    ----------
    annotations : sequence of Annotation
        Regions, coordinates in ``(row, column)``.
    before : mapping, optional
        Type, row and column of each vertex as cells to keep, by kind and coordinates as bytes.

    Returns
    -------
    text : str
        The columns ``index, shape-type, vertex-index, axis-0, axis-1``, then ``uid, image,
        caption, score, source, model`` and the extras, repeated for every vertex.
    left_out : tuple of Annotation
        Sets, points, masks, single-point traces and whole images, for which napari has no shape.
        Errors are as of `format_tidy_csv`.
    """
    table.check_unique(annotations)
    shapes = [napari_shapes.shape_from_region(annotation.region) for annotation in annotations]
    pairs = list(zip(annotations, shapes, strict=True))
    held = [(annotation, shape) for annotation, shape in pairs if shape is not None]
    extras = table.extra_columns(table.extra_names(annotation for annotation, _ in held), _OWN)
    loose = (_CONNECTED,) if any(_is_loose(annotation.region) for annotation, _ in held) else ()
    rows: list[list[str | int]] = []
    for index, (annotation, (shape_type, vertices)) in enumerate(held):
        with naming(f"region {annotation.uid!r}"):
            napari_shapes.region_from_shape(vertices, shape_type)
        ours = [
            *(guard_cell(annotation.uid), guard_cell(annotation.image)),
            *table.caption_cells(annotation),
            *[_LOOSE if _is_loose(annotation.region) else ""] * len(loose),
            *table.extra_cells(annotation, extras),
        ]
        made = [[shape_type, *map(repr, vertex)] for vertex in vertices.tolist()]
        cells = (before or {}).get(_drawn(annotation.region), made)
        rows += [[index, kind, place, *rest, *ours] for place, (kind, *rest) in enumerate(cells)]
    text = table.format_table((*NAPARI_COLUMNS, *_OURS, *loose, *extras), rows)
    return text, tuple(annotation for annotation, shape in pairs if shape is None)


def _drawn(region: Region) -> _Drawn:
    """Return what tells a drawing from all others."""
    return region.kind, region.coords().tobytes()


def _cells_before(path: str | os.PathLike[str]) -> dict[_Drawn, _Cells]:
    """Return type, row and column of each vertex in a table that can be read, by what they draw."""
    results: dict[_Drawn, _Cells] = {}
    with noting(Notes()), suppress(ValueError, OSError):
        known = table.read_table(path)
        kind, row, column = (known.columns.index(NAPARI_COLUMNS[n]) for n in (1, 3, 4))
        for _, rows in itertools.groupby(known.rows, key=lambda row: row[1][0].strip()):
            cells = [[values[kind], values[row], values[column]] for _, values in rows]
            vertices = [[float(row), float(column)] for _, row, column in cells]
            drawn = napari_shapes.region_from_shape(vertices, cells[0][0].strip())
            results[_drawn(drawn)] = cells
    return results


def _is_loose(region: Region) -> bool:
    """Whether a region is a trace whose points are not connected."""
    return isinstance(region, Trace) and not region.connected


def write_napari_csv(
    path: str | os.PathLike[str], annotations: Sequence[Annotation]
) -> tuple[Annotation, ...]:
    """Write the text of `format_napari_csv`, whole or not at all, and return what it cannot hold.

    In a table that is there already, drawings that nobody changed keep their cells: lines stay
    lines, whole numbers stay so. Where it cannot be written, that is a FormatError, and the old
    file stays. napari itself cannot open a table without a single shape; `read_napari_csv` can.
    """
    text, left_out = format_napari_csv(annotations, _cells_before(path))
    write_text(path, text)
    return left_out


def _write(path: Path, annotations: Sequence[Annotation], _: Images) -> tuple[Annotation, ...]:
    return write_napari_csv(path, annotations)


FORMAT = Format(
    "napari", "napari shapes, one row per vertex", (".csv",), read_napari_csv, _write, knows
)
