from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from alike import alike

from napari_patchioner.regions import (
    Box,
    Ellipse,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)


@pytest.fixture(scope="session")
def same_region() -> Any:
    """Tell whether two regions are of one kind and within 1e-6 pixels of each other."""
    return alike


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
