"""ProxyCLIP (Lan et al. 2024): CLIP's values, mixed by the attention of a DINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_patchioner.errors import ModelError

from .base import CLIP, IMAGENET, Features, Layout, LazyText, Preprocessing
from .clip import ClipBackbone
from .clip_towers import ClipVision
from .dino import DinoVision

Convention: TypeAlias = Literal["reference", "paper"]

_SIDE = 37


class ProxyClip(ClipBackbone):
    """CLIP whose last layer mixes the values of patches that a guide finds alike.

    The layers before the last are CLIP's. There the values of the patches are resized to the
    guide's grid, mixed (see `proxy_attention`, which ``beta`` and ``gamma`` go to) and projected,
    without residual connection, MLP and class token; the result has unit length. The attention map
    is the guide's, and there is no class token. Grid at the default size: 37 x 37 for any guide,
    which is 296 pixels for DINO with patches of 8 and 518 for DINOv2. A patch attends to all
    others, so memory grows with the square of the grid.

    ``files["guide"]`` is any DINO, see `DinoVision.open`; ``files["clip"]`` as for `ClipDense`.

    Patch-ioner's code normalises the picture for both networks as for the guide, by ImageNet's
    statistics, and so does ``convention="reference"``, the default; with ``"paper"`` CLIP gets
    its own, as in the code of ProxyCLIP's authors.

    CLIP gets what the guide gets: where its own patches would leave some pixels over, the picture
    is first stretched to whole ones, but for squares by the reference convention, where up to a
    patch is left over as published.

    ProxyCLIP's code is under the NTU S-Lab licence 1.0, for non-commercial use; CLIP's weights
    are under the MIT licence, the guide's under its own.
    """

    kind = "proxyclip"

    def __init__(
        self,
        vision: ClipVision,
        guide: DinoVision,
        text: LazyText | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        beta: float = 1.2,
        gamma: float = 3.0,
        convention: Convention = "reference",
    ) -> None:
        size = _SIDE * guide.patch_size if size is None else int(size)
        super().__init__(vision, text, size=size, layout=layout, positions="offset")
        if convention not in ("reference", "paper"):
            raise ModelError(f"The convention must be reference or paper, not {convention!r}.")
        if size < vision.patch_size:
            raise ModelError(f"{size} pixels have no room for a patch of {vision.patch_size}.")
        self.guide, self._beta, self._gamma = guide, float(beta), float(gamma)
        self._convention = convention
        # The published code knows squares only, and loses up to a patch of CLIP at the far edges.
        self._whole_patches = convention == "paper" or layout != "square"
        self.networks = [vision.network, guide.network]
        self.blocks = [*guide.blocks, *vision.blocks[:-1]]
        self.patch_size = guide.patch_size
        self.preprocessing = Preprocessing(size, guide.patch_size, layout, IMAGENET)
        self.name += f"-{guide.name}-{self._beta:g}-{self._gamma:g}-{convention}"

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open a CLIP and its guide."""
        vision, text = super().read(files)
        return vision, DinoVision.open(files["guide"]), text

    def forward(self, pixels: Tensor) -> Features:
        """Encode with both networks."""
        guided = self.guide.encode(pixels)
        mixed = self.mix(self._for_clip(pixels), guided.patches.permute(2, 0, 1)[None])
        return Features(functional.normalize(mixed[0], dim=1), self.guide.attention(guided))

    @torch.inference_mode()
    def mix(self, pixels: Tensor, features: Tensor, *, over_batch: bool = False) -> Tensor:
        """Mix CLIP's values by a guide's features, (batch, channels, rows, columns).

        ``pixels``, (batch, 3, height, width), are of the same pictures, normalised for CLIP;
        ``over_batch`` is as of `proxy_attention`. Returns vectors, (batch, rows * columns, dim),
        row-major over the guide's grid, not normalised.
        """
        hidden = self._before_last(pixels)
        last = self.vision.layers[-1]
        values = last.self_attn.v_proj(last.layer_norm1(hidden[:, 1:]))
        rows, columns = features.shape[-2:]
        values = to_grid(values, self.vision.grid_shape(pixels), (rows, columns))
        weights = proxy_attention(
            features, beta=self._beta, gamma=self._gamma, over_batch=over_batch
        )
        return self.vision.finish(last.self_attn.out_proj(weights @ values))

    def _for_clip(self, pixels: Tensor) -> Tensor:
        """Pixels normalised for the guide, as CLIP gets them."""
        if self._whole_patches:
            # Stretched a little where patches would not cover all of them, so that grids agree.
            patch = self.vision.patch_size
            sides = [max(1, round(side / patch)) * patch for side in pixels.shape[2:]]
            if sides != list(pixels.shape[2:]):
                # PyTorch antialiases in single precision only.
                wide = functional.interpolate(
                    pixels.float(), sides, mode="bilinear", antialias=True
                )
                pixels = wide.to(pixels.dtype)
        if self._convention == "reference":
            return pixels
        (mean, std), (own_mean, own_std) = (
            torch.from_numpy(np.array(both, np.float32)).reshape(2, 3, 1, 1).to(pixels)
            for both in (IMAGENET, CLIP)
        )
        renormalised: Tensor = (pixels * std + mean - own_mean) / own_std
        return renormalised


def proxy_attention(
    features: Tensor, *, beta: float = 1.2, gamma: float = 3.0, over_batch: bool = False
) -> Tensor:
    """Attention weights from how alike a guide finds two patches, (batch, patches, patches).

    ``A = softmax(gamma * (S - beta * mean(S)))`` with S the cosine similarities of the guide's
    features, (batch, channels, rows, columns), where negative logits count as minus infinity.
    Every row sums to one. Where no similarity passes the threshold, as in a blank image (where the
    published code has only NaN), the threshold is left out.

    ``over_batch`` takes the mean over the whole batch, as Patch-ioner's code does: an image's
    result then depends on the others. ProxyCLIP's authors have since mended it.
    """
    unit = functional.normalize(features.flatten(2), dim=1)
    similarity = torch.einsum("bcm,bcn->bmn", unit, unit)
    mean = similarity.mean() if over_batch else similarity.mean((1, 2), keepdim=True)
    logits = (similarity - mean * beta) * gamma
    kept = logits >= 0
    logits = logits.masked_fill(~kept & kept.any(dim=2, keepdim=True), -torch.inf)
    return logits.softmax(dim=2)


def to_grid(values: Tensor, grid_shape: tuple[int, int], guide_shape: tuple[int, int]) -> Tensor:
    """Resize a map of values, (batch, patches, width), from CLIP's grid to the guide's."""
    maps = values.transpose(1, 2).reshape(len(values), -1, *grid_shape)
    resized = functional.interpolate(maps, guide_shape, mode="bilinear", align_corners=False)
    return resized.flatten(2).transpose(1, 2)
