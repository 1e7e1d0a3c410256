"""Boxes in tables of other programs: four numbers, each in a column of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box

from .notes import leaving_out
from .table import Table
from .wkt import region_to_text
from .xy import from_xy

BOX_COLUMNS = ("x1", "y1", "x2", "y2")
"""The columns as a person is asked for them."""

# Names of four columns in lower case, letters and digits alone: two corners, or one and the size.
# ImageJ's Results table and scikit-image's table of properties are among them.
_CORNERS = (
    BOX_COLUMNS,
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("minx", "miny", "maxx", "maxy"),
    ("left", "top", "right", "bottom"),
    ("bbox1", "bbox0", "bbox3", "bbox2"),
)
_SIZES = (
    ("bx", "by", "width", "height"),
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("left", "top", "width", "height"),
)
# What tables call the image, where no column has our own name for it.
_IMAGES = ("filename", "imagename", "imagepath", "imagefile", "file", "path")


def has_boxes(columns: Sequence[str]) -> bool:
    """Whether a table with these columns has a box in each row.

    >>> has_boxes(["image", "X_min", "X_max", "Y_min", "Y_max"]), has_boxes(["x", "y"])
    (True, False)
    >>> has_boxes(['"x": 1', '"y": 1', '"x": 2', '"y": 2'])  # a line of JSON
    False
    """
    return bool(_ways(columns))


def with_outlines(table: Table) -> Table:
    """Return a table of boxes with the columns of a tidy table added; others stay as they are.

    ``x y`` are pixels, pixel corners at integers, in either order of the corners. Rows without a
    box of some area are left out, and noted. A FormatError where the columns can be read in two
    ways, or where the boxes are shares of an image rather than pixels.
    """
    ways = _ways(table.columns)
    if len(ways) > 1:
        shown = " and ".join(", ".join(table.columns[place] for place in way) for way, _ in ways)
        raise FormatError(f"{table.name}: row 1: has boxes twice ({shown}); delete one of both")
    [(places, is_size)] = ways
    names = [table.columns[place] for place in places]
    made: list[tuple[int, tuple[str, ...]]] = []
    largest = 0.0
    for row, cells in table.rows:
        with leaving_out("row", f"{table.name}: row {row}"):
            numbers = [
                table.number(row, name, cells[place])
                for name, place in zip(names, places, strict=True)
            ]
            first, second = np.array(numbers[:2]), np.array(numbers[2:])
            second = first + second if is_size else second
            corners = np.sort([first, second], axis=0)
            if not (corners[0] < corners[1]).all():
                raise table.error(row, names[2], "the box has no area")
            largest = max(largest, float(np.abs(corners).max()))
            (top, left), (bottom, right) = from_xy(corners).tolist()
            made.append((row, (*cells, "box", region_to_text(Box(top, left, bottom, right)))))
    if made and largest <= 1:
        raise FormatError(
            f"{table.name}: its boxes are shares of an image, from 0 to 1, and no pixels; multiply "
            "them by its width and height"
        )
    # A column of somebody else's that has the name of one of ours is an extra.
    columns = tuple("extra:kind" if name == "kind" else name for name in table.columns)
    table = replace(table, columns=(*columns, "kind", "wkt"), rows=tuple(made))
    if "image" in columns:
        return table
    plain = [_plain(name) for name in columns]
    at = next((plain.index(name) for name in _IMAGES if name in plain), None)
    rows = tuple((row, (*cells, "" if at is None else cells[at])) for row, cells in made)
    return replace(table, columns=(*table.columns, "image"), rows=rows)


def _ways(columns: Sequence[str]) -> list[tuple[list[int], bool]]:
    """Return the places of four columns that are boxes, and whether the last two are its size."""
    plain = [_plain(name) for name in columns]
    corners = [names for names in _CORNERS if set(names) <= set(plain)]
    taken = {name for names in corners for name in names}
    sizes = [names for names in _SIZES if set(names) <= set(plain) and not taken & {*names[:2]}]
    # ImageJ's X and Y are the middle.
    sizes = sizes[:1] if _SIZES[0] in sizes else sizes
    ways = [(names, False) for names in corners] + [(names, True) for names in sizes]
    return [([plain.index(name) for name in names], is_size) for names, is_size in ways]


def _plain(name: str) -> str:
    """Return the name of a column without what programs add to it; empty for a piece of JSON."""
    if re.search(r'["{:]', name):
        return ""
    return re.sub(r"^bbox(?=[a-z])", "", re.sub(r"[^a-z0-9]", "", name.lower()))
