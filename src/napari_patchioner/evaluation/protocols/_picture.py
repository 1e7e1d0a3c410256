"""An image of a page, with a region drawn over it; nothing outside the page is needed."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from napari_patchioner.backbones import as_rgb, read_image
from napari_patchioner.errors import PatchionerError
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

Place: TypeAlias = tuple[float, float]
_SIDE = 420


def embedded(path: Path) -> tuple[str, int, int] | None:
    """Read an image as a data URI of a small JPEG.

    Parameters
    ----------
    path : Path

    Returns
    -------
    uri : str
    width, height : int
        Of the image in full; None instead of all three where it cannot be read.
    """
    try:
        pixels = as_rgb(read_image(path))
    except PatchionerError:
        return None
    picture = Image.fromarray(pixels)
    width, height = picture.size
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    code = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{code}", width, height


def outline(region: Region) -> str:
    """Draw a region as SVG elements, x and y in image pixels with pixel corners at integers."""
    match region:
        case Box():
            corners = [(region.top, region.left), (region.bottom, region.right)]
            (left, top), (right, bottom) = _xy(corners)
            size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
            return f'<rect x="{left:.1f}" y="{top:.1f}" {size}/>'
        case Polygon():
            return f'<polygon points="{_points(region.vertices)}"/>'
        case Ellipse():
            return f'<polygon points="{_points(_around(np.asarray(region.corners)))}"/>'
        case Trace():
            return f'<polyline points="{_points(region.points)}"/>'
        case Point():
            ((x, y),) = _xy([(region.row, region.column)])
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        case Mask():
            return _mask(region)
        case RegionSet():
            return "".join(map(outline, region.members))
        case WholeImage():
            return ""


def _mask(mask: Mask) -> str:
    """Box of a mask: its every pixel would make the page heavy."""
    places = np.argwhere(mask.pixels) + mask.offset
    (top, left), (bottom, right) = places.min(axis=0) - 0.5, places.max(axis=0) + 0.5
    return outline(Box(float(top), float(left), float(bottom), float(right)))


def _around(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None]
    along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    ring = corners.mean(axis=0) + np.cos(turns) * along + np.sin(turns) * across
    return np.asarray(ring, np.float64)


def _points(places: npt.ArrayLike) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in _xy(np.asarray(places)))


def _xy(places: npt.NDArray[np.float64] | Sequence[Place]) -> list[Place]:
    return [(float(column) + 0.5, float(row) + 0.5) for row, column in places]
