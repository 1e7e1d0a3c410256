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

_DINO = ("size", "layout", "attention")
_CLIP = ("size", "layout", "positions")
_PROJECTED = ("projection", "text", "merges")
_PROXY = ("size", "layout", "beta", "gamma", "convention")
_ALPHA = ("size", "layout", "alpha", "detail", "heads")
BACKBONES = {
    "talk2dino": PartKind("backbones.talk2dino:Talk2DINO", ("vision",), _PROJECTED, _DINO),
    "dino": PartKind("backbones.dino:Dino", ("vision",), (), _DINO),
    "dinotxt": PartKind(
        "backbones.dinotxt:DinoTxt", ("vision",), ("head", "text", "merges"), ("head", *_DINO)
    ),
    "clip": PartKind("backbones.clip:ClipDense", ("clip",), (), _CLIP),
    "maskclip": PartKind("backbones.clip:MaskClip", ("clip",), (), (*_CLIP, "residual")),
    "invite": PartKind("backbones.clip:Invite", ("clip",), (), (*_CLIP, "last")),
    "proxyclip": PartKind("backbones.proxyclip:ProxyClip", ("clip", "guide"), (), _PROXY),
    "denseclip": PartKind(
        "backbones.denseclip:DenseClip",
        ("weights",),
        ("merges", "clip"),
        ("size", "layout", "convention"),
    ),
    "siglip2": PartKind("backbones.siglip2:SigLip2", ("folder",), (), ("size", "layout", "tokens")),
    "alphaclip": PartKind("backbones.alphaclip:AlphaClip", ("alpha",), ("clip",), _ALPHA),
    "regionclip": PartKind(
        "backbones.regionclip:RegionClip",
        ("weights",),
        ("merges",),
        ("size", "layout", "normalize"),
    ),
}
"""What a preset can name as its backbone."""


def __getattr__(name: str) -> object:
    """Import the base class, which needs torch."""
    if name != "Backbone":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .base import Backbone

    return Backbone
