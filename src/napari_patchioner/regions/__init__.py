"""What a person can draw, and which patches it covers."""

from __future__ import annotations

from ._cover import cover
from ._shapes import Box, Ellipse, Mask, Point, Polygon, Region, RegionSet, Trace, WholeImage
from ._untangle import untangle
from ._weights import PatchWeights

__all__ = [
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
    "cover",
    "untangle",
]
