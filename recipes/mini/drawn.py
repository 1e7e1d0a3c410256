"""What a person would draw around or inside an object whose mask is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from shapely.geometry import Polygon as Outline
from skimage.measure import find_contours

from napari_patchioner.regions import Polygon, Trace

LEGS = 3
TRIES = 24


def outline_of(pixels: npt.NDArray[np.bool_], tolerance: float = 1.5) -> Polygon:
    """Outline of the largest part of a mask, with the corners a lasso would keep.

    Parameters
    ----------
    pixels : ndarray of bool, shape (height, width)
        At least one pixel is True.
    tolerance : float
        How far the simplified outline may leave the true one, in pixels.

    Returns
    -------
    Polygon
        ``(row, column)`` vertices that never cross.
    """
    rings = find_contours(np.pad(pixels, 1).astype(float), 0.5)
    largest = max((Outline(ring - 1) for ring in rings), key=lambda shape: float(shape.area))
    shape = largest.simplify(tolerance, preserve_topology=True)
    if not shape.is_valid:
        parts = shape.buffer(0)
        shape = max(getattr(parts, "geoms", [parts]), key=lambda part: float(part.area))
    return Polygon(np.asarray(shape.exterior.coords)[:-1])


def stroke_in(
    pixels: npt.NDArray[np.bool_], generator: np.random.Generator, step: float = 4.0
) -> Trace:
    """Draw a random scribble that stays inside a mask.

    Parameters
    ----------
    pixels : ndarray of bool, shape (height, width)
        At least one pixel is True.
    generator : numpy.random.Generator
        Where the scribble goes; the same generator state gives the same scribble.
    step : float
        Distance of the recorded points, in pixels.

    Returns
    -------
    Trace
        A few straight legs, each the longest of some random ones that do not leave the mask.
    """
    inside = np.argwhere(pixels)
    here = inside[generator.integers(len(inside))].astype(np.float64)
    points = [here[None]]
    for _ in range(LEGS):
        ends = inside[generator.integers(len(inside), size=TRIES)]
        legs = [leg for leg in (_leg(here, end, step) for end in ends) if _within(leg, pixels)]
        if legs:
            points.append(max(legs, key=len))
            here = points[-1][-1]
    return Trace(np.concatenate(points))


def _leg(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.int64], step: float
) -> npt.NDArray[np.float64]:
    """Points on the way from one place to another, the first one left out."""
    count = int(np.hypot(*(end - start)) // step) + 1
    return start + (end - start) * (np.arange(1, count + 1) / count)[:, None]


def _within(points: npt.NDArray[np.float64], pixels: npt.NDArray[np.bool_]) -> bool:
    rows, columns = np.rint(points).astype(int).T
    return bool(pixels[rows, columns].all())
