"""The outline of a region that was grown: one line around its pixels, without their steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from skimage.measure import find_contours

from napari_patchioner.regions import Mask, one_outline

from .segments import LONG_SIDE

Click: TypeAlias = tuple[float, float]

# How far, in steps of a mask, its outline may be off, the first that keeps clicks in their places.
_TOLERANCES = (0.75, 0.4, 0.0)
# Parts and holes of fewer steps along and across are specks.
_SPECK = 3.0


def region_outline(
    mask: Mask,
    image_shape: tuple[int, int],
    clicks: Sequence[Click] = (),
    negative: Sequence[Click] = (),
) -> npt.NDArray[np.float64]:
    """Return one outline around a region that was grown or proposed.

    Cuts lead to its holes and its separate parts. Specks are left out, and holes as small filled,
    unless they are clicked.

    Parameters
    ----------
    mask : Mask
        From `grow_region` or `propose_regions`.
    image_shape : tuple of int
        Height and width of the image.
    clicks, negative : sequence of (row, column)
        What lies in the region, and what does not.

    Returns
    -------
    ndarray of float, shape (n, 2)
        ``(row, column)`` in pixels of the image; the last vertex joins the first. Not empty where
        the mask is not.
    """
    step = max(1.0, max(image_shape) / LONG_SIDE)
    inside, outside = (
        shapely.points(np.reshape(places, (-1, 2))[:, ::-1]) for places in (clicks, negative)
    )
    area = _without_specks(_area(mask), (_SPECK * step) ** 2, inside, outside)
    for tolerance in _TOLERANCES:
        smooth = shapely.make_valid(shapely.simplify(area, tolerance * step))
        kept = shapely.intersects(smooth, inside).all()
        if kept and not shapely.contains_properly(smooth, outside).any():
            break
    return one_outline(smooth)


def _area(mask: Mask) -> shapely.Geometry:
    """Return what a mask encloses in ``x y``, its corners cut.

    In a tenth of the time that its pixels take to be put together.
    """
    padded = np.pad(np.asarray(mask.pixels, np.float32), 1)
    rings = [
        shapely.linestrings(ring[:, ::-1] + np.array(mask.offset)[::-1] - 1)
        for ring in find_contours(padded, 0.5)
    ]
    return shapely.build_area(shapely.geometrycollections(rings))


def _without_specks(
    area: shapely.Geometry, least: float, inside: npt.NDArray[np.object_], outside: object
) -> shapely.Geometry:
    """Return an area without small parts and small holes; the largest part stays."""
    parts = list(shapely.get_parts(area))
    largest = max(map(shapely.area, parts), default=0.0)
    kept = []
    for part in parts:
        size = shapely.area(part)
        if size < min(least, largest) and not shapely.intersects(part, inside).any():
            continue
        holes = [
            hole
            for hole in map(shapely.polygons, part.interiors)
            if shapely.area(hole) >= least or shapely.intersects(hole, outside).any()
        ]
        rings = [shapely.get_coordinates(hole) for hole in holes]
        kept.append(shapely.Polygon(part.exterior, rings))
    return shapely.MultiPolygon(kept)
