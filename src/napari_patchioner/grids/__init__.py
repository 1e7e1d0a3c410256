"""Feature grids: embeddings of an image's patches, their coordinates, and pooling over them."""

from __future__ import annotations

from napari_patchioner.regions import GridTransform

from .grid import PHOTOGRAPH, FeatureGrid, derived_key, grid_key, pool, pool_shares
from .store import GridStore, StoreSize, cache_folder
from .tiles import Block, Strip, Tiling, stitch

__all__ = [
    "PHOTOGRAPH",
    "Block",
    "FeatureGrid",
    "GridStore",
    "GridTransform",
    "StoreSize",
    "Strip",
    "Tiling",
    "cache_folder",
    "derived_key",
    "grid_key",
    "pool",
    "pool_shares",
    "stitch",
]
