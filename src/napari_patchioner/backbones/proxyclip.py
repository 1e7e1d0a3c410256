"""ProxyCLIP: CLIP's values, mixed by the attention of a DINO (Lan et al. 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch.nn import functional

from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, grid_key

from ._clip_backbone import ClipBackbone, clip_parts
from ._dino import DinoVision
from ._preprocess import CLIP, IMAGENET, Preprocessing
from ._progress import silent
from ._proxy_attention import proxy_attention, to_grid
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from ._clip_vision import ClipVision
    from ._lazy_text import LazyText
    from ._preprocess import Layout
    from ._progress import Progress

_SIDE = 37


class ProxyClip(ClipBackbone):
    """CLIP whose last layer mixes the values of patches that a guide finds alike.

    The layers before the last are CLIP's. There the values of the patches are resized to the
    guide's grid, mixed (see `proxy_attention`) and projected, without residual connection, MLP
    and class token; the result has unit length. Grid at the default size: 37 x 37 for any guide,
    which is 296 pixels for DINO with patches of 8 and 518 for DINOv2. A patch attends to all
    others, so memory grows with the square of the grid.

    Patch-ioner's code normalises the picture for both networks as for the guide, by ImageNet's
    statistics, and so does ``convention="reference"``, the default; with ``"paper"`` CLIP gets
    its own, as in the code of ProxyCLIP's authors.

    CLIP sees what the guide sees: where its own patches would leave some pixels over, the picture
    is first stretched to whole ones, but for squares by the reference convention, where up to a
    patch is left over as published.

    ProxyCLIP's code is under the NTU S-Lab licence 1.0, for non-commercial use; CLIP's weights
    are under the MIT licence, the guide's under its own.

    Parameters
    ----------
    vision : ClipVision
        CLIP's vision tower.
    guide : DinoVision
        Tells which patches are alike.
    text : LazyText, optional
        The text tower of the same CLIP.
    size : int, optional
        As for other backbones; 37 patches of the guide by default.
    layout : {"square", "aspect", "crop"}
        See `Preprocessing`.
    beta, gamma : float
        See `proxy_attention`.
    convention : {"reference", "paper"}
        Whose statistics normalise the picture for CLIP.
    """

    kind: ClassVar[str] = "proxyclip"

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
        convention: Literal["reference", "paper"] = "reference",
    ) -> None:
        size = _SIDE * guide.patch_size if size is None else int(size)
        super().__init__(vision, text, size=size, layout=layout, positions="offset")
        if convention not in ("reference", "paper"):
            raise ModelError(f"The convention must be reference or paper, not {convention!r}.")
        if size < vision.patch_size:
            raise ModelError(f"{size} pixels have no room for a patch of {vision.patch_size}.")
        self._guide, self._beta, self._gamma = guide, float(beta), float(gamma)
        self._convention = convention
        # The published code knows squares only, and loses up to a patch of CLIP at the far edges.
        self._whole_patches = convention == "paper" or layout != "square"
        self.patch_size = guide.patch_size
        self._prepare = Preprocessing(size, guide.patch_size, layout, IMAGENET)
        self.name += f"-{guide.name}-{self._beta:g}-{self._gamma:g}-{convention}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        beta: float = 1.2,
        gamma: float = 3.0,
        convention: Literal["reference", "paper"] = "reference",
    ) -> ProxyClip:
        """Open a CLIP and its guide.

        Parameters
        ----------
        files : mapping of str to Path
            ``clip``: a folder with ``config.json``, ``model.safetensors`` (or
            ``pytorch_model.bin``) and, for text, ``merges.txt``. ``guide``: any DINO, see
            `DinoVision.open`.
        size, layout, beta, gamma, convention
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        vision, text = clip_parts(files["clip"])
        return cls(
            vision,
            DinoVision.open(files["guide"]),
            text,
            size=size,
            layout=layout,
            beta=beta,
            gamma=gamma,
            convention=convention,
        )

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once, with both networks.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            Gray, RGB or RGBA.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.

        Returns
        -------
        FeatureGrid
            Patch embeddings of unit length in the space CLIP shares with text; the attention
            map is the guide's, and there is no class token.

        Raises
        ------
        ImageError
            The array is not a picture.
        """
        tell = progress or silent
        tell(0.0, "reading the image")
        prepared = self._prepare(image)
        looked = self._guide.look(
            prepared.pixels, tell=lambda share: tell(share / 2, "asking the guide")
        )
        features = looked.patches.permute(2, 0, 1)[None]
        with spare_core():
            mixed = self.mix(
                self._for_clip(prepared.pixels),
                features,
                tell=lambda share: tell((1 + share) / 2, "looking at the image"),
            )
        unit = functional.normalize(mixed[0], dim=1).numpy()
        tell(1.0, "done")
        return FeatureGrid(
            embeddings=unit.reshape(*prepared.transform.grid_shape, self.dim),
            transform=prepared.transform,
            key=grid_key(prepared.rgb, self.name),
            attention=self._guide.attention(looked),
            backbone=self.name,
        )

    @torch.inference_mode()
    def mix(
        self,
        pixels: Tensor,
        features: Tensor,
        *,
        over_batch: bool = False,
        tell: Callable[[float], None] | None = None,
    ) -> Tensor:
        """Mix CLIP's values by a guide's features.

        Parameters
        ----------
        pixels : Tensor, shape (batch, 3, height, width)
            Normalised for CLIP.
        features : Tensor, shape (batch, channels, rows, columns)
            The guide's, of the same pictures.
        over_batch : bool
            See `proxy_attention`.
        tell : callable, optional
            Called with the share done; may raise ``Cancelled``.

        Returns
        -------
        Tensor, shape (batch, rows * columns, dim)
            Projected, row-major over the guide's grid, not normalised.
        """
        report = tell or (lambda _share: None)
        hidden = self._before_last(pixels, lambda share, _message: report(share))
        last = self._vision.layers[-1]
        values = last.self_attn.v_proj(last.layer_norm1(hidden[:, 1:]))
        rows, columns = features.shape[-2:]
        values = to_grid(values, self._vision.grid_shape(pixels), (rows, columns))
        weights = proxy_attention(
            features, beta=self._beta, gamma=self._gamma, over_batch=over_batch
        )
        return self._vision.finish(last.self_attn.out_proj(weights @ values))

    def _for_clip(self, pixels: Tensor) -> Tensor:
        """Pixels normalised for the guide, as CLIP gets them."""
        if self._whole_patches:
            pixels = _in_whole_patches(pixels, self._vision.patch_size)
        if self._convention == "reference":
            return pixels
        (mean, std), (own_mean, own_std) = (
            torch.from_numpy(np.array(both, np.float32)).reshape(2, 3, 1, 1)
            for both in (IMAGENET, CLIP)
        )
        renormalised: Tensor = (pixels * std + mean - own_mean) / own_std
        return renormalised


def _in_whole_patches(pixels: Tensor, patch_size: int) -> Tensor:
    """Stretch pixels a little where patches would not cover all of them, so that grids agree."""
    sides = [max(1, round(side / patch_size)) * patch_size for side in pixels.shape[2:]]
    if sides == list(pixels.shape[2:]):
        return pixels
    return functional.interpolate(pixels, sides, mode="bilinear", antialias=True)
