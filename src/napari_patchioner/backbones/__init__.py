"""From an image to a grid of patch embeddings, one file per family of backbones.

torch is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.parts import PartKind

from .protocols import RegionEncoder, TextTower

if TYPE_CHECKING:
    from .base import Backbone

__all__ = ["BACKBONES", "Backbone", "RegionEncoder", "TextTower"]

BACKBONES = {
    "talk2dino": PartKind(
        "backbones.talk2dino:Talk2DINO", ("vision",), ("projection", "text", "merges")
    ),
    "dino": PartKind("backbones.dino:Dino", ("vision",)),
    "dinotxt": PartKind("backbones.dinotxt:DinoTxt", ("vision",), ("head", "text", "merges")),
    "clip": PartKind("backbones.clip:ClipDense", ("clip",)),
    "maskclip": PartKind("backbones.clip:MaskClip", ("clip",)),
    "invite": PartKind("backbones.clip:Invite", ("clip",)),
    "proxyclip": PartKind("backbones.proxyclip:ProxyClip", ("clip", "guide")),
    "denseclip": PartKind("backbones.denseclip:DenseClip", ("weights",), ("merges", "clip")),
    "siglip2": PartKind("backbones.siglip2:SigLip2", ("folder",)),
    "alphaclip": PartKind("backbones.alphaclip:AlphaClip", ("alpha",), ("clip",)),
    "regionclip": PartKind("backbones.regionclip:RegionClip", ("weights",), ("merges",)),
}
"""What a preset can name as its backbone."""


def __getattr__(name: str) -> object:
    """Import the base class, which needs torch."""
    if name != "Backbone":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .base import Backbone

    return Backbone
