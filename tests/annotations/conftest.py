from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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


@pytest.fixture(scope="session")
def same_region() -> Any:
    """Tell whether two regions are of one kind and within 1e-6 pixels of each other."""
    return lambda one, other: _same(_described(one), _described(other))


@pytest.fixture(scope="session")
def regions() -> list[Any]:
    """Return one region of every kind a table can hold."""
    ring = np.array([[0.25, 1.75], [0.1, 9.3], [7.7, 8.2], [3.3, -2.5]])
    box = Box(-0.5, 1 / 3, 10.5, 20.123456789012345)
    return [
        box,
        Polygon(ring),
        Polygon(np.array([[0.0, 0.0], [0, 4], [4, 4], [4, 0]])),
        Ellipse(ring),
        Trace(ring),
        Trace(ring, connected=False),
        Trace(ring[:1]),
        Trace(ring[:1], connected=False),
        Point(1e-7, 1e7 + 0.1),
        RegionSet((box, Polygon(ring), Ellipse(ring), Trace(ring), Point(1.0, 2.0))),
        RegionSet((Ellipse(ring), Trace(ring[:1]), WholeImage()), union=True),
        WholeImage(),
    ]
