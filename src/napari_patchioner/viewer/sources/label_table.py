"""The features table of a labels layer: one row per label, or per label and plane in a stack.

napari finds a row by its column ``index``, the label. In a stack the column ``plane`` says where,
and the rows of the plane on display come last, which are the ones napari then shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.viewer.canvas.table import COLUMNS
from napari_patchioner.viewer.canvas.table import read_rows as read_all

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import napari

    from napari_patchioner.viewer.session.record import Plane, Row

INDEX, PLANE = "index", "plane"
Place = tuple[str, int]


def place(plane: Plane, value: int) -> Place:
    """Return how the table names a label on a plane.

    >>> from napari_patchioner.viewer.session.record import Plane
    >>> place(Plane((1, 2), (4,)), 7)
    ('4', 7)
    """
    return " ".join(map(str, plane.index)), value


def read_rows(layer: napari.layers.Labels) -> dict[Place, Row]:
    """Return the rows of the table by plane and label."""
    rows = {}
    for row in read_all(layer):
        where = _place(row.extras)
        if where is not None:
            rows[where] = row
    return rows


def write_rows(
    layer: napari.layers.Labels, rows: Mapping[tuple[Plane, int], Row], planes: Collection[Plane]
) -> None:
    """Replace our columns; rows of planes not seen yet and other people's columns are kept.

    Parameters
    ----------
    layer : napari.layers.Labels
        Whose table is written.
    rows : mapping of (Plane, int) to Row
        All labels seen.
    planes : collection of Plane
        Where labels have been looked for; other rows there are of labels that are gone, unless
        they are not ours.
    """
    import pandas as pd

    looked = {place(plane, 0)[0] for plane in planes}
    lines: dict[Place, dict[str, Any]] = {}
    for where, row in read_rows(layer).items():
        if where[0] not in looked or not row.uid:
            lines[where] = _line(where, row)
    for (plane, value), row in rows.items():
        where = place(plane, value)
        lines.pop(where, None)
        lines[where] = _line(where, row)
    table = pd.DataFrame(list(lines.values()))
    if layer.ndim == 2 and PLANE in table:
        table = table.drop(columns=PLANE)
    layer.features = table


def _place(cells: Mapping[str, Any]) -> Place | None:
    """Return what a row is about; None if it does not say."""
    try:
        value = int(cells[INDEX])
    except (KeyError, TypeError, ValueError):
        return None
    plane = cells.get(PLANE, "")
    return (plane if isinstance(plane, str) else ""), value


def _line(where: Place, row: Row) -> dict[str, Any]:
    ours = {INDEX: where[1], PLANE: where[0]} | {name: getattr(row, name) for name in COLUMNS}
    return ours | {name: value for name, value in row.extras.items() if name not in ours}
