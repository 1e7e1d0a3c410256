"""What a person can draw, and which patches it covers."""

from __future__ import annotations

from ._shapes import Box, Ellipse, Mask, Point, Polygon, Region, RegionSet, Trace, WholeImage

__all__ = [
    "Box",
    "Ellipse",
    "Mask",
    "Point",
    "Polygon",
    "Region",
    "RegionSet",
    "Trace",
    "WholeImage",
]
