"""Feature grids: embeddings of an image's patches, their coordinates, and pooling over them."""

from __future__ import annotations

from ._class_attention import class_attention
from ._grid import FeatureGrid
from ._key import grid_key
from ._pool import pool, pool_shares
from ._store import GridStore, StoreSize, cache_folder
from ._transform import GridTransform

__all__ = [
    "FeatureGrid",
    "GridStore",
    "GridTransform",
    "StoreSize",
    "cache_folder",
    "class_attention",
    "grid_key",
    "pool",
    "pool_shares",
]
