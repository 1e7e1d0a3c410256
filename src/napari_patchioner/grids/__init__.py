"""Feature grids: embeddings of an image's patches, their coordinates, and pooling over them."""

from __future__ import annotations

from ._class_attention import class_attention
from ._grid import FeatureGrid
from ._key import grid_key
from ._pool import pool, pool_shares
from ._stitch import derived_key, stitch
from ._store import GridStore, StoreSize, cache_folder
from ._tiles import Block, Strip, Tiling
from ._transform import GridTransform

__all__ = [
    "Block",
    "FeatureGrid",
    "GridStore",
    "GridTransform",
    "StoreSize",
    "Strip",
    "Tiling",
    "cache_folder",
    "class_attention",
    "derived_key",
    "grid_key",
    "pool",
    "pool_shares",
    "stitch",
]
