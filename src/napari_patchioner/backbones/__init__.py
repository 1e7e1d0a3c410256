"""From an image to a grid of patch embeddings, one file per family of backbones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from napari_patchioner.grids import FeatureGrid
from napari_patchioner.parts import PartKind
from napari_patchioner.progress import Progress
from napari_patchioner.regions import PatchWeights, Region

__all__ = ["BACKBONES", "CloseUpEncoder", "RegionEncoder", "TextTower"]

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
    "clip": PartKind("backbones.clip:ClipDense", ("clip",), ("merges",), _CLIP),
    "maskclip": PartKind("backbones.clip:MaskClip", ("clip",), ("merges",), (*_CLIP, "residual")),
    "invite": PartKind("backbones.clip:Invite", ("clip",), ("merges",), (*_CLIP, "last")),
    "proxyclip": PartKind("backbones.proxyclip:ProxyClip", ("clip", "guide"), (), _PROXY),
    "denseclip": PartKind(
        "backbones.clip:DenseClip",
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


@runtime_checkable
class TextTower(Protocol):
    """A backbone that puts sentences in the space of its patch embeddings.

    Where a model's bridge has a space of sentences of its own (`bridges.TextSpace`, as `mini` has),
    they are in that; `Captioner.text_vectors` gives regions in whichever it is.
    """

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``."""


@runtime_checkable
class RegionEncoder(Protocol):
    """A backbone that encodes the picture again for every region, instead of pooling patches."""

    def embed_regions(
        self,
        grid: FeatureGrid,
        weights: Sequence[PatchWeights],
        *,
        progress: Progress | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed regions, shape (n, dim), one pass each, of what is in ``grid.picture``.

        ``progress`` may raise ``Cancelled``.
        """


@runtime_checkable
class CloseUpEncoder(Protocol):
    """A backbone that looks once more, closely, at regions too small to be seen well."""

    def embed_close_ups(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        *,
        progress: Progress | None = None,
    ) -> dict[int, npt.NDArray[np.float32]]:
        """Embed the small ones among regions from what is in ``grid.picture``, one pass each.

        Returns vectors, (d,), by the position of their region; none for regions that are large
        enough, and none at all without a picture. A set with a small member may have a vector for
        each member that the grid reaches, (members, d), not a number where that is large.
        ``progress`` may raise ``Cancelled``.
        """
