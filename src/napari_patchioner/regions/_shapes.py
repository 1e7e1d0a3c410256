"""What a person can draw: geometry only, no napari object and no model.

All coordinates are ``(row, column)`` in full-resolution image pixels with pixel centres at
integers, as napari has them: the pixel ``(0, 0)`` fills the square from -0.5 to 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Point:
    """One position; it takes the patch it lies in.

    Attributes
    ----------
    row, column : float
        Position in image pixels, pixel centres at integers.
    """

    row: float
    column: float


@dataclass(frozen=True, eq=False, slots=True)
class Box:
    """An axis-aligned rectangle, given by its edges (not by pixel indices).

    Attributes
    ----------
    top, left, bottom, right : float
        Edges in image pixels; the box around the single pixel ``(0, 0)`` is
        ``Box(-0.5, -0.5, 0.5, 0.5)``.
    """

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True, eq=False, slots=True)
class Polygon:
    """A closed outline (polygon, lasso, rotated rectangle); the last vertex joins the first.

    Attributes
    ----------
    vertices : ndarray of float, shape (n, 2)
        ``(row, column)`` of each corner, ``n >= 3``, not repeated at the end.
    """

    vertices: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Ellipse:
    """An ellipse, possibly rotated, given by the four corners of its bounding rectangle.

    Attributes
    ----------
    corners : ndarray of float, shape (4, 2)
        ``(row, column)`` of the corners of the (possibly rotated) rectangle, in order around it.
    """

    corners: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Mask:
    """Any set of pixels: holes and separate parts included.

    Attributes
    ----------
    pixels : ndarray of bool, shape (height, width)
        True where the region is; its own corner sits at ``offset``.
    offset : tuple of int
        ``(row, column)`` of ``pixels[0, 0]`` in the image.
    """

    pixels: npt.NDArray[np.bool_]
    offset: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False, slots=True)
class Trace:
    """A pointer trace: every point counts, so a place passed twice weighs twice (eq. 2).

    Attributes
    ----------
    points : ndarray of float, shape (n, 2)
        ``(row, column)`` of the recorded positions, in the order they were made.
    connected : bool
        Bridge gaps wider than one patch with points one patch apart, because the pen passed
        there. False counts the recorded points and nothing else.
    """

    points: FloatArray
    connected: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class RegionSet:
    """Several regions captioned as one; patches shared by members weigh more (eq. 1).

    Attributes
    ----------
    members : tuple of Region
        At least one region; sets do not nest.
    union : bool
        Count a shared patch once instead.
    """

    members: tuple[Region, ...]
    union: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class WholeImage:
    """The whole image, whatever its size."""


Region: TypeAlias = "Point | Box | Polygon | Ellipse | Mask | Trace | RegionSet | WholeImage"


def united(region: Region) -> Region:
    """Return a region in which patches that members share count once."""
    return replace(region, union=True) if isinstance(region, RegionSet) else region
