"""What a person can draw, and which patches it covers."""

from __future__ import annotations

from ._bounds import bounds
from ._cover import cover
from ._each import each
from ._outline import MOST_CROSSINGS, crosses_itself, enclosed, is_tangled
from ._shapes import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
    united,
)
from ._untangle import untangle
from ._weights import PatchWeights

__all__ = [
    "MOST_CROSSINGS",
    "Box",
    "Ellipse",
    "Mask",
    "PatchWeights",
    "Point",
    "Polygon",
    "Region",
    "RegionSet",
    "Trace",
    "WholeImage",
    "bounds",
    "cover",
    "crosses_itself",
    "each",
    "enclosed",
    "is_tangled",
    "united",
    "untangle",
]
