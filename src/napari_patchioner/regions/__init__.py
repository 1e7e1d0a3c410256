"""What a person can draw, and which patches it covers."""

from __future__ import annotations

from ._cover import GridTransform, PatchWeights, cover, cover_all, each
from ._cuts import one_outline
from ._outline import MOST_CROSSINGS, crosses_itself, enclosed, is_tangled, untangle
from ._place import Layout, Relation, Size
from ._shapes import (
    Box,
    Ellipse,
    Kind,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
    label_boxes,
    same_drawing,
    united,
    upright_box,
)

__all__ = [
    "MOST_CROSSINGS",
    "Box",
    "Ellipse",
    "GridTransform",
    "Kind",
    "Layout",
    "Mask",
    "PatchWeights",
    "Point",
    "Polygon",
    "Region",
    "RegionSet",
    "Relation",
    "Size",
    "Trace",
    "WholeImage",
    "cover",
    "cover_all",
    "crosses_itself",
    "each",
    "enclosed",
    "is_tangled",
    "label_boxes",
    "one_outline",
    "same_drawing",
    "united",
    "untangle",
    "upright_box",
]
