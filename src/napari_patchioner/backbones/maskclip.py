"""MaskCLIP: patches as the values of the last layer (Zhou, Loy & Dai 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ._clip_backbone import ClipBackbone, clip_parts
from ._clip_vision import attend_to_oneself, value_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from ._clip_positions import Positions
    from ._preprocess import Layout


class MaskClip(ClipBackbone):
    """CLIP whose last layer gives every patch its own value instead of a mixture of all.

    The published code keeps the layer's residual connection and MLP, which makes it the same
    function as INViTE with one layer; ``residual=False`` leaves both out, as MaskCLIP is often
    described. The class token, which MaskCLIP does not use, is CLIP's own. Grid at the default
    224 pixels: 7 x 7 for ViT-B/32, 14 x 14 for ViT-B/16, 16 x 16 for ViT-L/14.

    MaskCLIP's code is under the Apache licence 2.0; CLIP's weights under the MIT licence.

    Parameters
    ----------
    *args, **settings
        See `ClipBackbone`.
    residual : bool
        Whether the last layer keeps its residual connection and its MLP.
    """

    kind = "maskclip"

    def __init__(self, *args: Any, residual: bool = True, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._residual = residual
        if not residual:
            self.name += "-bare"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
        residual: bool = True,
    ) -> MaskClip:
        """Open a CLIP to look at it the MaskCLIP way.

        Parameters
        ----------
        files : mapping of str to Path
            ``clip``: a folder with ``config.json``, ``model.safetensors`` (or
            ``pytorch_model.bin``) and, for text, ``merges.txt``.
        size, layout, positions, residual
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        vision, text = clip_parts(files["clip"])
        settings = {"size": size, "layout": layout, "positions": positions}
        return cls(vision, text, residual=residual, **settings)

    def _last(self, hidden: Tensor) -> Tensor:
        layer = self._vision.layers[-1]
        through = attend_to_oneself if self._residual else value_path
        first = self._vision.attend(layer, hidden, slice(0, 1))
        return self._vision.finish(torch.cat([first, through(layer, hidden[:, 1:])], dim=1))
