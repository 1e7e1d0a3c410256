"""DINO's patches alone, for models whose memory and decoder were made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._dino import DinoVision, check_attention
from ._dino_grid import encode, native_size
from ._preprocess import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid

    from ._dino import Attention
    from ._preprocess import Layout
    from ._progress import Progress


class Dino:
    """DINO patch embeddings, without text in their space.

    The grids are those of `Talk2DINO`, number for number: its projection acts on text only, so a
    model that comes with its memory bank and decoder needs neither the projection nor CLIP to
    caption. At its default size the whole picture is squashed into a square of 518 pixels, 37 by
    37 patches (DINOv2), or of 512 pixels, 32 by 32 patches (DINOv3).

    DINOv2 is under Apache-2.0, DINOv3 under a licence of its own.

    Parameters
    ----------
    vision : DinoVision
        DINOv2 with registers or DINOv3.
    size : int, optional
        Side of the square, long side (``layout="aspect"``) or short side (``"crop"``), in pixels.
    layout : {"square", "aspect", "crop"}
        Squash, keep the aspect ratio, or cut out the middle square.
    attention : {"paper", "reference"}
        The network's own heads, or the 16 that Patch-ioner splits ViT-B in.

    Attributes
    ----------
    name, dim, patch_size, input_size
        See `Backbone`.
    """

    def __init__(
        self,
        vision: DinoVision,
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> None:
        check_attention(attention)
        self._vision, self._attention = vision, attention
        self.dim, self.patch_size = vision.dim, vision.patch_size
        self.input_size = size or native_size(vision.patch_size)
        self._preprocessing = Preprocessing(self.input_size, self.patch_size, layout)
        self.provenance: dict[str, str] = {}
        ending = "" if attention == "paper" else "/attention-reference"
        self.name = f"dino/{vision.name}/{self.input_size}/{layout}{ending}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> Dino:
        """Open a DINO from disk.

        Parameters
        ----------
        files : mapping of str to Path
            ``"vision"``: folder of a DINO, or its weights alone.
        size, layout, attention
            See `Dino`.

        Raises
        ------
        ModelError
            A file is missing or damaged, or an option is unknown.
        """
        vision = DinoVision.open(files["vision"])
        return cls(vision, size=size, layout=layout, attention=attention)

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once; see `Backbone.encode`."""
        return encode(
            image,
            self._vision,
            self._preprocessing,
            self.name,
            attention=self._attention,
            progress=progress,
        )
