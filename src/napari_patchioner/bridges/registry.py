"""The bridges that a preset can name."""

from __future__ import annotations

from napari_patchioner.parts import PartKind

BRIDGES = {
    "memory": PartKind("bridges:MemoryBridge", ("bank",)),
    "retrieve": PartKind("bridges:RetrievalBridge", ("bank",)),
    "normalize": PartKind("bridges:NormalizeBridge"),
    "entities": PartKind("bridges:EntityBridge", ("entities",)),
    "meacap": PartKind("bridges:MeaCapBridge", ("bank", "parser", "sentences")),
}
