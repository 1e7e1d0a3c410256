"""What COCO shows of a region, and the region that COCO shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely

from napari_patchioner.annotations.rle import (
    decode_runs,
    encode_runs,
    mask_in_image,
    runs_in_image,
)
from napari_patchioner.annotations.xy import area_of, polygon_of, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, Region, RegionSet, WholeImage, is_tangled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations.fields import Fields

Size = tuple[int, int]
FloatArray: TypeAlias = "npt.NDArray[np.float64]"
BoolArray: TypeAlias = "npt.NDArray[np.bool_]"
_AT_ONCE = 2**20
# Pixels along the sides of a picture in which a tangled outline is filled.
_TANGLED = 2048


def coco_drawing(region: Region, size: Size | None) -> dict[str, Any]:
    """Return ``segmentation, bbox, area`` of a region in ``x y``, pixel corners at integers."""
    kinds = {part.kind for part in region.parts()}
    if "mask" in kinds:
        return _runs(region, _known(size))
    if "image" in kinds:
        region = region.for_image(*_known(size))
    members = region.parts()
    rings = [to_xy(ring) for ring in region.rings()]
    points = np.concatenate(rings)
    low, high = points.min(axis=0), points.max(axis=0)
    if any(map(is_tangled, rings)):
        area = float(sum(map(_filled_area, rings)))
    else:
        # An outline that crosses itself counts as pycocotools fills it.
        area = float(shapely.area(area_of(RegionSet(members))))
    return {
        "segmentation": [ring.ravel().tolist() for ring in rings],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": area,
    }


def _filled_area(ring: FloatArray) -> float:
    """Return about how much an outline encloses that crosses itself too often to be sorted out."""
    low = ring.min(axis=0)
    scale = _TANGLED / max(float(np.ptp(ring, axis=0).max()), 1e-9)
    pixels = _filled([(ring - low) * scale], (_TANGLED, _TANGLED), (0, 0))
    return float(np.count_nonzero(pixels)) / scale**2


def _filled(rings: Sequence[FloatArray], shape: Size, corner: tuple[int, int]) -> BoolArray:
    """Return the pixels whose centres closed outlines ``(x, y)`` go around oddly often.

    Parameters
    ----------
    rings : sequence of ndarray of float, shape (n, 2)
        Outlines and holes.
    shape, corner : tuple of int
        ``(rows, columns)`` of the pixels, and the row and the column of the first.
    """
    height, width = shape
    # True where a row comes to an edge: right of it, all is the other way round.
    turns = np.zeros((height, width + 1), bool)
    for ring in rings:
        points = np.asarray(ring, float) - [corner[1] + 0.5, corner[0] + 0.5]
        (x, y), (x_next, y_next) = points.T, np.roll(points, -1, axis=0).T
        first = np.ceil(np.minimum(y, y_next)).clip(0, height).astype(np.int64)
        count = np.ceil(np.maximum(y, y_next)).clip(0, height).astype(np.int64) - first
        ends = np.cumsum(count)
        for start in range(0, int(ends[-1]), _AT_ONCE):
            met = np.arange(start, min(start + _AT_ONCE, int(ends[-1])))
            edge = np.searchsorted(ends, met, side="right")
            row = first[edge] + met - (ends[edge] - count[edge])
            part = (row - y[edge]) / (y_next[edge] - y[edge])
            at = np.ceil(x[edge] + part * (x_next[edge] - x[edge])).clip(0, width)
            np.logical_xor.at(turns, (row, at.astype(np.int64)), True)
    return np.asarray(np.logical_xor.accumulate(turns, axis=1, out=turns)[:, :width])


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
    """Return the pixels whose centres lie within any area of a set."""
    region = region.for_image(*size)
    (low, _, high, _) = region.bounds().coords()
    top, left = np.floor(low).clip(0, size).astype(int).tolist()
    bottom, right = np.ceil(high + 1).clip(0, size).astype(int).tolist()
    if bottom <= top or right <= left:
        return Mask(np.zeros((1, 1), bool))
    pixels = np.zeros((bottom - top, right - left), bool)
    for one in region.parts():
        if isinstance(one, Mask):
            _paste(one, pixels, (top, left))
        else:
            ring = one.outline()
            if ring is None:
                raise FormatError("a set with a mask may hold areas only")
            pixels |= _filled([to_xy(ring)], pixels.shape, (top, left))
    return Mask(pixels, (top, left))


def _paste(mask: Mask, pixels: BoolArray, corner: tuple[int, int]) -> None:
    """Add the pixels of a mask to those of a part of the image."""
    row, column = mask.offset[0] - corner[0], mask.offset[1] - corner[1]
    own = np.asarray(mask.pixels, bool)[max(-row, 0) :, max(-column, 0) :]
    there = pixels[max(row, 0) :, max(column, 0) :]
    height, width = np.minimum(own.shape, there.shape)
    there[:height, :width] |= own[:height, :width]


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
