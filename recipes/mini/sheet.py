"""A page of pictures with what the model said under each, good and bad as they come."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from napari_patchioner.regions import Box, Mask, Polygon, Trace

from .drawn import outline_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.regions import Region

TILE = 300
TEXT = 60
COLUMNS = 5
INK = (255, 40, 0)

Tile = tuple[npt.NDArray[np.uint8], "Region | None", str]


def contact_sheet(tiles: Sequence[Tile], columns: int = COLUMNS) -> Image.Image:
    """Lay pictures out in rows, each with its region drawn and its caption below.

    Parameters
    ----------
    tiles : sequence of (pixels, region, caption)
        ``pixels`` is (height, width, 3) uint8; a region of None draws nothing.
    columns : int
        Pictures in a row.

    Returns
    -------
    PIL.Image.Image
    """
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + TEXT)), "white")
    for number, (pixels, region, caption) in enumerate(tiles):
        left, top = number % columns * TILE, number // columns * (TILE + TEXT)
        picture = Image.fromarray(pixels)
        if region is not None:
            _draw(picture, region)
        picture.thumbnail((TILE - 8, TILE - 8))
        sheet.paste(picture, (left + 4, top + 4))
        lines = "\n".join(textwrap.wrap(f"{number + 1}. {caption}", 38)[:3])
        font = ImageFont.load_default(14)
        ImageDraw.Draw(sheet).multiline_text((left + 5, top + TILE), lines, "black", font)
    return sheet


def _draw(picture: Image.Image, region: Region) -> None:
    pen = ImageDraw.Draw(picture)
    width = max(3, max(picture.size) // 150)
    points = _path(region)
    if points is not None:
        pen.line([(x, y) for y, x in points], fill=INK, width=width, joint="curve")


def _path(region: Region) -> list[tuple[float, float]] | None:
    """``(row, column)`` of the line that shows a region."""
    match region:
        case Box(top, left, bottom, right):
            return [(top, left), (top, right), (bottom, right), (bottom, left), (top, left)]
        case Polygon(vertices):
            return [(float(row), float(column)) for row, column in [*vertices, vertices[0]]]
        case Trace(points):
            return [(float(row), float(column)) for row, column in points]
        case Mask(pixels):
            return _path(outline_of(pixels))
        case _:
            return None
