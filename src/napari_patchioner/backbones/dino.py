"""DINO's patches alone, for models whose memory and decoder were made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from napari_patchioner.errors import ModelError

from .base import Backbone, Features, Layout, Preprocessing
from .dino_vit import Attention, DinoVision, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Side of the square input: 37 patches of 14 pixels as in the paper, else 32 patches.
_NATIVE = {14: 518, 16: 512}


class DinoBackbone(Backbone):
    """What backbones on a DINO share.

    A patch embedding is DINO's patch token after the final layer norm, as it is (registers and
    class token left out); ``attention`` of a grid is the class token's in the last block, averaged
    over heads before the softmax; ``cls`` is the class token.

    ``kind`` is the first part of the name. ``size`` is the side of the square, long side
    (``layout="aspect"``) or short side (``"crop"``) in pixels; ``attention`` is ``"paper"``: with
    the network's own heads, or ``"reference"``: the 16 that Patch-ioner splits ViT-B in.
    """

    def __init__(
        self,
        vision: DinoVision,
        kind: str,
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> None:
        if attention not in ("paper", "reference"):
            raise ModelError(f"The attention must be paper or reference, not {attention!r}.")
        self.vision, self._attention = vision, attention
        self.networks, self.blocks = [vision.network], vision.blocks
        self.dim, self.patch_size = vision.dim, vision.patch_size
        self.input_size = size or _NATIVE.get(vision.patch_size, 32 * vision.patch_size)
        self.preprocessing = Preprocessing(self.input_size, self.patch_size, layout)
        ending = "" if attention == "paper" else "/attention-reference"
        self.name = f"{kind}/{self.input_size}/{layout}{ending}"

    def forward(self, pixels: Tensor) -> Features:
        """DINO's tokens, refined where a subclass does so."""
        tokens = self.vision.encode(pixels)
        patches, cls = self.refine(tokens)
        return Features(patches, self.vision.attention(tokens, self._attention), cls=cls)

    def refine(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return patches, shape (rows, columns, dim), and class token, shape (dim,)."""
        return tokens.patches, tokens.cls


class Dino(DinoBackbone):
    """DINO patch embeddings, without text in their space.

    The grids are those of `Talk2DINO`, number for number: its projection acts on text only, so a
    model that comes with its memory bank and decoder needs neither the projection nor CLIP to
    caption. At its default size the whole picture is squashed into a square of 518 pixels, 37 by
    37 patches (DINOv2), or of 512 pixels, 32 by 32 patches (DINOv3).

    DINOv2 is under Apache-2.0, DINOv3 under a licence of its own.
    """

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> Dino:
        """Open a DINO from disk: ``files["vision"]`` is its folder, or its weights alone."""
        vision = DinoVision.open(files["vision"])
        return cls(vision, f"dino/{vision.name}", size=size, layout=layout, attention=attention)
