"""The thing in the middle of a region of a picture that is no photograph, measured by itself."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.morphology import convex_hull_image

from napari_patchioner.bridges.appearance import AXES, HUES, LAB

from .appearance import oklab, separate_names, shapes_of
from .marks import Labels, measure_marks, split_marks

FloatArray: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]

# Long side, in pixels, at which a region and what is around it are looked at.
_SIDE = 200
_SIGMA = 0.8
# Axes of what stands out.
_STANDING = tuple(name for name in AXES if name.startswith(("marks_", "line_")))
# How far from the ground a thing is, in units of Oklab times 100.
_CONTRAST = 6.0
# What share of the region the thing takes, at least and at most, how far from the middle of the
# region its own may lie, in sides, and how large, next to it, other whole things are.
_LEAST, _MOST, _OFF, _OTHERS = 0.15, 0.93, 0.3, 0.2
# What share of a thing lies inside the region for its shape to be known, or for it to be counted.
_WHOLE, _HALF = 0.75, 0.6
# What share of a thing is no hole, and of its convex hull is it, and how far most of the ground
# is from the colour that it has on average.
_FILLED, _SOLID, _EVENNESS = 0.4, 0.65, 5.0
# What share of a thing its hole takes, where it is a ring.
_HOLE = 0.12
_SAMPLE, _CUT = 2000, 0.4


def thing_in_the_middle(
    crop: npt.NDArray[np.uint8],
    box: tuple[float, float, float, float],
    ground: FloatArray,
    scale: float,
) -> FloatArray | None:
    """Measure the one thing that a region was drawn around, where there is one.

    Parameters
    ----------
    crop : ndarray of uint8, shape (height, width, 3)
        The region with some of what is around it, so that what its border cuts is seen in whole.
    box : tuple of float
        Bounds of the region in the crop: top, left, bottom, right, in edge coordinates.
    ground : ndarray of float32, shape (3,)
        Oklab times 100 of the ground that things lie on.
    scale : float
        Pixels of an image whose long side is 640 per pixel of the crop.

    Returns
    -------
    ndarray of float32, shape (len(AXES),), or None
        Sums over the region of the axes of marks and lines, and its ground; all others are NaN.
        None where the region shows no single thing: nothing, several or parts of a pattern. In the
        midst of a thing nothing stands out.
    """
    zoom = min(1.0, _SIDE / max(crop.shape[:2]))
    size = [max(1, round(side * zoom)) for side in crop.shape[:2]]
    small = Image.fromarray(crop).resize(size[::-1], Image.Resampling.BOX)
    lab = oklab(np.asarray(small))
    smooth = ndimage.gaussian_filter(lab, (_SIGMA, _SIGMA, 0), mode="nearest", truncate=3)
    distance = np.sqrt(np.sum((smooth - ground) ** 2, -1))
    stretch = np.divide(size, crop.shape[:2])
    top, left, bottom, right = (
        round(edge * by) for edge, by in zip(box, (*stretch, *stretch), strict=True)
    )
    region = (slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1)))
    standing = distance > _CONTRAST
    labels, _ = ndimage.label(ndimage.binary_fill_holes(standing))
    labels = split_marks(np.asarray(labels, np.int32))
    if np.mean(standing[region]) > _MOST:
        return _axes(dict.fromkeys(_STANDING, 0.0))
    number = _middle_one(labels, region)
    if number is None:
        return None
    inside = np.zeros(labels.shape, bool)
    inside[region] = labels[region] == number
    if not _is_clear(inside, inside & standing, distance[(labels == 0)]):
        return None
    whole = inside.sum() >= _WHOLE * np.sum(labels == number)
    return _measured(
        inside, inside & ~standing, smooth, ground, scale / float(stretch.mean()), whole
    )


def _middle_one(labels: Labels, region: tuple[slice, slice]) -> int | None:
    """Which label lies in the middle of a region, if it is the only one there."""
    view = labels[region]
    all_of, inside = np.bincount(labels.ravel()), np.bincount(view.ravel(), minlength=2)
    inside[0] = 0
    number = int(inside.argmax())
    if inside[number] < _LEAST * view.size:
        return None
    places = np.argwhere(view == number)
    middle = (places.min(0) + places.max(0) + 1) / 2
    if (np.abs(middle / view.shape - 0.5) > _OFF).any():
        return None
    others = (inside > _HALF * all_of[: len(inside)]) & (inside > _OTHERS * inside[number])
    return number if others.sum() <= int(others[number]) else None


def _is_clear(inside: Mask, standing: Mask, ground: FloatArray) -> bool:
    """Whether a thing is full and has no deep bays, and the ground is even beside its parts."""
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    hull = convex_hull_image(inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    even = ground.size > 0 and float(np.quantile(ground, 0.75)) < _EVENNESS
    full = standing.sum() > _FILLED * inside.sum() and inside.sum() > _SOLID * hull.sum()
    return bool(even and full)


def _measured(
    inside: Mask, missing: Mask, lab: FloatArray, ground: FloatArray, scale: float, whole: bool
) -> FloatArray:
    """Put what is measured of a thing, without what is missing in it, on the axes."""
    holes, _ = ndimage.label(missing)
    areas = np.bincount(np.ravel(holes))
    areas[0] = 0
    if areas.max(initial=0) > _HOLE * inside.sum():
        inside = inside & (holes != int(areas.argmax()))
    planes = np.moveaxis(lab, -1, 0)
    mark = measure_marks(inside.astype(np.int32), planes, inside * 1.0)
    diameter = scale * 2 * np.sqrt((mark.area + mark.hole_area) / np.pi)
    shapes = shapes_of(mark)
    pixels = lab[ndimage.binary_erosion(inside) if whole else inside]
    pixels = pixels[:: max(1, len(pixels) // _SAMPLE)] if len(pixels) else lab[inside]
    names = separate_names(pixels, np.ones(len(pixels)))
    most = max(HUES, key=lambda name: int(np.sum(names == name)))
    colour = pixels[names == most].mean(0)
    values = dict.fromkeys(_STANDING, 0.0)
    values |= {"marks_count": 1.0, "marks_sharp": 1.0, "marks_diameter": float(diameter[0])}
    values["marks_diameter_squared"] = float(diameter[0] ** 2)
    if whole:
        values |= {f"marks_{name}": float(fits[0]) for name, fits in shapes.items()}
    else:
        # What the border cuts has any shape.
        values["marks_irregular"] = _CUT
    for name in HUES:
        values[f"marks_{name}"] = float(diameter[0] * np.mean(names == name))
        values[f"marks_number_{name}"] = float(np.mean(names == name))
    for channel, name in enumerate(LAB):
        values[f"marks_{name}"] = float(diameter[0] * colour[channel])
        values[f"ground_{name}"] = float(ground[channel])
        values[f"marks_gray_{name}"] = float(colour[channel] * values["marks_number_gray"])
    values["ground_area"] = 1.0
    return _axes(values)


def _axes(values: dict[str, float]) -> FloatArray:
    """Put values on the axes, NaN where there is none."""
    return np.array([values.get(name, np.nan) for name in AXES], np.float32)
