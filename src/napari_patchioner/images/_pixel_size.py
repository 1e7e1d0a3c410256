"""What files say of the size of their pixels."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_patchioner.errors import ImageError

from . import _tiff
from ._stored import COLUMN, ROW
from ._zarr import is_zarr, ome_scale

if TYPE_CHECKING:
    from tifffile import TiffFile

# Height and width of a pixel, each with the name of its unit.
PixelSides: TypeAlias = tuple[tuple[float, str], tuple[float, str]]

_MICROMETRES = "µm"
# ImageJ writes what an ASCII field cannot hold as an escape.
_IMAGEJ_UNITS = {"\\u00B5m": _MICROMETRES, "\\u00b5m": _MICROMETRES}
_X_RESOLUTION, _Y_RESOLUTION = 282, 283


def pixel_sides(path: str | os.PathLike[str]) -> PixelSides | None:
    """Height and width of a pixel as an image file says, None where it does not.

    Parameters
    ----------
    path : path-like
        An OME-TIFF, a TIFF by ImageJ, the folder of an OME-Zarr image; of others nothing is known.

    Returns
    -------
    tuple of (float, str), or None
        Height and width, each with the name of its unit as the file writes it.
    """
    path = Path(path)
    with suppress(ImageError, OSError):
        if path.is_dir():
            scale = ome_scale(path) if is_zarr(path) else {}
            return (scale[ROW], scale[COLUMN]) if {ROW, COLUMN} <= scale.keys() else None
        with path.open("rb") as file:
            if not _tiff.is_tiff(file.read(8)):
                return None
        with _tiff.reading_tiff(path) as tiff:
            return _of_ome(tiff) if tiff.is_ome else _of_imagej(tiff)
    return None


def _of_ome(tiff: TiffFile) -> PixelSides | None:
    """Height and width in the first image of OME-XML, whose lengths are micrometres unless said."""
    from xml.etree import ElementTree

    with suppress(ElementTree.ParseError, ValueError):
        for element in ElementTree.fromstring(tiff.ome_metadata or "").iter():  # noqa: S314
            if element.tag.rpartition("}")[2] == "Pixels":
                return _sides(
                    (element.get(f"PhysicalSize{axis}"), element.get(f"PhysicalSize{axis}Unit"))
                    for axis in "YX"
                )
    return None


def _of_imagej(tiff: TiffFile) -> PixelSides | None:
    """Height and width where ImageJ names a unit; resolutions are pixels in a unit of it."""
    about: Mapping[str, Any] = tiff.imagej_metadata or {}
    unit = str(about.get("unit", ""))
    tags = tiff.pages.first.tags
    lengths = []
    for code in (_Y_RESOLUTION, _X_RESOLUTION):
        tag = tags.get(code)
        pixels, units = tag.value if tag is not None else (0, 0)
        lengths.append((units / pixels if pixels else None, _IMAGEJ_UNITS.get(unit, unit)))
    return _sides(lengths) if unit else None


def _sides(lengths: Iterable[tuple[object, str | None]]) -> PixelSides | None:
    """Two lengths, None where one is no number above 0."""
    sides = []
    for length, unit in lengths:
        side = float(str(length or 0))
        if not 0 < side < math.inf:
            return None
        sides.append((side, unit or _MICROMETRES))
    height, width = sides
    return height, width
