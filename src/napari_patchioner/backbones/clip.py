"""CLIP's own patch tokens (Radford et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._clip_backbone import ClipBackbone, clip_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ._clip_positions import Positions
    from ._preprocess import Layout


class ClipDense(ClipBackbone):
    """Every token of CLIP's vision transformer, normalised and projected as its class token is.

    CLIP was trained with its class token alone, so patch tokens tell less of their place than
    those of other backbones: the paper's weakest one. Grid at the default 224 pixels: 7 x 7 for
    ViT-B/32, 14 x 14 for ViT-B/16, 16 x 16 for ViT-L/14; the paper also runs ViT-B/16 at 592
    pixels, 37 x 37, with positions interpolated by timm (``positions="antialias"``).

    OpenAI's code and weights are under the MIT licence.
    """

    kind = "clip"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
    ) -> ClipDense:
        """Open a CLIP.

        Parameters
        ----------
        files : mapping of str to Path
            ``clip``: a folder with ``config.json``, ``model.safetensors`` (or
            ``pytorch_model.bin``) and, for text, ``merges.txt``.
        size, layout, positions
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        vision, text = clip_parts(files["clip"])
        return cls(vision, text, size=size, layout=layout, positions=positions)
