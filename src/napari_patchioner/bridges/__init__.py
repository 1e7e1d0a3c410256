"""Closing the gap between image and text embeddings."""

from __future__ import annotations

from ._bridge import Bridge, Crossing, Scene, WishfulBridge
from ._concepts_of_captions import CaptionConcept, SentenceEncoder, concepts_of_captions
from ._context import clean_context
from ._entities import EntityBridge
from ._entity_table import EntityTable, coco_names, read_names
from ._meacap import MeaCapBridge
from ._memory import MemoryBank
from ._memory_bridge import MemoryBridge
from ._normalize import NormalizeBridge, unit_rows
from ._scene_graph import SceneGraph, SceneGraphParser, read_scene_graph

__all__ = [
    "Bridge",
    "CaptionConcept",
    "Crossing",
    "EntityBridge",
    "EntityTable",
    "MeaCapBridge",
    "MemoryBank",
    "MemoryBridge",
    "NormalizeBridge",
    "Scene",
    "SceneGraph",
    "SceneGraphParser",
    "SentenceEncoder",
    "WishfulBridge",
    "clean_context",
    "coco_names",
    "concepts_of_captions",
    "read_names",
    "read_scene_graph",
    "unit_rows",
]
