"""Which plane of an image of more than two dimensions a region lies in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._annotation import Annotation

PLANE = "plane"
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


def plane_text(time: int, depth: int) -> str:
    """Return the text for a plane; undoes `time_and_depth`.

    >>> plane_text(0, 5), plane_text(2, 5)
    ('5', '2 5')
    """
    return f"{time} {depth}" if time else f"{depth}"
