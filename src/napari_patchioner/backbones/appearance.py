"""Appearance axes: what can be measured in every patch without knowing what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import combinations
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
from napari_patchioner.devices import product

from .filters import blur, patch_means
from .marks import Marks, find_marks, trace_network

Plane: TypeAlias = npt.NDArray[np.float32]
Colours: TypeAlias = npt.NDArray[np.floating]
Weights: TypeAlias = npt.NDArray[np.floating]
Names: TypeAlias = npt.NDArray[np.object_]

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
# The same of straight lines.
_STRAIGHT = 0.2
_WHOLE = 0.85
# The same of squares, and of rectangles, of which longer ones are rods.
_SQUARE, _RECTANGLE = 0.88, 0.3
# How far apart two colours are that have two names, and two groups of them in deviations of both;
# what share of all that lies between has one of the names, where it is the name of all.
_APART, _SPREAD, _MOSTLY = 12.0, 2.2, 0.7


def appearance_axes(rgb: npt.NDArray[np.uint8], grid_shape: tuple[int, int]) -> Plane:
    """Measure colour, texture and what stands out in every patch of an image.

    The grid of ``(rows, columns)`` covers the whole image, shape (height, width, 3), evenly.
    Returns an array of shape (rows, columns, len(AXES)) of additive statistics: their mean over
    any patches describes the region they make up.
    """
    return Appearance(rgb, grid_shape).axes()


class Appearance:
    """What can be measured of an image in patches: `appearance_axes`, in two steps.

    ``surface`` has the axes of colours and textures, and zeros for what stands out.
    """

    def __init__(self, rgb: npt.NDArray[np.uint8], grid_shape: tuple[int, int]) -> None:
        side = max(2, round(LONG_SIDE / max(grid_shape)))
        shape = (grid_shape[0] * side, grid_shape[1] * side)
        # Averaging whole pixels keeps grain honest when shrinking; enlarging must not ring.
        shrinks = rgb.shape[0] * rgb.shape[1] > shape[0] * shape[1]
        way = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        small = np.asarray(Image.fromarray(rgb).resize(shape[::-1], way))
        planes = np.ascontiguousarray(np.moveaxis(small, -1, 0))
        self._lab, self._shape, self._side = _oklab_planes(planes), grid_shape, side
        axes = _colours(planes, self._lab, grid_shape)
        axes |= {name: patch_means(plane, grid_shape) for name, plane in _texture(self._lab)}
        self.surface = self._stacked(axes)

    def axes(self) -> Plane:
        """Find what stands out, too, and return all axes, shape (rows, columns, len(AXES))."""
        marks = find_marks(self._lab)
        sums = _Sums(self._shape, self._side)
        return self.surface + self._stacked(
            _areas(marks, self._lab, self._shape) | _counts(marks, sums) | _network(marks, sums)
        )

    def _stacked(self, axes: dict[str, Plane]) -> Plane:
        nothing = np.zeros(self._shape, np.float32)
        return np.stack([axes.get(name, nothing) for name in AXES], -1).astype(np.float32)


def _colours(
    planes: npt.NDArray[np.uint8], lab: Plane, grid_shape: tuple[int, int]
) -> dict[str, Plane]:
    """Share of every colour term in every patch, as the picture is and in white light."""
    own = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    levels = {"share": own}
    few = lab[1:, ::4, ::4]
    if np.quantile(np.hypot(*few), _COLOURED) >= _COLOUR:
        levels["balanced"] = _balanced(planes)
    axes = {f"balanced_{name}": np.zeros(grid_shape, np.float32) for name in COLOURS}
    for prefix, level in levels.items():
        cells = (level >> 3).astype(np.uint16) * np.array([1024, 32, 1], np.uint16)
        red, green, blue = (np.take(cells[:, channel], planes[channel]) for channel in range(3))
        memberships = np.take(_colour_table(), red + green + blue, axis=0)
        rows, columns = grid_shape
        side = memberships.shape[0] // rows
        strips = memberships.reshape(rows, side, -1).sum(1)
        sums = strips.reshape(rows, columns, -1, len(COLOURS)).sum(2)
        shares = np.moveaxis(sums / np.float32(side**2), -1, 0)
        axes |= {f"{prefix}_{name}": share for name, share in zip(COLOURS, shares, strict=True)}
    return axes


def _areas(marks: Marks, lab: Plane, grid_shape: tuple[int, int]) -> dict[str, Plane]:
    """Share of ground, lines and marks in every patch, and sums of their colours."""
    labels, line = marks.labels, marks.line
    kinds = {"ground": labels == 0}
    kinds["line"] = np.append(False, line)[labels]
    kinds["mark"] = np.append(False, ~line & ~marks.frame)[labels]
    axes = {}
    colours = np.concatenate([np.zeros((1, 3)), marks.colour]).astype(np.float32)
    weights = {kind: mask.astype(np.float32) for kind, mask in kinds.items()}
    for kind, weight in weights.items():
        axes[f"{kind}_area"] = patch_means(weight, grid_shape)
    for channel, name in enumerate(LAB):
        plane = np.where(kinds["ground"], lab[channel], colours[:, channel][labels])
        for kind, weight in weights.items():
            axes[f"{kind}_{name}"] = patch_means(plane * weight, grid_shape)
    return axes


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
        **{f"number_{name}": 1.0 * (names == name) for name in HUES},
        "brighter": 1.0 * (marks.rise[chosen] > 0),
        # Grays are told apart by their tints and lightness.
        **{
            f"gray_{name}": (names == "gray") * marks.colour[chosen, channel]
            for channel, name in enumerate(LAB)
        },
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


def separate_names(lab: Colours, weight: Weights) -> Names:
    """Name colours, Oklab times 100, shape (n, 3), as `hue_names`, by weights of shape (n,).

    Two names that stand for hardly different colours, which only scatter around the border between
    them, become one. So do two between which colours change without a gap, where most have one of
    the names; else neither is the name of all, and these colours have none.
    """
    names = hue_names(lab)
    near = _closest(lab, weight, names)
    while near is not None:
        either = np.isin(names, near)
        mean = np.average(lab[either], axis=0, weights=weight[either])
        names[either] = hue_names(mean).item()
        near = _closest(lab, weight, names)
    shares = {name: float(weight[names == name].sum()) for name in set(names)}
    for chain in _chains(lab, weight, names):
        most = max(sorted(chain), key=lambda name: shares[name])
        is_most = shares[most] > _MOSTLY * sum(shares[name] for name in chain)
        names[np.isin(names, list(chain))] = most if is_most else ""
    return names


def _closest(lab: Colours, weight: Weights, names: Names) -> tuple[str, str] | None:
    """Return the two names of the least different colours, where these hardly differ."""
    pairs = list(combinations(sorted(set(names)), 2))
    gaps = [_gap(lab, weight, names == first, names == second)[0] for first, second in pairs]
    return pairs[int(np.argmin(gaps))] if gaps and min(gaps) < 1 else None


def _chains(lab: Colours, weight: Weights, names: Names) -> list[set[str]]:
    """Find sets of names between which colours change without a gap."""
    chains: list[set[str]] = []
    for first, second in combinations(sorted(set(names)), 2):
        if _gap(lab, weight, names == first, names == second)[1] < 1:
            joined = [chain for chain in chains if chain & {first, second}]
            chains = [chain for chain in chains if not chain & {first, second}]
            chains.append({first, second}.union(*joined))
    return chains


def _gap(
    lab: Colours, weight: Weights, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """How far two groups of colours are apart, over what two names are, and over their spread."""
    means = [np.average(lab[group], axis=0, weights=weight[group]) for group in (first, second)]
    away = float(np.linalg.norm(means[1] - means[0]))
    way = (means[1] - means[0]) / max(away, 1e-9)
    spread = sum(
        np.sqrt(np.average(((lab[group] - mean) @ way) ** 2, weights=weight[group]))
        for group, mean in zip((first, second), means, strict=True)
    )
    return away / _APART, away / max(_SPREAD * float(spread), 1e-9)


def _network(marks: Marks, sums: _Sums) -> dict[str, Plane]:
    """Measure the lines of every patch by their middles."""
    line = marks.line
    area = marks.area[line]
    width = float(np.average(marks.width[line], weights=area)) if len(area) else 1.0
    network = trace_network(np.append(False, line)[marks.labels], width)
    parts = ("length", "ends", "branches", "crossings")
    axes = {
        f"line_{part}": sums(getattr(network, part)[:, 0], getattr(network, part)[:, 1])
        for part in parts
    }
    widths = np.append(1.0, marks.width)[marks.labels[tuple(network.length.T)]]
    axes["line_width"] = sums(network.length[:, 0], network.length[:, 1], widths)
    place = marks.row[line], marks.column[line]
    axes["line_count"] = sums(*place)
    straight = marks.elongation[line] < _STRAIGHT
    axes["line_along"] = sums(*place, np.cos(2 * marks.angle[line]) * straight)
    axes["line_across"] = sums(*place, np.sin(2 * marks.angle[line]) * straight)
    return axes


def oklab(rgb: npt.NDArray[np.uint8]) -> Plane:
    """Convert sRGB bytes, shape (..., 3), to Oklab (Ottosson 2020) times 100."""
    return np.moveaxis(_oklab_planes(np.moveaxis(rgb, -1, 0)), 0, -1)


def _oklab_planes(planes: npt.NDArray[np.uint8]) -> Plane:
    """Convert planes of sRGB bytes, shape (3, ...), to Oklab times 100."""
    light = np.take(_linear_light(), planes).reshape(3, -1)
    roots = np.cbrt(product(_TO_CONES, light))
    return product(_TO_LAB, roots).reshape(planes.shape)


def _balanced(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undo most of the light's tint (shades of gray, Finlayson and Trezzi 2004), and dimness.

    Returns what takes the place of every byte of every channel, shape (256, 3).
    """
    few = np.take(_linear_light(), planes[:, ::4, ::4]).reshape(3, -1)
    tint = np.mean(few**_POWER, 1) ** (1 / _POWER) + np.float32(1e-4)
    gain = np.clip((tint.mean() / tint) ** _TINT, *_TINTS)
    brightest = max(float(np.quantile((few * gain[:, None]).max(0), 0.98)), 1e-3)
    gain = gain * np.clip((_WHITE / brightest) ** _DIM, 1.0, _DIMMEST)
    light = np.clip(_linear_light()[:, None] * gain, 0, 1).astype(np.float32)
    levels = np.searchsorted(_linear_light(), light)
    return np.asarray(np.minimum(levels, 255), np.uint8)


@cache
def _linear_light() -> Plane:
    """Linear light of every sRGB byte."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(light, np.float32)


@cache
def _colour_table() -> Plane:
    """Memberships in the colour terms, (32**3, 11), of the middles of cells of sRGB."""
    levels = np.linspace(0, 255, _CELLS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)
    return colour_shares(oklab(cube)).reshape(-1, len(COLOURS))


def _texture(lab: Plane) -> Iterable[tuple[str, Plane]]:
    """Measure lightness, contrast per scale, edges and their direction, from Oklab times 100."""
    maps = dict(zip(LAB, lab, strict=True))
    maps |= {f"{name}_squared": plane**2 for name, plane in zip(LAB, lab, strict=True)}
    for (first, plane), (second, other) in combinations(zip(LAB, lab, strict=True), 2):
        maps[f"{first}_times_{second}"] = plane * other
    lightness = lab[0]
    edges = sorted({edge for band in _BANDS.values() for edge in band})
    blurred = {sigma: blur(lightness, sigma) if sigma else lightness for sigma in edges}
    for band, (low, high) in _BANDS.items():
        maps[f"{band}_energy"] = np.abs(blurred[low] - blurred[high])
    busy = ndimage.uniform_filter(maps["fine_energy"] + maps["medium_energy"], 5)
    maps["flat"] = (busy < _FLAT).astype(np.float32)
    # The structure tensor: strength of edges and the double angle of their direction, in which
    # edges of opposite sign add up and directions at right angles cancel.
    down, right = np.gradient(blurred[1.4])
    squared, along, across = down**2 + right**2, right**2 - down**2, 2 * right * down
    strength = np.sqrt(squared)
    energy, even, askew = blur(np.stack([squared, along, across]), 4.0)
    maps["gradient"] = strength
    maps["edge"] = (strength > _EDGE / 2).astype(np.float32)
    maps["gradient_along"], maps["gradient_across"] = along, across
    maps["coherence"] = strength * np.sqrt(even**2 + askew**2) / (energy + np.float32(0.25))
    # The same of clear edges only; in the fourfold angle, directions at right angles add up.
    clear = (strength > _CLEAR).astype(np.float32)
    squared = squared * clear
    maps["clear_squared"] = squared
    maps["clear_along"], maps["clear_across"] = along * clear, across * clear
    inverse = clear / np.maximum(squared, np.float32(_CLEAR**2))
    maps["fourfold_along"] = (along**2 - across**2) * inverse
    maps["fourfold_across"] = 2 * along * across * inverse
    maps["slope_down"], maps["slope_right"] = np.gradient(blurred[20.0])
    return maps.items()
