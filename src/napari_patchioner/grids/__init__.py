"""Feature grids: embeddings of an image's patches, their coordinates, and pooling over them."""

from __future__ import annotations

from ._grid import FeatureGrid
from ._transform import GridTransform

__all__ = ["FeatureGrid", "GridTransform"]
