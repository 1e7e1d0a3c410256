"""AlphaCLIP (Sun et al. 2024): CLIP with a fourth channel, a mask of the region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_patchioner.checkpoints import read_state, rename
from napari_patchioner.devices import in_parts, to_numpy, torch_cores
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.progress import Progress
from napari_patchioner.regions import PatchWeights

from .base import ENCODE, Features, FloatArray, Layout, LazyText, block_progress
from .clip import ClipBackbone
from .clip_towers import ClipText, ClipVision, lazy_text

Alpha: TypeAlias = Literal["official", "reference"]

_BATCH = 8
_DETAILS = (4, 2, 1)
_MEAN, _DEVIATION = 0.5, 0.26


class AlphaClip(ClipBackbone):
    """A CLIP that encodes the picture again for every region, with the region as its mask.

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

    ``alpha`` is ``"official"``: masks scaled to ``(mask - 0.5) / 0.26`` as AlphaCLIP was trained,
    or ``"reference"``: left at 0 and 1 as the published Patch-ioner does. ``detail`` is the number
    of cells along one side of a patch, a divisor of its pixels; by default 4, or 2 for patches of
    14.
    """

    kind = "alphaclip"

    def __init__(
        self,
        vision: ClipVision,
        text: LazyText | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        alpha: Alpha = "official",
        detail: int | None = None,
    ) -> None:
        if not vision.reads_masks:
            raise ModelError(
                "These weights are a plain CLIP without conv1_alpha.weight; choose AlphaCLIP's."
            )
        if alpha not in ("official", "reference"):
            raise ModelError(f"The option alpha must be official or reference, not {alpha!r}.")
        patch = vision.patch_size
        if detail is None:
            detail = next(cells for cells in _DETAILS if patch % cells == 0)
        if detail < 1 or patch % detail:
            raise ModelError(
                f"The option detail must divide the patch size {patch}, which {detail} does not."
            )
        super().__init__(vision, text, size=size or None, layout=layout)
        self._alpha, self._detail = alpha, detail
        self.patch_size = patch // detail
        self.name = f"alphaclip/{vision.weights_name}/{self.input_size}/{layout}/{alpha}/{detail}"

    @classmethod
    def open(cls, files: Mapping[str, Path], *, heads: int | None = None, **options: Any) -> Self:
        """Open a published checkpoint.

        ``files["alpha"]`` are AlphaCLIP's visual weights (``clip_b16_grit1m_fultune_8xe.pth`` and
        its kin), by OpenAI's names with or without ``visual.``; ``files["clip"]``, optional, the
        folder of the CLIP it was trained from, for its text tower. ``heads`` are one per 64
        channels by default.
        """
        state = rename(read_state(files["alpha"]), [(r"(?:visual\.)?(.*)", r"visual.\1")])
        settings = {} if heads is None else {"num_attention_heads": heads}
        vision = ClipVision.from_state(state, source=files["alpha"], settings=settings)
        text = None
        if "clip" in files:
            folder = files["clip"]
            text = lazy_text(read_state(folder), lambda: ClipText.open(folder))
            if text is None:
                raise ModelError(
                    f"{folder} holds no text tower; choose the folder of a whole CLIP."
                )
        return cls(vision, text, **options)

    def forward(self, pixels: Tensor) -> Features:
        """All tokens with everything inside the mask."""
        masks = np.ones((1, 1, *pixels.shape[2:]), np.float32)
        return self._features(self._masked(pixels, masks), picture=pixels[0])

    def encode(
        self, image: npt.ArrayLike, *, progress: Progress | None = None, key: str = ""
    ) -> FeatureGrid:
        """Encode an image with all of it inside the mask, and lay every patch out as cells."""
        grid = super().encode(image, progress=progress, key=key)
        rows, columns = grid.shape

        def cells(plane: FloatArray) -> FloatArray:
            return plane.repeat(self._detail, axis=0).repeat(self._detail, axis=1)

        assert grid.attention is not None
        shape = (rows * self._detail, columns * self._detail)
        return replace(
            grid,
            embeddings=cells(grid.embeddings),
            transform=replace(grid.transform, grid_shape=shape),
            attention=cells(grid.attention / np.float32(self._detail**2)),
        )

    def embed_regions(
        self,
        grid: FeatureGrid,
        weights: Sequence[PatchWeights],
        *,
        progress: Progress | None = None,
    ) -> FloatArray:
        """Encode the picture of a grid from :meth:`encode` again, once per region.

        Returns class tokens, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``.
        """
        if grid.picture is None:
            raise ModelError("The grid has no picture to encode again; encode the image again.")
        for region in weights:
            if region.grid_shape != grid.shape:
                raise ModelError(
                    f"A region on a grid of {region.grid_shape} does not fit one of {grid.shape}; "
                    f"cover it with this grid's transform."
                )
        picture, total = torch.from_numpy(grid.picture)[None], len(weights)
        height, width = grid.picture.shape[1:]
        message = f"encoding {total} regions"

        def work(batch: slice) -> FloatArray:
            masks = pixel_masks(weights[batch], (height, width))
            span = (batch.start / total, batch.stop / total)
            with block_progress(self.blocks, progress, message, span):
                pixels = self.placement.put(picture).expand(len(masks), -1, -1, -1)
                return to_numpy(self._last(self._masked(pixels, masks))[:, 0])

        with torch_cores(), torch.inference_mode():
            rows = in_parts(self, total, _BATCH, work, ENCODE)
        return np.concatenate([np.empty((0, self.dim), np.float32), *rows])

    def _masked(self, pixels: Tensor, masks: FloatArray) -> Tensor:
        """Tokens as they enter the last layer, of pixels with masks from 0 to 1."""
        alpha = torch.from_numpy(normalised(masks, self._alpha))
        return self._before_last(pixels, self.placement.put(alpha))


def pixel_masks(weights: Sequence[PatchWeights], shape: tuple[int, int]) -> FloatArray:
    """Paint regions on a picture of (height, width) pixels, to (n, 1, height, width).

    Masks go from 0, outside, to 1, inside. What counts more than once, as in a trace or in
    overlapping boxes, is in the mask once; a share of a cell is a half-transparent one.
    """
    masks = np.zeros((len(weights), 1, *shape), np.float32)
    for mask, region in zip(masks, weights, strict=True):
        rows, columns = region.grid_shape
        cell = np.ones((shape[0] // rows, shape[1] // columns))
        mask[0] = np.kron(region.dense().clip(0, 1), cell)
    return masks


def normalised(masks: FloatArray, alpha: Alpha) -> FloatArray:
    """Scale masks from 0 to 1 as the alpha channel wants them, see `AlphaClip`."""
    return masks if alpha == "reference" else (masks - np.float32(_MEAN)) / np.float32(_DEVIATION)


def reference_box_mask(boxes: npt.ArrayLike, cells: int, cell_size: float) -> FloatArray:
    """Paint boxes as the published Patch-ioner does, for comparison only.

    Boxes, shape (n, 4), are ``(x, y, width, height)`` in pixels of the resized picture, corners at
    integers. Both ends are rounded down to cells and the far one is exclusive, so a box within one
    cell gives an empty mask; the published code uses cells of one pixel, where that hardly matters.

    >>> reference_box_mask([[0, 0, 2, 1], [2, 2, 0.5, 0.5]], cells=3, cell_size=1).tolist()
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    corners = np.asarray(boxes, float).reshape(-1, 2, 2).cumsum(axis=1)
    mask = np.zeros((cells, cells), np.float32)
    for (left, top), (right, bottom) in np.floor_divide(corners, cell_size).astype(int):
        mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 1
    return mask
