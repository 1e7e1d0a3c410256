"""Talk2DINO (Barsellotti et al., ICCV 2025): DINO's patches, with text in their space."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._dino import DinoVision, check_attention
from ._dino_grid import encode, native_size
from ._preprocess import Preprocessing
from ._talk2dino_parts import read_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid

    from ._clip_text import ClipText
    from ._dino import Attention
    from ._preprocess import Layout
    from ._progress import Progress
    from ._projection import Projection


class Talk2DINO:
    r"""DINO patch embeddings, and text embeddings projected among them.

    A patch embedding is DINO's patch token after the final layer norm, as it is (registers and
    class token left out); a text embedding is :math:`\psi(t)` of a CLIP ViT-B/16 text embedding
    :math:`t`, see `Projection`. Compare them by cosine. ``attention`` of a grid is the
    class token's attention in the last block, averaged over heads before the softmax; ``cls`` is
    the class token.

    At its default size the whole picture is squashed into a square of 518 pixels, 37 by 37
    patches (DINOv2, patches of 14 pixels), or of 512 pixels, 32 by 32 patches (DINOv3, patches of
    16). ViT-B has 768 numbers a patch, ViT-L 1024.

    DINOv2 is under Apache-2.0, DINOv3 under a licence of its own, CLIP under MIT; the projection
    comes without a licence.

    Parameters
    ----------
    vision : DinoVision
        DINOv2 with registers or DINOv3.
    projection : Projection
        Trained for that DINO.
    load_text : callable, optional
        Opens CLIP's text tower, called when text is embedded for the first time.
    size : int, optional
        Side of the square, long side (``layout="aspect"``) or short side (``"crop"``), in pixels.
    layout : {"square", "aspect", "crop"}
        Squash, keep the aspect ratio, or cut out the middle square.
    attention : {"paper", "reference"}
        The network's own heads, or the 16 that Patch-ioner splits ViT-B in.

    Attributes
    ----------
    name : str
        Tells apart whatever changes a grid.
    dim, patch_size, input_size : int
        See `Backbone`.
    provenance : mapping of str to str
        ``"projection"``: hash of the projection, which memory banks, entity tables and decoders
        of this space must share.

    Raises
    ------
    ModelError
        The projection was made for a DINO of another width, or an option is unknown.
    """

    def __init__(
        self,
        vision: DinoVision,
        projection: Projection,
        load_text: Callable[[], ClipText] | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> None:
        if projection.dim != vision.dim:
            raise ModelError(
                f"{projection.label} maps to {projection.dim} numbers where {vision.name} has "
                f"{vision.dim}; choose the projection of the same DINO."
            )
        self._vision, self._projection, self._load_text = vision, projection, load_text
        check_attention(attention)
        self._attention = attention
        self.dim, self.patch_size = vision.dim, vision.patch_size
        self.input_size = size or native_size(vision.patch_size)
        self._preprocessing = Preprocessing(self.input_size, self.patch_size, layout)
        self.provenance = {"projection": projection.hash}
        ending = "" if attention == "paper" else "/attention-reference"
        self.name = f"talk2dino/{vision.name}/{self.input_size}/{layout}{ending}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> Talk2DINO:
        """Open a Talk2DINO from disk.

        Parameters
        ----------
        files : mapping of str to Path
            ``"vision"``: folder of a DINO, its weights alone, or a whole published Talk2DINO
            (``Talk2DINO-ViTB``, ``Talk2DINO-ViTL``), which needs no other file.
            ``"projection"``: file of the projection. ``"text"``: folder of CLIP ViT-B/16, needed
            only to embed text. ``"merges"``: CLIP's word pieces, for the text tower of a whole
            Talk2DINO; looked for in installed packages by default.
        size, layout, attention
            See `Talk2DINO`.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        parts = read_parts(files)
        return cls(
            DinoVision.from_state(parts.vision, source=parts.source),
            parts.projection,
            parts.load_text,
            size=size,
            layout=layout,
            attention=attention,
        )

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

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences among the patches; the text tower is opened at the first call.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            Not normalised.

        Raises
        ------
        ModelError
            No text tower was given, or it is not the one of the projection.
        """
        return self._projection(self._text.embed(texts, progress=progress))

    @cached_property
    def _text(self) -> ClipText:
        if self._load_text is None:
            raise ModelError(
                "This Talk2DINO was opened without a text tower; "
                "add the folder of CLIP ViT-B/16 (openai/clip-vit-base-patch16) as its text."
            )
        return self._load_text()
