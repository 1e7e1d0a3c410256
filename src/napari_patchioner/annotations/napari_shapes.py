"""Regions as napari shapes and back, and the plane of a stack that a region lies in.

The extra ``"plane"`` holds whole numbers from 0, apart by spaces: the positions along the axes
before row and column, the last of them next to those. Two things follow.

- A format that names its axes (OME-XML, QuPath's GeoJSON, ImageJ's hyperstacks) and says both, a
  time and a depth, means both: frame 0 and slice 3 are ``"0 3"``, and not ``"3"``, which leaves
  the time open. `plane_text` of both numbers keeps both.
- Such a format says 0 along axes that the image does not have. Whoever goes to the plane of an
  image with fewer axes leaves out zeros, as `fitted` does: ``"0 3"`` is slice 3 of a stack without
  times, and ``"2 0"`` frame 2 of a stack without depth.

Older files say ``"3"`` for slice 3 of the first frame. They read as they did: where there are
more axes than numbers, the last axes are meant, and 0 along the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Ellipse, Polygon, Region, Trace, upright_box

from .record import Annotation

FloatArray: TypeAlias = npt.NDArray[np.float64]
PLANE = "plane"
CHANNEL = "channel"
"""The extra that holds which channel, from 0, a region was drawn for; it is captioned on all."""

# Of a region drawn in another view of a stack than the usual one: the two axes it lies along.
AXES = "axes"
# Vertices that lie further apart than this, in pixels, are not at one place of an axis.
FLAT = 0.5
_PAIR = re.compile(r"(\d+) (\d+)\Z")
_INDEX = re.compile(r"\d+( \d+)?\Z")
_SHAPE_TYPES = {"box": "rectangle", "polygon": "polygon", "ellipse": "ellipse", "trace": "path"}
_FEWEST_VERTICES = {"rectangle": 4, "ellipse": 4, "polygon": 3, "path": 1, "line": 2}
_Number = TypeVar("_Number", int, float)


def region_from_shape(vertices: npt.ArrayLike, shape_type: str) -> Region:
    """Return the region that a napari shape outlines.

    Parameters
    ----------
    vertices : array_like of float, shape (n, 2)
        ``(row, column)`` of the vertices in image pixels, pixel centres at integers.
    shape_type : {"rectangle", "ellipse", "polygon", "path", "line"}
        What napari calls the shape.

    Returns
    -------
    Region
        A `Box` for an upright rectangle, a `Polygon` for a turned one and for polygons and
        lassos, an `Ellipse`, or a `Trace` for paths and lines.

    Raises
    ------
    FormatError
        If the shape type is unknown, there are too few vertices, or one is not finite.

    >>> region_from_shape([[0, 0], [0, 4], [2, 4], [2, 0]], "rectangle")
    Box(top=0.0, left=0.0, bottom=2.0, right=4.0)
    """
    points = np.array(vertices, float)
    if shape_type not in _FEWEST_VERTICES:
        known = ", ".join(_FEWEST_VERTICES)
        raise FormatError(f"the shape type {shape_type!r} is unknown; it may be one of {known}")
    if points.ndim != 2 or points.shape[1] != 2:
        raise FormatError(f"vertices must have the shape (n, 2), but have {points.shape}")
    fewest = _FEWEST_VERTICES[shape_type]
    exact = shape_type in ("rectangle", "ellipse")
    if len(points) < fewest or (exact and len(points) != fewest):
        amount = f"{fewest}" if exact else f"at least {fewest}"
        raise FormatError(f"a {shape_type} needs {amount} vertices, but this one has {len(points)}")
    if not np.isfinite(points).all():
        raise FormatError(f"a vertex of this {shape_type} is not a finite number")
    if shape_type == "rectangle":
        # napari keeps single precision, so resizing leaves the corners a little off.
        tolerance = 1e-6 + 5e-7 * float(abs(points).max())
        return upright_box(points, tolerance=tolerance) or Polygon(points)
    if shape_type == "ellipse":
        return Ellipse(points)
    return Polygon(points) if shape_type == "polygon" else Trace(points)


def shape_from_region(region: Region) -> tuple[str, FloatArray] | None:
    """Return ``(shape_type, vertices)`` for napari, or None where napari has no such shape.

    Boxes, polygons, ellipses and traces of two points or more have one: vertices of shape (n, 2),
    ``(row, column)``, pixel centres at integers. Points, sets, masks and the whole image have none.

    >>> from napari_patchioner.regions import WholeImage
    >>> shape_from_region(WholeImage()) is None
    True
    """
    shape_type = _SHAPE_TYPES.get(region.kind)
    if shape_type is None or (shape_type == "path" and len(region.coords()) < 2):
        return None
    return shape_type, np.array(region.coords())


def time_and_depth(annotation: Annotation) -> tuple[int, int] | None:
    """Return ``(t, z)`` for formats that know two more axes; None where a region is in no plane.

    The extra ``"plane"`` holds one whole number (z) or two (t and z). A region of an image with
    more axes, or between two planes, is in none here; the exact text is kept all the same.

    >>> from napari_patchioner.annotations import Annotation
    >>> from napari_patchioner.regions import WholeImage
    >>> time_and_depth(Annotation("a", "", WholeImage(), extra={"plane": "2 5"}))
    (2, 5)
    """
    text = annotation.extra.get(PLANE, "")
    if not _INDEX.match(text):
        return None
    *first, depth = (int(number) for number in text.split())
    return (first[0] if first else 0), depth


def plane_text(time: int | None, depth: int | None) -> str:
    """Return the text for a plane; None where a file leaves the time or the depth open.

    >>> plane_text(0, 5), plane_text(None, 5), plane_text(2, None)
    ('0 5', '5', '2 0')
    """
    return f"{depth or 0}" if time is None else f"{time} {depth or 0}"


def fitted(plane: Sequence[_Number], axes: int) -> list[_Number] | None:
    """Return the position along so many axes that the numbers of a plane mean.

    ``axes`` is how many an image has before row and column. None if the plane lies elsewhere along
    axes that are not there.

    >>> fitted([0, 3], 1), fitted([2, 0], 1), fitted([3], 2), fitted([2, 5], 1)
    ([3], [2], [0, 3], None)
    """
    numbers = list(plane)
    while len(numbers) > axes and 0 in numbers:
        numbers.remove(0)
    if len(numbers) > axes:
        return None
    return [type(numbers[0])(0) if numbers else 0] * (axes - len(numbers)) + numbers


def axes_drawn_along(vertices: npt.ArrayLike) -> tuple[int, int] | None:
    """Return the two axes of a stack that a shape lies along, the usual ones where it can.

    The last two axes, which show rows and columns, unless the vertices, shape (n, ndim), leave
    their plane; None where they lie on no plane at all.

    >>> axes_drawn_along([[4, 0, 0], [4, 0, 9], [4, 5, 9]])
    (1, 2)
    >>> axes_drawn_along([[4, 7, 0], [4, 7, 9], [9, 7, 9]])
    (0, 2)
    """
    points = np.asarray(vertices, float)
    last = points.shape[1] - 2, points.shape[1] - 1
    wide = np.flatnonzero(np.ptp(points, axis=0) > FLAT).tolist() if len(points) else []
    if set(wide) <= set(last):
        return last
    if len(wide) == 1:
        return wide[0], last[1]
    return (wide[0], wide[1]) if len(wide) == 2 else None


def other_axes(annotation: Annotation) -> tuple[int, int] | None:
    """Return the axes that a region lies along if they are not the usual ones.

    >>> from napari_patchioner.annotations import Annotation
    >>> from napari_patchioner.regions import WholeImage
    >>> other_axes(Annotation("a", "", WholeImage(), extra={"plane": "5", "axes": "0 2"}))
    (0, 2)
    """
    match = _PAIR.match(annotation.extra.get(AXES, ""))
    return (int(match[1]), int(match[2])) if match else None
