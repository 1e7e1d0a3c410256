"""Whether two regions are the same, whatever way they went."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two regions are of one kind and within 1e-6 pixels of each other."""
    return _same(_described(one), _described(other))


def _numbers(region: Any) -> list[Any]:
    if isinstance(region, RegionSet):
        return [region.union, *(_described(member) for member in region.members)]
    if isinstance(region, Box):
        return [region.top, region.left, region.bottom, region.right]
    if isinstance(region, Point):
        return [region.row, region.column]
    if isinstance(region, WholeImage):
        return []
    if isinstance(region, Polygon):
        return [region.vertices]
    if isinstance(region, Ellipse):
        return [region.corners]
    if isinstance(region, Mask):
        return [region.offset, region.pixels.astype(float)]
    assert isinstance(region, Trace)
    return [region.connected, region.points]


def _described(region: Any) -> tuple[Any, ...]:
    return (type(region), *_numbers(region))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float | np.ndarray):
        return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=0, atol=1e-6)
    return bool(one == other)
