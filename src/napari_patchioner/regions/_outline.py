"""Refuse an outline that crosses itself, and say where it does."""

from __future__ import annotations

import re
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.errors import RegionError

FloatArray: TypeAlias = npt.NDArray[np.float64]


def check_outline(vertices: FloatArray) -> None:
    """Accept a simple outline, one that only touches itself, or one without any area.

    Parameters
    ----------
    vertices : ndarray of float, shape (n, 2)
        ``(row, column)`` of the corners in image pixels.

    Raises
    ------
    RegionError
        The outline crosses itself; the sentence names the place.
    """
    if len(vertices) < 4 or is_flat(vertices):
        return
    outline = shapely.Polygon(vertices[:, ::-1])
    if shapely.is_valid(outline):
        return
    # Where an outline crosses itself, signed areas cancel or pile up; where it only touches
    # itself they do not.
    if np.isclose(shapely.area(shapely.make_valid(outline)), signed_area(vertices), rtol=1e-6):
        return
    raise RegionError(
        f"The outline crosses itself near {_place(shapely.is_valid_reason(outline))}: "
        "draw it again without the loop."
    )


def is_flat(vertices: FloatArray) -> bool:
    """Whether all vertices lie on one line."""
    offsets = vertices - vertices.mean(axis=0)
    spread = np.linalg.svd(offsets, compute_uv=False)
    return len(spread) < 2 or bool(spread[1] <= 1e-9 * max(1.0, spread[0]))


def signed_area(vertices: FloatArray) -> float:
    """Size of the signed area inside a closed outline, in square units of its coordinates."""
    rows, columns = (vertices - vertices.mean(axis=0)).T
    return float(abs(rows @ np.roll(columns, -1) - columns @ np.roll(rows, -1)) / 2)


def _place(reason: str) -> str:
    """Turn ``Self-intersection[12 34]`` (x, y) into words."""
    found = re.search(r"\[(\S+) (\S+)\]", reason)
    if found is None:
        return "one of its corners"
    return f"row {float(found[2]):.0f}, column {float(found[1]):.0f}"
