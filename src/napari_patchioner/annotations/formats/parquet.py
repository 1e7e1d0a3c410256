"""Parquet: one row per region, typed columns, in groups of rows that can be read one by one."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from napari_patchioner.annotations import table, texts
from napari_patchioner.annotations.files import write_bytes
from napari_patchioner.annotations.images import Images
from napari_patchioner.annotations.notes import leaving_out, naming, note
from napari_patchioner.annotations.record import KINDS, Annotation
from napari_patchioner.annotations.xy import to_xy
from napari_patchioner.errors import FormatError, pip_install
from napari_patchioner.limits import charge_bytes, charge_file, charge_records, check_plain_file
from napari_patchioner.regions import Ellipse, Region

from .head import Format, Head
from .json_arrays import parse_json

# In the metadata: which columns are extras, whatever their names.
_EXTRAS = "napari-patchioner extras"
_MAGIC = b"PAR1"
_ROWS_PER_GROUP = 10_000
# Of a Python object in a list.
_BYTES_PER_ITEM = 32
_TEXTS = ("image", "uid", "kind", "wkt", "members", "caption", "source", "model")
_EDGES = ("x", "y", "w", "h")
_NUMBERS = ("score", *_EDGES)
_REQUIRED = ("image", "kind", "wkt")
# An extra may take the place of an edge: those can be had from the region again.
_TAKEN = (*_TEXTS, "score")


def knows(head: Head) -> bool:
    """Whether a file is Parquet, or a folder holds Parquet files."""
    return head.start.startswith(_MAGIC) or (
        head.path.is_dir() and next(_files(head.path), None) is not None
    )


def _files(folder: Path) -> Iterator[Path]:
    """Yield the Parquet files in a folder and those within."""
    return (path for path in folder.rglob("*.parquet") if path.is_file())


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a Parquet file; every kind of region has a place."""
    table.check_unique(annotations)
    data = io.BytesIO()
    extras = table.extra_names(annotations)
    schema = table_of([], extras).schema
    rest = iter(annotations)
    try:
        with parquet_modules()[1].ParquetWriter(data, schema, compression="zstd") as writer:
            # A group of rows at a time, so that no more records than those are held.
            while group := list(itertools.islice(rest, _ROWS_PER_GROUP)):
                writer.write_table(table_of(group, extras))
    except UnicodeEncodeError as error:
        raise FormatError(f"a text is no Unicode, so no table can hold it ({error})") from error
    write_bytes(path, data.getvalue())
    return ()


def parquet_modules() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise FormatError(
            f"Parquet needs pyarrow, which is not installed; run: {pip_install('pyarrow')}"
        ) from error


def table_of(annotations: Sequence[Annotation], extras: Sequence[str] | None = None) -> Any:
    """Return annotations as a pyarrow table.

    Returns
    -------
    pyarrow.Table
        ``image, uid, kind, wkt, members, caption, source, model`` as text, ``score, x, y, w, h``
        (the box around the region, ``x y`` pixels with corners at integers) as numbers, missing
        where there is none, and the extras as text; an extra takes the place of a number of its
        name. Which columns are extras is in the metadata.
    """
    arrow, _ = parquet_modules()
    names = table.extra_names(annotations) if extras is None else extras
    held = table.extra_columns(names, _TAKEN)
    rows = [{"image": item.image, **texts.record_texts(item)} for item in annotations]
    none: list[float | None] = [None] * len(_EDGES)
    numbers = [[item.score, *(_edges(item.region) or none)] for item in annotations]
    columns = {
        name: arrow.array([row.get(name, "") for row in rows], arrow.string()) for name in _TEXTS
    }
    for place, name in enumerate(_NUMBERS):
        columns[name] = arrow.array([row[place] for row in numbers], arrow.float64())
    for column, name in held.items():
        values = [item.extra.get(name) for item in annotations]
        columns[column] = arrow.array(values, arrow.string())
    return arrow.table(columns).replace_schema_metadata({_EXTRAS: json.dumps(list(held))})


def _edges(region: Region) -> list[float] | None:
    """Return ``x, y, width, height`` around a region; None around the whole image."""
    parts = region.parts()
    if any(part.kind == "image" for part in parts):
        return None
    ends = [
        part.outline() if isinstance(part, Ellipse) else part.bounds().coords() for part in parts
    ]
    points = to_xy(np.concatenate(ends))
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def read(path: Path) -> list[Annotation]:
    """Read a Parquet file, or all those in a folder, in the order of their names."""
    files = sorted(_files(path)) if path.is_dir() else [path]
    results, places = [], []
    for file in files:
        with leaving_out("file", file.name) if len(files) > 1 else nullcontext():
            for number, (row, extras) in enumerate(_rows(file), start=1):
                where = f"{file.name}: row {number}"
                with leaving_out("row", where):
                    results.append(_annotation(row, extras, file.name, number))
                    places.append(where)
    return texts.with_unique_uids(results, places)


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield the cells of each row, a group in memory at a time, and the extras."""
    arrow, parquet = parquet_modules()
    charge_file(check_plain_file(path))
    try:
        coded = [item.name for item in parquet.read_schema(path) if _is_text(item.type)]
        with parquet.ParquetFile(path, read_dictionary=coded) as file:
            missing = [item for item in _REQUIRED if item not in file.schema_arrow.names]
            if missing:
                needed = ", ".join(map(repr, missing))
                raise FormatError(f"{path.name}: a table of regions needs the columns {needed}")
            extras = _extras(file.schema_arrow)
            # Lists within columns, which a few bytes may make as long as they like.
            columns = range(len(file.schema))
            nested = [n for n in columns if file.schema.column(n).max_repetition_level]
            groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
            count = sum(item.column(n).num_values for item in groups for n in nested)
            charge_bytes(_BYTES_PER_ITEM * count)
            for batch in file.iter_batches(batch_size=_ROWS_PER_GROUP):
                # Texts stay as they are coded until here: a few bytes may stand for the same long
                # text in every row.
                charge_bytes(sum(map(_bytes_of, batch.columns)))
                for row in batch.to_pylist():
                    charge_records()
                    yield row, extras
    except FormatError:
        raise
    except (OSError, ValueError, arrow.ArrowException) as error:
        why = " ".join(str(error).split())
        raise FormatError(f"{path.name}: cannot be read as Parquet ({why})") from error


def _is_text(kind: Any) -> bool:
    """Whether a type of Arrow is texts or bytes."""
    return str(kind) in ("string", "large_string", "binary", "large_binary")


def _bytes_of(column: Any) -> int:
    """Return how many bytes the values of a column take once each stands by itself."""
    arrow, compute = parquet_modules()[0], import_module("pyarrow.compute")
    if arrow.types.is_dictionary(column.type) and _is_text(column.type.value_type):
        lengths = compute.binary_length(column.dictionary).take(column.indices)
    elif _is_text(column.type):
        lengths = compute.binary_length(column)
    else:
        return int(column.nbytes)
    # As 64-bit numbers: their sum may not fit the 32 bits of one of them.
    return int(compute.sum(lengths.cast(arrow.int64())).as_py() or 0)


def _extras(schema: Any) -> list[str]:
    """Return the columns of the extras: as noted, or all that are not ours."""
    noted = (schema.metadata or {}).get(_EXTRAS.encode())
    known = (*_TEXTS, *_NUMBERS)
    try:
        names = parse_json(noted, "the names of the extras") if noted else None
    except FormatError:
        names = None  # somebody else's note, or a damaged one: the columns tell as well
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    return [name for name in schema.names if name not in known]


def _annotation(row: dict[str, Any], columns: Sequence[str], file: str, number: int) -> Annotation:
    where = f"{file}: row {number}"
    cells = {name: str(item) for name, item in row.items() if item is not None}
    extras = {table.extra_name(name, _TAKEN): cells[name] for name in columns if name in cells}
    image = cells.pop("image", "")
    ours = {name: cells[name] for name in (*_TEXTS, "score") if cells.get(name)}
    if not ours.get("uid"):
        ours["uid"] = f"row-{number}"
        note("no uid", f"{file}: rows without a uid get the number of their row as one")
    if ours.get("kind") not in KINDS:
        known = ", ".join(KINDS)
        raise FormatError(f"{where}: the kind {row['kind']!r} is unknown; it may be one of {known}")
    if "score" in ours and texts.parse_score(ours["score"]) is None:
        raise FormatError(f"{where}: the score {ours['score']!r} is not a finite number")
    held = {"wkt": "", **ours}
    with naming(where):
        record = texts.annotation_from_texts(held, drawn=None, image=image, caption=None)
        return replace(record, extra=extras)


FORMAT = Format(
    "parquet",
    "Parquet, one row per region",
    (".parquet",),
    read,
    write,
    knows,
    needs="parquet",
    any_view=True,
)
