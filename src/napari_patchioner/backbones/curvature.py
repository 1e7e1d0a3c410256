"""Lines and spots by the curvature of lightness, where no ground is clear enough for marks.

Both are sought at half size: dark or bright ones, whichever stand out, never a texture of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from .filters import blur

Plane: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Columns: TypeAlias = npt.NDArray[np.float64]

# Lengths are pixels at half size. Of lines: scales, least curvature, and that of their middles.
_WIDTHS = (1.2, 2.4)
_BEND, _STRONG = 0.9, 1.6
# Lines curve along themselves, and slope, so much less; next to an edge it slopes more.
_ALONG, _MIDDLE, _EDGE = 0.5, 0.8, 1.3
# Extent of a line, length of all of them, how much more there is of them than of the opposite,
# and how many times they bend more than most of what is around them.
_LONG, _TOGETHER, _OPPOSITE, _QUIET = 30.0, 200.0, 4.0, 2.0
_AWAY, _GAP, _LEAST_SIDE = 3, 3, 3
# Of spots: scales, least curvature, ratio of their two curvatures, share that looks like the
# middle, and how much more there is of them than of the opposite.
_SIZES = tuple(1.5 * 1.5**step for step in range(7))
_PEAK, _ROUND, _FILLED, _PREVAIL = 4.0, 0.35, 0.6, 2.0
_DIRECTIONS = np.linspace(0, 2 * np.pi, 12, endpoint=False)
# Pixel-to-pixel noise per median of what a slight blur removes.
_NOISE = 1.8


@dataclass(frozen=True, eq=False, slots=True)
class Spots:
    """Round spots: columns of shape (n,), places and radii in pixels.

    ``elongation`` is the shorter axis over the longer one.
    """

    row: Columns
    column: Columns
    radius: Columns
    elongation: Columns


def faint_lines(lightness: Plane, covered: Mask) -> Mask:
    """Find lines that are darker, or brighter, than what lies on both sides of them.

    They are ridges, by the eigenvalues of the Hessian (Lindeberg 1998). ``lightness`` and
    ``covered``, what is no line, have shape (height, width); so has the result. It is empty
    where lines of the other kind are nearly as long, or the ground bends as much as they do.
    """
    result = np.zeros_like(covered)
    half = _halved(lightness)
    if min(half.shape) < _LEAST_SIDE:
        return result
    noise = _noise(half)
    free = ~covered[: 2 * half.shape[0] : 2, : 2 * half.shape[1] : 2]
    away = ndimage.minimum_filter(free, 2 * _AWAY + 1)
    strength = {sign: np.zeros_like(half) for sign in (1, -1)}
    straight = {sign: np.zeros_like(half) for sign in (1, -1)}
    for sigma in _WIDTHS:
        mean, spread, slope = _curvature(half, sigma)
        steepest = ndimage.maximum_filter(slope, 2 * int(np.ceil(2 * sigma)) + 1)
        least = _BEND + noise / sigma
        for sign in (1, -1):
            bend = sign * mean + spread
            middle = (np.abs(sign * mean - spread) < _ALONG * bend) & (slope < _MIDDLE * bend)
            around = ndimage.maximum_filter(bend * middle, 2 * int(np.ceil(sigma)) + 1)
            middle &= steepest < _EDGE * around
            np.maximum(strength[sign], bend / least, out=strength[sign])
            np.maximum(straight[sign], middle * bend / least, out=straight[sign])
    kept, length = {}, {}
    for sign in (1, -1):
        kept[sign], length[sign] = _long(straight[sign] * away)
    sign = max(length, key=lambda sign: length[sign])
    lines = kept[sign]
    if length[sign] < max(_TOGETHER, _OPPOSITE * length[-sign]):
        return result
    ground = away & ~ndimage.maximum_filter(lines, 2 * _AWAY + 1)
    rough = np.quantile(np.maximum(*strength.values())[ground], 0.9) if ground.any() else 0.0
    if np.median(strength[sign][lines]) < _QUIET * rough:
        return result
    # Where lines meet, they bend along themselves too.
    joined = ndimage.binary_closing(np.pad(lines, _GAP, mode="edge"), iterations=_GAP)
    lines = (joined[_GAP:-_GAP, _GAP:-_GAP] & free).repeat(2, 0).repeat(2, 1)
    result[: lines.shape[0], : lines.shape[1]] = lines
    return result


def _long(strength: Plane) -> tuple[Mask, float]:
    """Keep long connected parts that are strong somewhere; also their extents together."""
    labels, count = ndimage.label(strength > 1, np.ones((3, 3)))
    if not count:
        return np.zeros(strength.shape, bool), 0.0
    boxes = ndimage.find_objects(labels)
    extent = np.array([np.hypot(*(side.stop - side.start for side in box)) for box in boxes])
    most = ndimage.maximum(strength, labels, np.arange(1, count + 1))
    kept = (extent >= _LONG) & (np.asarray(most) > _STRONG)
    return np.append(False, kept)[labels], float(extent[kept].sum())


def prevailing_spots(lightness: Plane) -> Spots:
    """Find round spots, dark ones or bright ones, of any size.

    They are extrema of the scale-normalised Laplacian (Lindeberg 1998). ``lightness``, shape
    (height, width). There are none where spots of the other kind make up nearly as much: that is a
    texture.
    """
    half = _halved(lightness)
    noise = _noise(half) if half.size else 0.0
    stack = [_responses(half, sigma) for sigma in _SIZES]
    spots, weight = {}, {}
    for sign in (1, -1):
        rows = _extrema(stack, sign, noise, half)
        spots[sign], weight[sign] = rows, float(np.sum(rows[:, 4] * rows[:, 2] ** 2))
    sign = max(weight, key=lambda sign: weight[sign])
    rows = spots[sign] if weight[sign] > _PREVAIL * weight[-sign] else np.zeros((0, 5))
    row, column, radius, ratio, _ = rows.T
    return Spots(2 * row + 0.5, 2 * column + 0.5, 2 * radius, ratio**0.6)


def _responses(half: Plane, sigma: float) -> tuple[int, Plane, Plane]:
    """Step of the coarse copy, scale-normalised Laplacian and spread of curvature on it."""
    step = max(1, int(sigma // 2))
    height, width = (side // step * step for side in half.shape)
    blocks = half[:height, :width].reshape(height // step, step, width // step, step)
    coarse = blocks.mean((1, 3))
    if min(coarse.shape) < _LEAST_SIDE:
        return step, np.zeros_like(coarse), np.zeros_like(coarse)
    # Averaging blocks blurs a little already.
    left = np.sqrt((sigma / step) ** 2 - (1 - 1 / step**2) / 12)
    mean, spread, _ = _curvature(coarse, left)
    return step, 2 * mean, 2 * spread


def _extrema(
    stack: list[tuple[int, Plane, Plane]], sign: int, noise: float, half: Plane
) -> Columns:
    """Rows of (row, column, radius, roundness, strength), none inside a stronger one."""
    extrema = []
    for sigma, (step, laplacian, spread) in zip(_SIZES, stack, strict=True):
        response = sign * laplacian
        peak = response == ndimage.maximum_filter(response, 3, mode="nearest")
        rows, columns = np.nonzero(peak & (response > _PEAK + 3 * noise / sigma))
        strength = response[rows, columns]
        # Ratio of the two curvatures: 1 for a disc, 0 for a line, negative on a saddle.
        ratio = (strength - spread[rows, columns]) / (strength + spread[rows, columns])
        centre = (step - 1) / 2
        radius = np.full(len(rows), sigma * np.sqrt(2.0))
        extrema.append(
            np.stack([rows * step + centre, columns * step + centre, radius, ratio, strength], 1)
        )
    spots = np.concatenate(extrema)
    spots = spots[np.argsort(-spots[:, 4], kind="stable")]
    spots = _apart(spots)
    return spots[(spots[:, 3] > _ROUND) & (_filled(spots, sign * half) > _FILLED)]


def _apart(spots: Columns) -> Columns:
    """Drop spots whose centre lies inside a stronger one that comes before."""
    if not len(spots):
        return spots
    tree = cKDTree(spots[:, :2])
    kept = np.ones(len(spots), bool)
    for index, inside in enumerate(tree.query_ball_point(spots[:, :2], spots[:, 2])):
        if kept[index]:
            later = np.asarray(inside)
            kept[later[later > index]] = False
    return spots[kept]


def _filled(spots: Columns, depth: Plane) -> Columns:
    """Share of places inside that look like the middle; where lines cross it is mostly ground."""

    def around(share: float) -> Columns:
        rows = spots[:, :1] + share * spots[:, 2:3] * np.sin(_DIRECTIONS)
        columns = spots[:, 1:2] + share * spots[:, 2:3] * np.cos(_DIRECTIONS)
        places = [
            np.clip(np.round(place).astype(int), 0, side - 1)
            for place, side in zip((rows, columns), depth.shape, strict=True)
        ]
        return np.asarray(depth[tuple(places)], np.float64)

    middle, border = around(0.3).mean(1), around(1.5).mean(1)
    inside = np.concatenate([around(0.5), around(0.75)], 1)
    return np.asarray((inside < ((middle + border) / 2)[:, None]).mean(1))


def _halved(plane: Plane) -> Plane:
    """Average blocks of two by two pixels; an odd last row or column is left out."""
    height, width = (side // 2 for side in plane.shape)
    blocks = plane[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    return np.asarray(blocks.mean((1, 3)), np.float32)


def _noise(half: Plane) -> float:
    """Typical difference between neighbours."""
    return _NOISE * float(np.median(np.abs(half - blur(half, 1.0))))


def _curvature(plane: Plane, sigma: float) -> tuple[Plane, Plane, Plane]:
    """Scale-normalised mean and half difference of the Hessian's eigenvalues, and slope."""
    down, right = np.gradient(blur(plane, sigma))
    vertical, mixed = np.gradient(down)
    horizontal = np.gradient(right, axis=1)
    scale = np.float32(sigma**2)
    spread = scale * np.sqrt(((horizontal - vertical) / 2) ** 2 + mixed**2)
    slope = np.float32(sigma) * np.sqrt(down**2 + right**2)
    return scale * (horizontal + vertical) / 2, spread, slope
