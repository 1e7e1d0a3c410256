"""Appearance axes: what can be measured in every patch without knowing what it shows."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from napari_patchioner.bridges.appearance import (
    AXES,
    HUES,
    LAB,
    LONG_SIDE,
    UNIT,
    colour_shares,
    hue_names,
)
from napari_patchioner.decoders.grounded.vocabulary import COLOURS

from .marks import Marks, find_marks, trace_network

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
# Standard deviations of the blurs between which contrast of each scale lies.
_BANDS = {"fine": (0.0, 1.4), "medium": (1.4, 5.0), "coarse": (5.0, 20.0)}
_FLAT = 1.0
# Chroma that a tenth of the pixels of a picture with colours exceeds.
_COLOURED, _COLOUR = 0.9, 2.0
# Of the light: the power of the mean it is taken from, how much of its tint and dimness is undone,
# and by how much at most.
_POWER, _TINT, _TINTS = 6, 0.75, (0.6, 1.6)
_DIM, _DIMMEST, _WHITE = 0.5, 1.6, 0.9
_EDGE, _CLEAR = 8.0, 2.0
# Limits of the shapes of marks: shorter over longer axis, and how much of an ellipse they fill.
_ROUND, _ROD = 0.75, 0.5
_WHOLE = 0.85
# The same of squares, and of rectangles, of which longer ones are rods.
_SQUARE, _RECTANGLE = 0.88, 0.3
# How far apart two colours are that have two names.
_APART = 12.0


def appearance_axes(rgb: npt.NDArray[np.uint8], grid_shape: tuple[int, int]) -> Plane:
    """Measure colour, texture and what stands out in every patch of an image.

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
    lab = oklab(small)
    maps = _texture(lab)
    red, green, blue = np.moveaxis(small >> 3, -1, 0)
    shares = zip(COLOURS, np.moveaxis(_colour_table()[red, green, blue], -1, 0), strict=True)
    maps |= {f"share_{name}": share for name, share in shares}
    if np.quantile(np.hypot(lab[::4, ::4, 1], lab[::4, ::4, 2]), _COLOURED) < _COLOUR:
        shown = np.zeros((*shape, len(COLOURS)), np.float32)
    else:
        red, green, blue = np.moveaxis(_balanced(small) >> 3, -1, 0)
        shown = _colour_table()[red, green, blue]
    shares = zip(COLOURS, np.moveaxis(shown, -1, 0), strict=True)
    maps |= {f"balanced_{name}": share for name, share in shares}
    marks = find_marks(lab)
    lines = np.append(False, marks.line)[marks.labels]
    spots = np.append(False, ~marks.line & ~marks.frame)[marks.labels]
    masks = {"ground": marks.labels == 0, "line": lines, "mark": spots}
    colours = np.concatenate([np.zeros((1, 3)), marks.colour]).astype(np.float32)[marks.labels]
    colours = np.where((marks.labels == 0)[..., None], lab, colours)
    for prefix, mask in masks.items():
        weight = mask.astype(np.float32)
        maps[f"{prefix}_area"] = weight
        for channel, name in enumerate(LAB):
            maps[f"{prefix}_{name}"] = colours[..., channel] * weight
    axes = {name: _patch_means(plane, grid_shape) for name, plane in maps.items()}
    per_patch = _Sums(grid_shape, side)
    axes |= _counts(marks, per_patch) | _network(marks, lines, per_patch)
    return np.stack([axes[name] for name in AXES], -1).astype(np.float32)


class _Sums:
    """Sums over places per patch, as densities per square of side ``UNIT``."""

    def __init__(self, grid_shape: tuple[int, int], side: int) -> None:
        self.shape, self.side = grid_shape, side

    def __call__(self, row: Any, column: Any, weight: Any = None) -> Plane:
        patch = (np.asarray(row) // self.side).astype(int) * self.shape[1]
        patch += (np.asarray(column) // self.side).astype(int)
        size = self.shape[0] * self.shape[1]
        sums = np.bincount(patch, weight, size) * (UNIT / self.side) ** 2
        return np.asarray(sums.reshape(self.shape), np.float32)


def _counts(marks: Marks, sums: _Sums) -> dict[str, Plane]:
    """Count the marks of every patch that are no lines, and sum what is measured of them."""
    chosen = ~marks.line & ~marks.frame & ~marks.dust
    place = (marks.row[chosen], marks.column[chosen])
    diameter = 2 * np.sqrt((marks.area + marks.hole_area)[chosen] / np.pi)
    shapes = {name: fits[chosen] for name, fits in shapes_of(marks).items()}
    rod = shapes["rod"]
    angle = 2 * marks.angle[chosen]
    names = separate_names(marks.colour[chosen], diameter)
    weights = {
        "count": np.ones(len(diameter)),
        "sharp": np.full(len(diameter), float(marks.sharp)),
        "diameter": diameter,
        "diameter_squared": diameter**2,
        "spacing": marks.spacing(chosen),
        **shapes,
        "along": np.cos(angle) * rod,
        "across": np.sin(angle) * rod,
        # Larger marks tell more of the colour.
        **{name: diameter * (names == name) for name in HUES},
        **{name: diameter * marks.colour[chosen, channel] for channel, name in enumerate(LAB)},
    }
    return {f"marks_{name}": sums(*place, weight) for name, weight in weights.items()}


def shapes_of(marks: Marks) -> dict[str, npt.NDArray[np.bool_]]:
    """Tell which marks are rings, round, rods, squares and so on; all arrays have shape (n,)."""
    ring, elongation = marks.ring, marks.elongation
    straight = marks.straight & (elongation > _RECTANGLE)
    outline = marks.straight & marks.hollow
    straight |= outline
    whole, other = marks.fill > _WHOLE, ~ring & ~straight
    return {
        "ring": ring,
        "round": other & whole & (elongation > _ROUND),
        "rod": other & whole & (elongation < _ROD),
        "irregular": other & ~whole,
        "square": straight & (elongation > _SQUARE),
        "rectangle": straight & (elongation <= _SQUARE),
        "outline": outline,
    }


def separate_names(
    lab: npt.NDArray[np.floating], weight: npt.NDArray[np.floating]
) -> npt.NDArray[np.object_]:
    """Name colours, Oklab times 100, shape (n, 3), as `hue_names`, by weights of shape (n,).

    Where the two commonest names stand for hardly different colours, which only scatter around the
    border between the names, they are one.
    """
    names = hue_names(lab)
    heaviest = sorted(set(names), key=lambda name: (-weight[names == name].sum(), name))[:2]
    if len(heaviest) < 2:
        return names
    means = [
        np.average(lab[names == name], axis=0, weights=weight[names == name]) for name in heaviest
    ]
    if np.linalg.norm(means[0] - means[1]) < _APART:
        either = np.isin(names, heaviest)
        names[either] = hue_names(np.average(lab[either], axis=0, weights=weight[either])).item()
    return names


def _network(marks: Marks, lines: npt.NDArray[np.bool_], sums: _Sums) -> dict[str, Plane]:
    """Measure the lines of every patch by their middles."""
    area = marks.area[marks.line]
    width = float(np.average(marks.width[marks.line], weights=area)) if len(area) else 1.0
    network = trace_network(lines, width)
    parts = ("length", "ends", "branches", "crossings")
    axes = {
        f"line_{part}": sums(getattr(network, part)[:, 0], getattr(network, part)[:, 1])
        for part in parts
    }
    widths = np.append(1.0, marks.width)[marks.labels[tuple(network.length.T)]]
    axes["line_width"] = sums(network.length[:, 0], network.length[:, 1], widths)
    axes["line_count"] = sums(marks.row[marks.line], marks.column[marks.line])
    return axes


def _patch_means(plane: Plane, grid_shape: tuple[int, int]) -> Plane:
    """Average a plane over the patches of a grid that divides it evenly."""
    rows, columns = grid_shape
    height, width = plane.shape
    blocks = plane.reshape(rows, height // rows, columns, width // columns)
    return np.asarray(blocks.mean((1, 3)), np.float32)


def oklab(rgb: npt.NDArray[np.uint8]) -> Plane:
    """Convert sRGB bytes, shape (..., 3), to Oklab (Ottosson 2020) times 100."""
    cones = _linear_light()[rgb] @ _TO_CONES.T
    return np.asarray(np.cbrt(cones, out=cones) @ _TO_LAB.T)


def _balanced(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undo most of the light's tint (shades of gray, Finlayson and Trezzi 2004), and dimness."""
    few = _linear_light()[rgb[::4, ::4]].reshape(-1, 3)
    tint = np.mean(few**_POWER, 0) ** (1 / _POWER) + np.float32(1e-4)
    gain = np.clip((tint.mean() / tint) ** _TINT, *_TINTS)
    brightest = max(float(np.quantile((few * gain).max(1), 0.98)), 1e-3)
    gain = gain * np.clip((_WHITE / brightest) ** _DIM, 1.0, _DIMMEST)
    light = np.clip(_linear_light()[:, None] * gain, 0, 1).astype(np.float32)
    levels = np.minimum(np.searchsorted(_linear_light(), light), 255).astype(np.uint8)
    return np.stack([levels[rgb[..., channel], channel] for channel in range(3)], -1)


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
    return colour_shares(oklab(cube))


def _texture(lab: Plane) -> dict[str, Plane]:
    """Measure lightness, contrast per scale, edges and their direction, from Oklab times 100."""
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
    # The same of clear edges only; in the fourfold angle, directions at right angles add up.
    clear = strength > _CLEAR
    squared: Plane = np.asarray(strength**2 * clear)
    maps["clear_squared"] = squared
    maps["clear_along"], maps["clear_across"] = along * clear, across * clear
    inverse = clear / np.maximum(squared, np.float32(_CLEAR**2))
    maps["fourfold_along"] = np.asarray((along**2 - across**2) * inverse)
    maps["fourfold_across"] = np.asarray(2 * along * across * inverse)
    maps["slope_down"], maps["slope_right"] = map(np.asarray, np.gradient(blurred[20.0]))
    return maps


def _blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur."""
    return np.asarray(ndimage.gaussian_filter(plane, sigma, mode="nearest", truncate=3.0))
