"""What a region stands on, what is behind it and what is near it: parts around it, named."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.devices import product
from napari_patchioner.regions import PatchWeights

FloatArray: TypeAlias = npt.NDArray[np.float32]

# How far around a region is looked, in its sides and at least in patches, and below it of that.
_MARGIN, _LEAST, _BELOW = 0.25, 1.5, 0.7
# Height of the foot and of the lower part, width of the corners of the foot, in sides.
_FOOT, _LOW, _CORNER = 0.15, 0.3, 0.2
# Sides and foot overlap the ground by so many patches.
_GROUND = 0.3
# A part needs so many rows and columns inside the picture.
_SHOWN = 0.4
_EPSILON = 2e-3
# Windows of the smallest size in a picture.
SMALLEST = 49

PARTS = ("below", "foot", "low left", "low right", "left", "right", "above", "heel", "toe")
"""Parts in the order of `pool_around`; the foot, heel and toe lie inside the region."""

AROUND_FEATURES = 18
"""What `around_features` reads of a concept."""

RELATIONS = ("on", "in front of", "near")
"""How a region can lie to what is around it, in the order of the regressions."""

AROUND = 0.12
"""A concept that no part gives this much is not considered."""


def pool_around(
    cells: FloatArray, region: PatchWeights
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Mean of a grid, (rows, columns, dim), in parts around a region, shape (len(PARTS), dim).

    Also returned is which of them the picture shows, shape (len(PARTS),); the others are zero.
    """
    top, bottom = _edges(region.rows, region.weights)
    left, right = _edges(region.columns, region.weights)
    height, width = bottom - top, right - left
    over, aside = max(_LEAST, _MARGIN * height), max(_LEAST, _MARGIN * width)
    foot, low = bottom - max(1.0, _FOOT * height), bottom - max(1.0, _LOW * height)
    ground, corner = bottom + _GROUND, _CORNER * width
    parts = (
        (bottom, bottom + _BELOW * over, left, right),
        (foot, bottom, left, right),
        (low, ground, left - aside, left),
        (low, ground, right, right + aside),
        (top, low, left - aside, left),
        (top, low, right, right + aside),
        (top - over, top, left, right),
        (foot, bottom, left, left + corner),
        (foot, bottom, right - corner, right),
    )
    tops, bottoms, lefts, rights = np.array(parts).T
    down = _inside(tops, bottoms, cells.shape[0])
    across = _inside(lefts, rights, cells.shape[1])
    shown = (down.sum(1) >= _SHOWN) & (across.sum(1) >= _SHOWN)
    means = np.zeros((len(parts), cells.shape[2]), np.float32)
    for part in np.flatnonzero(shown):
        rows, columns = (np.flatnonzero(shares[part]) for shares in (down, across))
        area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        weights = np.outer(down[part][area[0]], across[part][area[1]]).astype(np.float32)
        block = cells[area].reshape(-1, cells.shape[2])
        means[part] = product(weights.reshape(1, -1), block)[0] / weights.sum()
    return means, shown


def _edges(places: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> tuple[float, float]:
    """First and last edge of a region, where the outermost patches are taken in part."""
    shares = np.zeros(places.max() + 1)
    np.maximum.at(shares, places, weights / weights.max())
    first, last = places.min(), places.max()
    if first == last:
        return float(first), float(last + 1)
    return float(first + 1 - shares[first]), float(last + shares[last])


def _inside(starts: FloatArray, ends: FloatArray, count: int) -> npt.NDArray[np.float64]:
    """Share of each of ``count`` patches between two edges, shape (n, count)."""
    edges = np.arange(count + 1)
    shared = np.minimum(ends[:, None], edges[1:]) - np.maximum(starts[:, None], edges[:-1])
    return np.asarray(np.clip(shared, 0, None))


def around_features(
    own: FloatArray, parts: FloatArray, shown: npt.NDArray[np.bool_], windows: FloatArray
) -> FloatArray:
    """Say how the parts around a region support each concept, shape (concepts, AROUND_FEATURES).

    Of the probabilities in the region, (concepts,), in the parts, (len(PARTS), concepts), and in
    the windows of the whole picture, (84, concepts), as log-odds: in the region, below it, at its
    foot, the larger and the mean of both sides low and above that, above, of both corners of the
    foot, the mean around and the largest of all; the largest of the windows, the mean of the
    smallest and that of the whole picture; and the shares of all parts, of the lower and of the
    upper ones in which the concept comes first. A part that the picture does not show is taken to
    be as the others are.
    """
    around = np.array([part not in ("foot", "heel", "toe") for part in PARTS])
    visible = shown & around
    mean = parts[visible].mean(0) if visible.any() else own
    parts = np.where(shown[:, None], parts, mean)
    below, foot, low_left, low_right, left, right, above, heel, toe = parts
    pairs = [np.stack(pair) for pair in ((low_left, low_right), (left, right), (heel, toe))]
    sides = [chances for pair in pairs for chances in (pair.max(0), pair.mean(0))]
    chances = [own, below, foot, *sides[:4], above, *sides[4:], mean, parts.max(0)]
    chances += [windows[1:].max(0), windows[-SMALLEST:].mean(0), windows[0]]
    odds = [np.log(chance + _EPSILON) - np.log(1 - chance + _EPSILON) for chance in chances]
    is_first = parts.argmax(1)[:, None] == np.arange(parts.shape[1])
    firsts = [is_first.mean(0), is_first[[0, 2, 3]].mean(0), is_first[[4, 5, 6]].mean(0)]
    return np.stack([*odds, *firsts], axis=1).astype(np.float32)
