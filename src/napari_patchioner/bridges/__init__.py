"""Closing the gap between image and text embeddings."""

from __future__ import annotations

from napari_patchioner.parts import PartKind

from .bank_files import BankWriter
from .base import (
    Bridge,
    BridgeOutput,
    NormalizeBridge,
    PhraseReader,
    TextSpace,
    ThroughText,
    WordReader,
    clean_context,
    unit_rows,
)
from .entities import EntityBridge, EntityTable, coco_names, read_names
from .hdf5 import convert_hdf5
from .linear import LinearBridge, LinearMap, NormalEquations
from .meacap import MeaCapBridge
from .memory import MemoryBank, MemoryBridge, RetrievalBridge
from .mixed import MixedBank

__all__ = [
    "BRIDGES",
    "BankWriter",
    "Bridge",
    "BridgeOutput",
    "EntityBridge",
    "EntityTable",
    "LinearBridge",
    "LinearMap",
    "MeaCapBridge",
    "MemoryBank",
    "MemoryBridge",
    "MixedBank",
    "NormalEquations",
    "NormalizeBridge",
    "PhraseReader",
    "RetrievalBridge",
    "TextSpace",
    "ThroughText",
    "WordReader",
    "clean_context",
    "coco_names",
    "convert_hdf5",
    "read_names",
    "unit_rows",
]

BRIDGES = {
    "memory": PartKind(
        "bridges:MemoryBridge",
        ("bank",),
        options=("temperature", "unit", "normalize", "top_k", "neighbours"),
    ),
    "retrieve": PartKind("bridges:RetrievalBridge", ("bank",), options=("neighbours",)),
    "normalize": PartKind("bridges:NormalizeBridge", options=("unit",)),
    "linear": PartKind(
        "bridges:LinearBridge",
        ("map",),
        ("bank",),
        ("temperature", "top_k", "neighbours"),
    ),
    "entities": PartKind(
        "bridges:EntityBridge", ("entities",), options=("temperature", "top_k", "threshold")
    ),
    "meacap": PartKind(
        "bridges:MeaCapBridge",
        ("bank", "parser", "sentences"),
        options=("captions", "concepts", "similarity"),
    ),
}
"""The bridges that a preset can name."""
