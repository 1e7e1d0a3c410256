"""AlphaCLIP (Sun et al. 2024): CLIP with a fourth channel that says where to look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_patchioner.checkpoints import read_state, rename
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, class_attention, grid_key

from ._alphaclip_mask import normalised, pixel_masks
from ._lazy_text import LazyText, WithText
from ._openai_vit import OpenAIVision, read_vision
from ._preprocess import CLIP, Preprocessing
from ._progress import silent
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.regions import PatchWeights

    from ._alphaclip_mask import Alpha
    from ._openai_vit import Tokens
    from ._preprocess import Layout, Prepared
    from ._progress import Progress

_BATCH = 8
_DETAILS = (4, 2, 1)


class AlphaClip(WithText):
    """A CLIP that looks again at every region, with the region as its mask.

    The mask goes through a convolution of its own (``conv1_alpha``) and is added to the patch
    embeddings; the region's vector is the projected class token of that pass. The whole picture
    stays in view, so a region is seen in its context.

    **This costs one pass of the vision transformer per region**, unlike every other backbone
    here: 64 regions take 64 times as long as one (about 35 GFLOP each for ViT-B/16 at 224
    pixels). :meth:`encode` is one pass too, with everything inside the mask; its grid is what
    patch maps and search show, and pooling it ignores the masks.

    At its default size the picture is squashed to 224 x 224 pixels: 14 x 14 patches of 16, each
    laid out as 4 x 4 equal cells, because masks may be finer than patches. The network and
    published weights are under Apache-2.0.

    Parameters
    ----------
    network : OpenAIVision
        With AlphaCLIP's second convolution.
    text : LazyText, optional
        The text tower, CLIP's own.
    size : int, optional
        Side of the picture in pixels; what the weights were trained with by default. Positions are
        resampled (bicubic) for any other.
    layout : {"square", "aspect", "crop"}
        See `Preprocessing`.
    alpha : {"official", "reference"}
        Masks scaled to ``(mask - 0.5) / 0.26`` as AlphaCLIP was trained, or left at 0 and 1 as the
        published Patch-ioner does.
    detail : int, optional
        Cells of the grid along one side of a patch, a divisor of its pixels; by default 4, or 2
        for patches of 14 pixels.

    Raises
    ------
    ModelError
        The network has no second convolution, or an option is none of those above.
    """

    def __init__(
        self,
        network: OpenAIVision,
        text: LazyText | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        alpha: Alpha = "official",
        detail: int | None = None,
    ) -> None:
        sizes = network.sizes
        if not sizes.alpha:
            raise ModelError(
                "These weights are a plain CLIP without conv1_alpha.weight; choose AlphaCLIP's."
            )
        if alpha not in ("official", "reference"):
            raise ModelError(f"The option alpha must be official or reference, not {alpha!r}.")
        self._network, self._alpha = network, alpha
        self._detail = _cells(sizes.patch_size, detail)
        self.dim = sizes.dim
        self.patch_size = sizes.patch_size // self._detail
        self.input_size = size or sizes.side * sizes.patch_size
        self._prepare = Preprocessing(self.input_size, sizes.patch_size, layout, CLIP)
        super().__init__(text)
        self.name = f"alphaclip/{network.name}/{self.input_size}/{layout}/{alpha}/{self._detail}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        alpha: Alpha = "official",
        detail: int | None = None,
        heads: int | None = None,
    ) -> AlphaClip:
        """Open a published checkpoint.

        Parameters
        ----------
        files : mapping of str to Path
            ``"alpha"``: AlphaCLIP's visual weights (``clip_b16_grit1m_fultune_8xe.pth`` and its
            kin), by OpenAI's names with or without ``visual.``; ``"clip"``, optional: the
            folder of the CLIP it was trained from, for its text tower.
        heads : int, optional
            Attention heads; one per 64 channels by default.
        size, layout, alpha, detail
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or of another network.
        """
        state = rename(read_state(files["alpha"]), [(r"visual\.(.*)", r"\1")])
        network = read_vision(state, source=files["alpha"], heads=heads)
        text = LazyText.of_folder(files["clip"]) if "clip" in files else None
        return cls(network, text, size=size, layout=layout, alpha=alpha, detail=detail)

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once, with all of it inside the mask.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            Gray, RGB or RGBA.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.

        Returns
        -------
        FeatureGrid
            Every token through the last layer norm and the projection; ``cls`` is the whole
            image's vector and ``picture`` what :meth:`embed_regions` looks at.
        """
        tell = progress or silent
        tell(0.0, "reading the image")
        prepared = self._prepare(image)
        height, width = prepared.pixels.shape[2:]
        whole = np.ones((1, 1, height, width), np.float32)
        with self._network.telling(progress, f"looking at {self.input_size} pixels"):
            tokens = self._look(prepared.pixels, whole)
        tell(1.0, "done")
        return self._grid(prepared, tokens)

    def embed_regions(
        self,
        grid: FeatureGrid,
        weights: Sequence[PatchWeights],
        *,
        progress: Progress | None = None,
    ) -> npt.NDArray[np.float32]:
        """Look at the picture again, once per region.

        Parameters
        ----------
        grid : FeatureGrid
            From :meth:`encode`.
        weights : sequence of PatchWeights
            The regions on that grid.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            Class tokens, not normalised.

        Raises
        ------
        ModelError
            The grid has no picture, or a region was covered on another grid.
        """
        if grid.picture is None:
            raise ModelError("The grid has no picture to look at again; encode the image again.")
        for region in weights:
            if region.grid_shape != grid.shape:
                raise ModelError(
                    f"A region on a grid of {region.grid_shape} does not fit one of {grid.shape}; "
                    f"cover it with this grid's transform."
                )
        picture = torch.from_numpy(grid.picture)[None]
        height, width = grid.picture.shape[1:]
        rows = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(weights), _BATCH):
            masks = pixel_masks(weights[start : start + _BATCH], (height, width))
            span = (start / len(weights), (start + len(masks)) / len(weights))
            message = f"looking again at {len(weights)} regions"
            with self._network.telling(progress, message, span):
                tokens = self._look(picture.expand(len(masks), -1, -1, -1), masks)
            rows.append(tokens.projected[:, 0].numpy())
        return np.concatenate(rows)

    @torch.inference_mode()
    def _look(self, pixels: torch.Tensor, masks: npt.NDArray[np.float32]) -> Tokens:
        alpha = torch.from_numpy(normalised(masks, self._alpha))
        with spare_core():
            tokens: Tokens = self._network(pixels, alpha)
        return tokens

    def _grid(self, prepared: Prepared, tokens: Tokens) -> FeatureGrid:
        rows, columns = prepared.transform.grid_shape
        patches = tokens.projected[0, 1:].numpy().reshape(rows, columns, self.dim)
        attention = class_attention(tokens.qkv[0].numpy(), self._network.sizes.heads, 1)
        cells = attention.reshape(rows, columns) / np.float32(self._detail**2)
        return FeatureGrid(
            embeddings=self._finer(patches),
            transform=replace(
                prepared.transform, grid_shape=(rows * self._detail, columns * self._detail)
            ),
            key=grid_key(prepared.rgb, self.name),
            attention=self._finer(cells),
            cls=tokens.projected[0, 0].numpy(),
            backbone=self.name,
            picture=prepared.pixels[0].numpy(),
        )

    def _finer(self, plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Repeat every patch as cells."""
        return plane.repeat(self._detail, axis=0).repeat(self._detail, axis=1)


def _cells(patch_size: int, detail: int | None) -> int:
    """Check the number of cells along a patch, or choose it."""
    if detail is None:
        return next(cells for cells in _DETAILS if patch_size % cells == 0)
    if detail < 1 or patch_size % detail:
        raise ModelError(
            f"The option detail must divide the patch size {patch_size}, which {detail} does not."
        )
    return detail
