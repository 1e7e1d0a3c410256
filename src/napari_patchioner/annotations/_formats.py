"""Every file format for annotations, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError

from ._napari_csv import NAPARI_COLUMNS, parse_napari_csv, write_napari_csv
from ._table import Table, read_table
from ._tidy_csv import TIDY_COLUMNS, parse_tidy_csv, write_tidy_csv

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from ._annotation import Annotation


@dataclass(frozen=True, slots=True)
class Format:
    """A table format for annotations.

    Attributes
    ----------
    title : str
        What a person calls it.
    columns : tuple of str
        The columns by which a table is known to be of this format.
    parse : callable
        Turns a `Table` into annotations.
    write : callable
        Writes annotations to a path and returns those the format cannot hold.
    """

    title: str
    columns: tuple[str, ...]
    parse: Callable[[Table], list[Annotation]]
    write: Callable[[str | os.PathLike[str], Sequence[Annotation]], tuple[Annotation, ...]]


FORMATS: dict[str, Format] = {
    "tidy": Format("Tidy table, one row per region", TIDY_COLUMNS, parse_tidy_csv, write_tidy_csv),
    "napari": Format("napari shapes", NAPARI_COLUMNS, parse_napari_csv, write_napari_csv),
}


def read_annotations(path: str | os.PathLike[str]) -> list[Annotation]:
    """Read annotations from a table of any known format, told apart by the header.

    Parameters
    ----------
    path : path-like
        A tidy table or a napari table of shapes.

    Returns
    -------
    list of Annotation
        Coordinates in ``(row, column)`` image pixels, pixel centres at integers.

    Raises
    ------
    FormatError
        One sentence that names the file and, where it can, the row and the column.
    """
    table = read_table(path)
    shared = {name: len(set(form.columns) & set(table.columns)) for name, form in FORMATS.items()}
    complete = [name for name, form in FORMATS.items() if set(form.columns) <= set(table.columns)]
    likeliest = complete[0] if complete else max(shared, key=lambda name: shared[name])
    if shared[likeliest] == 0:
        known = " or ".join(", ".join(form.columns) for form in FORMATS.values())
        raise FormatError(
            f"{table.name}: row 1: is no table of regions; its columns must be {known}"
        )
    return FORMATS[likeliest].parse(table)
