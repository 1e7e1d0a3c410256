"""The patches of several regions taken together, shared ones counted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from ._areas import TOUCH, box_corners, ellipse_vertices
from ._outline import enclosed
from ._ring_areas import ring_areas
from ._shapes import Box, Ellipse, Mask, Polygon, Region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._placement import Placement
    from ._weights import PatchWeights

FloatArray: TypeAlias = npt.NDArray[np.float64]


def united_touch(covers: Sequence[PatchWeights]) -> FloatArray:
    """Give one to each patch that any member takes, shape (rows, columns)."""
    taken = np.zeros(covers[0].grid_shape)
    for member in covers:
        taken.flat[member.indices] = 1.0
    return taken


def united_areas(
    members: Sequence[Region], covers: Sequence[PatchWeights], transform: Placement
) -> FloatArray:
    """Measure the share of each patch that the members cover together.

    Parameters
    ----------
    members : sequence of Region
        No sets among them, each inside the grid at least in part.
    covers : sequence of PatchWeights
        Their own shares, which stand for members without area (points, traces, lines).
    transform : GridTransform
        Where the patches lie.

    Returns
    -------
    ndarray of float, shape (rows, columns)
        Covered fractions, 0..1.
    """
    shares = np.zeros(transform.grid_shape)
    outlines = []
    for member, weights in zip(members, covers, strict=True):
        outline = _outline(member)
        if outline is None or shapely.area(outline) == 0:
            shares.flat[weights.indices] = 1.0
        else:
            outlines.append(outline)
    for part in shapely.get_parts(shapely.union_all(outlines)) if outlines else ():
        shares += _polygon_areas(part, transform)
    return np.where(shares > TOUCH, shares.clip(0.0, 1.0), 0.0)


def _outline(member: Region) -> shapely.Geometry | None:
    """Return the inside of a region as (x, y) geometry; None where it has none."""
    if isinstance(member, Box):
        return shapely.make_valid(shapely.Polygon(box_corners(member)[:, ::-1]))
    if isinstance(member, Ellipse):
        return shapely.make_valid(shapely.Polygon(ellipse_vertices(member)[:, ::-1]))
    if isinstance(member, Polygon) and len(member.vertices) > 2:
        return enclosed(np.asarray(member.vertices)[:, ::-1])
    if isinstance(member, Mask):
        return _runs(member)
    return None


def _runs(mask: Mask) -> shapely.Geometry:
    """Join the horizontal runs of a mask."""
    padded = np.pad(np.asarray(mask.pixels, np.int8), ((0, 0), (1, 1)))
    rows, starts = np.nonzero(np.diff(padded) == 1)
    _, stops = np.nonzero(np.diff(padded) == -1)
    top, left = mask.offset[0] + rows - 0.5, mask.offset[1] - 0.5
    return shapely.union_all(shapely.box(left + starts, top, left + stops, top + 1))


def _polygon_areas(part: shapely.Geometry, transform: Placement) -> FloatArray:
    """Shares of one polygon, its holes taken out; zero for the lines a union may leave."""
    if not isinstance(part, shapely.Polygon):
        return np.zeros(transform.grid_shape)
    rings = [
        ring_areas(
            transform.to_grid(shapely.get_coordinates(ring)[:-1, ::-1]), transform.grid_shape
        )
        for ring in (part.exterior, *part.interiors)
    ]
    return rings[0] - sum(rings[1:], start=np.zeros(transform.grid_shape))
