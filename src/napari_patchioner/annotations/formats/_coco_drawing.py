"""What COCO shows of a region, and the region that COCO shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from napari_patchioner.annotations._areas import area_of, outline, polygon_of, whole_box
from napari_patchioner.annotations._outlines import to_xy
from napari_patchioner.annotations._rle import (
    decode_runs,
    encode_runs,
    mask_in_image,
    runs_in_image,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, Region, RegionSet, WholeImage

if TYPE_CHECKING:
    from napari_patchioner.annotations._fields import Fields

Size = tuple[int, int]


def coco_drawing(region: Region, size: Size | None) -> dict[str, Any]:
    """Return ``segmentation, bbox, area`` of a region in ``x y``, pixel corners at integers."""
    if isinstance(region, WholeImage):
        return coco_drawing(whole_box(*_known(size)), size)
    members = region.members if isinstance(region, RegionSet) else (region,)
    if any(isinstance(member, Mask) for member in members):
        return _runs(region, _known(size))
    if any(isinstance(member, WholeImage) for member in members):
        whole = whole_box(*_known(size))
        members = tuple(whole if isinstance(one, WholeImage) else one for one in members)
    rings = [to_xy(outline(member)) for member in members]  # type: ignore[arg-type]
    points = np.concatenate(rings)
    low, high = points.min(axis=0), points.max(axis=0)
    area = shapely.area(area_of(RegionSet(members) if len(members) > 1 else members[0]))
    return {
        "segmentation": [ring.ravel().tolist() for ring in rings],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float(area),
    }


def _known(size: Size | None) -> Size:
    if size is None:
        raise FormatError(
            "the size of the image is missing, which a mask or the whole image needs here; "
            "give the image along with its regions"
        )
    return size


def _runs(region: Region, size: Size) -> dict[str, Any]:
    """Return the drawing of a mask, or of a set with masks, as runs of the whole image."""
    mask = region if isinstance(region, Mask) else _painted(region, size)
    runs = runs_in_image(mask, *size)
    within = mask_in_image(runs, *size)
    rows, columns = within.pixels.shape if within else (0, 0)
    top, left = within.offset if within else (0, 0)
    return {
        "segmentation": {"size": list(size), "counts": encode_runs(runs)},
        "bbox": [float(left), float(top), float(columns), float(rows)],
        "area": float(runs[1::2].sum()),
    }


def _painted(region: Region, size: Size) -> Mask:
    """Return the pixels whose centres lie within a set of areas."""
    members = region.members if isinstance(region, RegionSet) else (region,)
    whole = whole_box(*size)
    drawn = tuple(whole if isinstance(one, WholeImage) else one for one in members)
    area = shapely.intersection(area_of(RegionSet(drawn)), shapely.box(0, 0, size[1], size[0]))
    if area.is_empty:
        return Mask(np.zeros((1, 1), bool))
    left, top, right, bottom = (int(edge) for edge in np.ceil(shapely.bounds(area)))
    left, top = max(left - 1, 0), max(top - 1, 0)
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    shapely.prepare(area)
    return Mask(shapely.contains_xy(area, x, y), (top, left))


def coco_region(entry: Fields) -> Region | None:
    """Return the region of an annotation; the whole image where there is no outline at all.

    Returns
    -------
    Region or None
        None for runs without a single pixel.
    """
    bbox = entry.items("bbox", float, ())
    outlined = entry.take("segmentation", object, [])
    if isinstance(outlined, dict):
        return _mask(outlined, entry)
    if not isinstance(outlined, list):
        raise entry.error("'segmentation' must be a list of polygons, or runs of pixels")
    rings = [_ring(ring, entry) for ring in outlined if ring]
    if len(rings) == 1:
        return polygon_of(rings[0])
    if rings:
        return RegionSet(tuple(map(polygon_of, rings)), union=True)
    if not bbox:
        return WholeImage()
    if len(bbox) != 4 or not np.isfinite(np.array(bbox, float)).all() or min(bbox[2:]) < 0:
        raise entry.error("'bbox' must be x, y, width and height")
    x, y, width, height = bbox
    return Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)


def _ring(ring: Any, entry: Fields) -> Any:
    """Return a ring in ``x y``, shape (n, 2)."""
    try:
        points = np.array(ring, float)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise entry.error("a polygon in 'segmentation' must be x1, y1, x2, y2, x3, y3, ...")
    return points.reshape(-1, 2)


def _mask(runs: dict[str, Any], entry: Fields) -> Mask | None:
    """Return the mask that runs of a whole image are, counted or as text."""
    try:
        height, width = (int(edge) for edge in runs["size"])
        counts = runs["counts"]
        lengths = decode_runs(counts) if isinstance(counts, str) else np.array(counts, np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise entry.error(str(error)) from error
        raise entry.error("runs in 'segmentation' need 'size' and 'counts'") from error
    try:
        return mask_in_image(lengths, height, width)
    except FormatError as error:
        raise entry.error(str(error)) from error
