"""INViTE: tokens that see only themselves in the last layers (Chen et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import ModelError

from ._clip_backbone import ClipBackbone, clip_parts
from ._clip_vision import attend_to_oneself

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from ._clip_positions import Positions
    from ._preprocess import Layout


class Invite(ClipBackbone):
    """CLIP in whose last layers no token looks at another, so that patches keep their place.

    Residual connections and MLPs stay as they are, and so does the class token's: it is no
    summary of the picture any more. Grid at the default 224 pixels: 7 x 7 for ViT-B/32, 14 x 14
    for ViT-B/16, 16 x 16 for ViT-L/14; the paper also runs ViT-B/16 at 592 pixels, 37 x 37.

    The published code names no licence; CLIP's weights are under the MIT licence.

    Parameters
    ----------
    *args, **settings
        See `ClipBackbone`.
    last : int
        How many layers, counted from the last.
    """

    kind = "invite"

    def __init__(self, *args: Any, last: int = 1, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._apart = len(self._vision.layers) - last
        if last < 1 or self._apart < 0:
            raise ModelError(
                f"INViTE changes 1 to {len(self._vision.layers)} layers of this CLIP, not {last}."
            )
        self.name += f"-last{last}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
        last: int = 1,
    ) -> Invite:
        """Open a CLIP to look at it the INViTE way.

        Parameters
        ----------
        files : mapping of str to Path
            ``clip``: a folder with ``config.json``, ``model.safetensors`` (or
            ``pytorch_model.bin``) and, for text, ``merges.txt``.
        size, layout, positions, last
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        vision, text = clip_parts(files["clip"])
        return cls(vision, text, last=last, size=size, layout=layout, positions=positions)

    def _pass(self, layer: Any, place: int, hidden: Tensor) -> Tensor:
        if place < self._apart:
            return super()._pass(layer, place, hidden)
        return attend_to_oneself(layer, hidden)

    def _last(self, hidden: Tensor) -> Tensor:
        return self._vision.finish(attend_to_oneself(self._vision.layers[-1], hidden))
