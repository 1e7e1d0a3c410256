"""Which plane of an image of more than two dimensions a region lies in.

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
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from ._annotation import Annotation

PLANE = "plane"
CHANNEL = "channel"
"""The extra that holds which channel, from 0, a region was drawn for; it is captioned on all."""

# Of a region drawn in another view of a stack than the usual one: the two axes it lies along.
AXES = "axes"
# Vertices that lie further apart than this, in pixels, are not at one place of an axis.
FLAT = 0.5
_PAIR = re.compile(r"(\d+) (\d+)\Z")
_INDEX = re.compile(r"\d+( \d+)?\Z")


def time_and_depth(annotation: Annotation) -> tuple[int, int] | None:
    """Return ``(t, z)`` for formats that know two more axes; None where a region is in no plane.

    The extra ``"plane"`` holds one whole number (z) or two (t and z). A region of an image with
    more axes, or between two planes, is in none here; the exact text is carried along.

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


_Number = TypeVar("_Number", int, float)


def fitted(plane: Sequence[_Number], axes: int) -> list[_Number] | None:
    """Return the position along so many axes that the numbers of a plane mean.

    Parameters
    ----------
    plane : sequence of int or float
        The numbers in the extra ``"plane"``.
    axes : int
        How many axes an image has before row and column.

    Returns
    -------
    list of int or float, or None
        One number per axis; None if the plane lies elsewhere along axes that are not there.

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

    Parameters
    ----------
    vertices : array_like of float, shape (n, ndim)
        In image pixels, all axes.

    Returns
    -------
    tuple of int, optional
        The last two axes, which show rows and columns, unless the shape leaves their plane; None
        where it lies on no plane at all.

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
