"""Appearance axes: what can be measured in every patch without knowing what it shows."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from napari_patchioner.bridges.appearance import AXES, LAB, LONG_SIDE, UNIT, colour_shares
from napari_patchioner.decoders.grounded.vocabulary import COLOURS

Plane: TypeAlias = npt.NDArray[np.float32]

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = 100 * np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_CELLS = 32
# Of the curvature of what is darker or brighter than its ground.
_SIGNS = {"dark": 1.0, "bright": -1.0}
# Standard deviations of the blurs between which contrast of each scale lies.
_BANDS = {"fine": (0.0, 1.4), "medium": (1.4, 5.0), "coarse": (5.0, 20.0)}
_LINE_SIGMAS = (1.5, 3.0, 6.0)
_LEAST_LINE = 0.05
_FLAT = 1.0
_EDGE = 8.0
# Scales of spots, and what makes one.
_SIGMAS = tuple(2.0 * 1.5**step for step in range(9))
_CONTRAST = 4.0
_ROUND = 0.35
_FILLED = 0.6


def appearance_axes(rgb: npt.NDArray[np.uint8], grid_shape: tuple[int, int]) -> Plane:
    """Measure colour, texture, spots and lines in every patch of an image.

    The grid of ``(rows, columns)`` covers the whole image, shape (height, width, 3), evenly.
    Returns an array of shape (rows, columns, len(AXES)) of additive statistics: their mean over
    any patches describes the region they make up.
    """
    side = max(2, round(LONG_SIDE / max(grid_shape)))
    shape = (grid_shape[0] * side, grid_shape[1] * side)
    # Averaging whole pixels keeps grain honest when shrinking; enlarging must not ring.
    shrinks = rgb.shape[0] * rgb.shape[1] > shape[0] * shape[1]
    way = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(rgb).resize(shape[::-1], way))
    lab = _oklab(small)
    maps, lightness, noise = _texture(lab)
    spots, covered = _spots(lightness, lab, noise, grid_shape)
    lines = _lines(lightness, noise, covered)
    red, green, blue = np.moveaxis(small >> 3, -1, 0)
    shares = zip(COLOURS, np.moveaxis(_colour_table()[red, green, blue], -1, 0), strict=True)
    maps |= {f"share_{name}": share for name, share in shares}

    def masked(prefix: str, weight: Plane) -> dict[str, Plane]:
        """Area of a soft mask and the sums of colour over it."""
        axes = {f"{prefix}_area": _patch_means(weight, grid_shape)}
        for channel, name in enumerate(LAB):
            axes[f"{prefix}_{name}"] = _patch_means(lab[..., channel] * weight, grid_shape)
        return axes

    axes = {name: _patch_means(plane, grid_shape) for name, plane in maps.items()} | spots
    for polarity, (strength, measures) in lines.items():
        axes |= masked(f"{polarity}_line", strength)
        for measure, plane in measures.items():
            axes[f"{polarity}_line_{measure}"] = _patch_means(plane, grid_shape)
        covered = covered | (strength > _LEAST_LINE)
    axes |= masked("ground", (~covered).astype(np.float32))
    return np.stack([axes[name] for name in AXES], -1).astype(np.float32)


def _patch_means(plane: Plane, grid_shape: tuple[int, int]) -> Plane:
    """Average a plane over the patches of a grid that divides it evenly."""
    rows, columns = grid_shape
    height, width = plane.shape
    blocks = plane.reshape(rows, height // rows, columns, width // columns)
    return np.asarray(blocks.mean((1, 3)), np.float32)


def _oklab(rgb: npt.NDArray[np.uint8]) -> Plane:
    """Convert sRGB bytes, shape (..., 3), to Oklab (Ottosson 2020) times 100."""
    cones = _linear_light()[rgb] @ _TO_CONES.T
    return np.asarray(np.cbrt(cones, out=cones) @ _TO_LAB.T)


@cache
def _linear_light() -> Plane:
    """Linear light of every sRGB byte."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(light, np.float32)


@cache
def _colour_table() -> Plane:
    """Memberships in the colour terms, (32, 32, 32, 11), of the middles of cells of sRGB."""
    levels = np.linspace(0, 255, _CELLS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)
    return colour_shares(_oklab(cube))


def _texture(lab: Plane) -> tuple[dict[str, Plane], Plane, float]:
    """Measure lightness, contrast per scale, edges and their direction, from Oklab times 100.

    Returns one plane per axis, the lightness that spots and lines are sought in, and the typical
    pixel-to-pixel noise in units of lightness.
    """
    planes = [np.ascontiguousarray(lab[..., channel]) for channel in range(3)]
    maps = dict(zip(LAB, planes, strict=True))
    maps |= {f"{name}_squared": plane**2 for name, plane in zip(LAB, planes, strict=True)}
    lightness = planes[0]
    edges = sorted({edge for band in _BANDS.values() for edge in band})
    blurred = {sigma: _blur(lightness, sigma) if sigma else lightness for sigma in edges}
    for band, (low, high) in _BANDS.items():
        maps[f"{band}_energy"] = np.abs(blurred[low] - blurred[high])
    busy = ndimage.uniform_filter(maps["fine_energy"] + maps["medium_energy"], 5)
    maps["flat"] = (busy < _FLAT).astype(np.float32)
    # The structure tensor: strength of edges and the double angle of their direction, in which
    # edges of opposite sign add up and directions at right angles cancel.
    down, right = np.gradient(blurred[1.4])
    strength: Plane = np.asarray(np.hypot(down, right))
    along: Plane = np.asarray(right**2 - down**2)
    across: Plane = np.asarray(2 * right * down)
    energy = _blur(np.asarray(strength**2), 4.0) + np.float32(0.25)
    maps["gradient"] = strength
    maps["edge"] = (strength > _EDGE / 2).astype(np.float32)
    maps["gradient_along"], maps["gradient_across"] = along, across
    maps["coherence"] = strength * np.hypot(_blur(along, 4.0), _blur(across, 4.0)) / energy
    return maps, lightness, 1.8 * float(np.median(maps["fine_energy"]))


def _blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur."""
    return np.asarray(ndimage.gaussian_filter(plane, sigma, mode="nearest", truncate=3.0))


def _lines(
    lightness: Plane, noise: float, spots: npt.NDArray[np.bool_]
) -> dict[str, tuple[Plane, dict[str, Plane]]]:
    """Find thin dark and bright lines: ridges, by the eigenvalues of the Hessian.

    ``spots``, shape (height, width), are no lines. Returns for ``dark`` and ``bright`` the soft
    membership from 0 to 1, and the planes ``width``, ``along`` and ``across`` weighted by it.
    """
    planes_of = {name: np.zeros((4, *lightness.shape), np.float32) for name in _SIGNS}
    for sigma in _LINE_SIGMAS:
        large, small, cosine, sine = _hessian(lightness, sigma)
        threshold = 2.5 + 1.5 * noise / sigma
        for polarity, sign in _SIGNS.items():
            bend = sign * large
            straight = np.abs(small) < 0.4 * bend
            member = np.clip(bend / threshold - 1, 0, 1) * straight * ~spots
            better = member > planes_of[polarity][0]
            planes = (member, member * 2 * sigma, member * cosine, member * sine)
            planes_of[polarity] = np.where(better, np.stack(planes), planes_of[polarity])
    names = ("width", "along", "across")
    return {
        polarity: (planes[0], dict(zip(names, planes[1:], strict=True)))
        for polarity, planes in planes_of.items()
    }


def _hessian(plane: Plane, sigma: float) -> tuple[Plane, Plane, Plane, Plane]:
    """Scale-normalised eigenvalues (larger, smaller in size) and the double angle across."""
    vertical, mixed, horizontal = _curvatures(_blur(plane, sigma))
    half, mean = (horizontal - vertical) / 2, (horizontal + vertical) / 2
    spread = np.hypot(half, mixed)
    sign = np.where(mean >= 0, np.float32(1), np.float32(-1))
    norm = spread + np.float32(1e-6)
    scale = np.float32(sigma**2)
    large, small = scale * (mean + sign * spread), scale * (mean - sign * spread)
    return large, small, sign * half / norm, sign * mixed / norm


def _curvatures(plane: Plane) -> tuple[Any, Any, Any]:
    """Second derivatives of a plane: vertical, mixed, horizontal."""
    down, right = np.gradient(plane)
    vertical, mixed = np.gradient(down)
    return vertical, mixed, np.gradient(right, axis=1)


def _spots(
    lightness: Plane, lab: Plane, noise: float, grid_shape: tuple[int, int]
) -> tuple[dict[str, Plane], npt.NDArray[np.bool_]]:
    """Count and measure dark and bright round spots of any size per patch.

    They are extrema of the scale-normalised Laplacian (Lindeberg 1998); those fainter than the
    noise do not count. Returns the axes ``dark_spot_*`` and ``bright_spot_*``, and the pixels
    inside some spot, shape (height, width).
    """
    covered = np.zeros(lightness.shape, bool)
    stack = [_responses(lightness, sigma) for sigma in _SIGMAS]
    axes: dict[str, Plane] = {}
    for polarity, sign in _SIGNS.items():
        spots = _extrema(stack, sign, noise, lightness)
        axes |= _count_spots(f"{polarity}_spot", spots, lab, grid_shape)
        for row, column, radius, _ in spots:
            _paint_disc(covered, int(row), int(column), 1.15 * float(radius))
    return axes, covered


def _responses(lightness: Plane, sigma: float) -> tuple[int, Plane, Plane]:
    """Step of the coarse copy, Laplacian and spread of curvature on it."""
    step = max(1, int(sigma // 3))
    height, width = (side // step * step for side in lightness.shape)
    blocks = lightness[:height, :width].reshape(height // step, step, width // step, step)
    # Averaging blocks blurs a little already.
    left = np.sqrt((sigma / step) ** 2 - (1 - 1 / step**2) / 12)
    smooth = ndimage.gaussian_filter(blocks.mean((1, 3)), left, mode="nearest", truncate=3.0)
    if min(smooth.shape) < 3:
        return step, np.zeros_like(smooth), np.zeros_like(smooth)
    vertical, mixed, horizontal = _curvatures(smooth)
    scale = np.float32((sigma / step) ** 2)
    spread = np.hypot(horizontal - vertical, 2 * mixed)
    return step, scale * (horizontal + vertical), scale * spread


def _extrema(
    stack: list[tuple[int, Plane, Plane]], sign: float, noise: float, lightness: Plane
) -> Plane:
    """Rows of (row, column, radius, roundness), strongest first, none inside a stronger one."""
    extrema = []
    for sigma, (step, laplacian, spread) in zip(_SIGMAS, stack, strict=True):
        response = sign * laplacian
        peak = response == ndimage.maximum_filter(response, 3, mode="nearest")
        peak &= response > _CONTRAST + 3 * noise / sigma
        rows, columns = np.nonzero(peak)
        strength = response[rows, columns]
        # Ratio of the two curvatures: 1 for a disc, 0 for a line, negative on a saddle.
        ratio = (strength - spread[rows, columns]) / (strength + spread[rows, columns])
        radius = np.full(len(rows), sigma * np.sqrt(2.0))
        extrema.append(
            np.stack([(rows + 0.5) * step, (columns + 0.5) * step, radius, ratio, strength], 1)
        )
    spots = np.concatenate(extrema)
    spots = spots[np.argsort(-spots[:, 4], kind="stable")]
    inside = (spots[:, :2] < lightness.shape).all(1)
    return _thinned(spots[inside], sign * lightness)


def _thinned(spots: npt.NDArray[np.float64], depth: Plane) -> Plane:
    """Drop spots whose centre lies inside a stronger one, then those that are no filled disc."""
    taken = np.zeros(depth.shape, bool)
    kept = []
    for spot in spots:
        row, column, radius = int(spot[0]), int(spot[1]), spot[2]
        if taken[row, column]:
            continue
        _paint_disc(taken, row, column, radius)
        if spot[3] > _ROUND and _filled(depth, row, column, radius) > _FILLED:
            kept.append(spot[:4])
    return np.asarray(kept, np.float32).reshape(-1, 4)


def _filled(depth: Plane, row: int, column: int, radius: float) -> float:
    """Share of the disc that looks like its middle; where lines cross it is mostly ground."""
    view, away = _around(depth, row, column, 1.7 * radius)
    middle = view[away <= max(1.0, (0.35 * radius) ** 2)].mean()
    border = (middle + view[away > (1.3 * radius) ** 2].mean()) / 2
    return float((view[away <= (0.8 * radius) ** 2] < border).mean())


def _paint_disc(mask: npt.NDArray[np.bool_], row: int, column: int, radius: float) -> None:
    """Mark the pixels of a disc."""
    view, away = _around(mask, row, column, radius)
    view |= away <= radius**2


def _around(
    plane: npt.NDArray[Any], row: int, column: int, radius: float
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return a square of a plane around a pixel, and the squared distances from that."""
    reach = int(np.ceil(radius))
    top, left = max(row - reach, 0), max(column - reach, 0)
    view = plane[top : row + reach + 1, left : column + reach + 1]
    rows = np.arange(top, top + view.shape[0]) - row
    columns = np.arange(left, left + view.shape[1]) - column
    return view, rows[:, None] ** 2 + columns**2


def _count_spots(
    prefix: str, spots: Plane, lab: Plane, grid_shape: tuple[int, int]
) -> dict[str, Plane]:
    """Sum the spots of every patch; counts per square of side ``UNIT``, areas in patches."""
    rows, columns = grid_shape
    height, width = lab.shape[0] // rows, lab.shape[1] // columns
    row, column = spots[:, 0].astype(int), spots[:, 1].astype(int)
    patch = row // height * columns + column // width
    density = UNIT**2 / (height * width)
    area = np.pi * spots[:, 2] ** 2 / UNIT**2
    colour = lab[row, column]
    weights = {
        "count": np.ones(len(spots)),
        "area": area,
        "area_squared": area**2,
        "roundness": spots[:, 3],
        "lightness": colour[:, 0],
        "green_red": colour[:, 1],
        "blue_yellow": colour[:, 2],
    }
    sums = {
        name: density * np.bincount(patch, weight, rows * columns).reshape(rows, columns)
        for name, weight in weights.items()
    }
    sums["count_squared"] = sums["count"] ** 2
    return {f"{prefix}_{name}": np.asarray(plane, np.float32) for name, plane in sums.items()}
