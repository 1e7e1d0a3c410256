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
    from collections.abc import Callable

    from napari_patchioner.annotations._fields import Fields

Size = tuple[int, int]
_AT_ONCE = 2**18


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
    drawn = area_of(RegionSet(members) if len(members) > 1 else members[0])
    # An outline that crosses itself counts as pycocotools fills it.
    area = shapely.area(shapely.make_valid(drawn))
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
    shapely.prepare(area)
    pixels = np.zeros((max(bottom - top, 1), max(right - left, 1)), bool)
    x = np.arange(left, left + pixels.shape[1]) + 0.5
    # A few rows at a time: the places of all pixels would take forty times the mask.
    some = max(_AT_ONCE // len(x), 1)
    for row in range(0, len(pixels), some):
        y = np.arange(top + row, top + min(row + some, len(pixels)))[:, None] + 0.5
        pixels[row : row + some] = shapely.contains_xy(area, *np.broadcast_arrays(x, y))
    return Mask(pixels, (top, left))


def coco_region(entry: Fields, tell: Callable[[str], None] = lambda _: None) -> Region | None:
    """Return the region of an annotation; the whole image where there is no outline at all.

    Parameters
    ----------
    entry : Fields
        The annotation.
    tell : callable
        Is told what of the outline makes no sense; the rest, or the box, is taken.

    Returns
    -------
    Region or None
        None for runs without a single pixel.

    Raises
    ------
    FormatError
        If nothing that is given makes sense.
    """
    given = entry.take("bbox", object, [])
    outlined = entry.take("segmentation", object, [])
    try:
        drawn = _outlined(outlined, entry, tell)
    except FormatError as error:
        if given == []:
            raise
        drawn = _box(given, entry)
        tell(f"{error}; its box is taken")
        return drawn
    if drawn is not None or isinstance(outlined, dict):
        return drawn
    return _box(given, entry) if given != [] else WholeImage()


def _outlined(outlined: Any, entry: Fields, tell: Callable[[str], None]) -> Region | None:
    """Return the region that a segmentation shows; None if it is empty."""
    if isinstance(outlined, dict):
        return _mask(outlined, entry)
    if not isinstance(outlined, list):
        raise entry.error("'segmentation' must be a list of polygons, or runs of pixels")
    if outlined and all(isinstance(one, int | float) for one in outlined):
        outlined = [outlined]
    rings = [(ring, _ring(ring)) for ring in outlined if ring]
    sound = [points for _, points in rings if points is not None]
    if len(sound) < len(rings):
        problem = "a polygon in 'segmentation' must be x1, y1, x2, y2, x3, y3, ..."
        if not sound:
            raise entry.error(problem)
        tell(f"{entry.where}: {problem}; the other polygons are taken")
    if len(sound) == 1:
        return polygon_of(sound[0])
    return RegionSet(tuple(map(polygon_of, sound)), union=True) if sound else None


def _box(given: Any, entry: Fields) -> Box:
    """Return a box from its edges, which may be numbers or texts of numbers."""
    try:
        x, y, width, height = (float(edge) for edge in given)
    except (TypeError, ValueError, OverflowError):
        x = y = width = height = np.nan
    if not np.isfinite([x, y, width, height]).all() or min(width, height) < 0:
        raise entry.error("'bbox' must be x, y, width and height")
    return Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)


def _ring(ring: Any) -> Any:
    """Return a ring in ``x y``, shape (n, 2); None if it is none."""
    try:
        points = np.array(ring, float)
    except (TypeError, ValueError, OverflowError):
        return None
    flat = points.ndim == 1 and len(points) % 2 == 0
    pairs = points.ndim == 2 and points.shape[1] == 2
    if not (flat or pairs) or points.size < 6 or not np.isfinite(points).all():
        return None
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
