"""Closing the gap between image and text embeddings."""

from __future__ import annotations

from ._bridge import Bridge, Crossing, Scene
from ._context import clean_context
from ._memory import MemoryBank
from ._memory_bridge import MemoryBridge
from ._normalize import NormalizeBridge, unit_rows

__all__ = [
    "Bridge",
    "Crossing",
    "MemoryBank",
    "MemoryBridge",
    "NormalizeBridge",
    "Scene",
    "clean_context",
    "unit_rows",
]
