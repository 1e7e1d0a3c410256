"""RegionCLIP (Zhong et al. 2022): a CLIP ResNet pretrained on regions and their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_patchioner.checkpoints import read_state, tensors_sha256
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, class_attention, grid_key

from ._lazy_text import LazyText, WithText, below
from ._preprocess import CLIP, Preprocessing
from ._progress import silent, telling
from ._regionclip_resnet import STRIDE, ModifiedResNet, read_resnet
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ._preprocess import Layout
    from ._progress import Progress

_SIZE = 512
_TEXT = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")


class RegionClip(WithText):
    """A ResNet whose attention pooling is asked at every place instead of once.

    RegionCLIP trained it on regions cut out of the last features; the published Patch-ioner
    lets every place of the whole picture query CLIP's attention pool instead, and normalises
    each vector to unit length, as is done here. ``cls`` is the pool's own answer, with the mean of
    all places as the query; ``attention`` is that query's.

    At its default size the picture is squashed to 512 x 512 pixels: 16 x 16 places of 32 pixels,
    1024 numbers each. The 7 x 7 positions are resampled (bilinear; how the published Patch-ioner
    does it is not known). RegionCLIP's code and weights are under Apache-2.0, CLIP's under MIT.

    Parameters
    ----------
    network : ModifiedResNet
        The visual tower.
    text : LazyText, optional
        The checkpoint's text tower.
    size : int
        Side of the picture in pixels.
    layout : {"square", "aspect", "crop"}
        See `Preprocessing`.
    normalize : bool
        Unit length for every place and for ``cls``.

    Attributes
    ----------
    name : str
        Tells apart whatever changes a grid.
    dim, patch_size, input_size : int
        See `Backbone`.
    """

    patch_size = STRIDE

    def __init__(
        self,
        network: ModifiedResNet,
        text: LazyText | None = None,
        *,
        size: int = _SIZE,
        layout: Layout = "square",
        normalize: bool = True,
    ) -> None:
        self._network, self._normalize = network, normalize
        self.dim, self.input_size = network.dim, size
        self._prepare = Preprocessing(size, STRIDE, layout, CLIP)
        projection = {"c_proj.weight": network.attnpool.c_proj.weight}
        super().__init__(text)
        ending = "" if normalize else "/raw"
        self.name = f"regionclip/{tensors_sha256(projection)[:8]}/{size}/{layout}{ending}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int = _SIZE,
        layout: Layout = "square",
        normalize: bool = True,
    ) -> RegionClip:
        """Open a published checkpoint.

        Parameters
        ----------
        files : mapping of str to Path
            ``"weights"``: RegionCLIP's pretraining checkpoint, with the visual tower under
            ``backbone.`` and the text tower under ``lang_encoder.`` (its teacher and its region
            proposals are left out), or OpenAI's CLIP RN50, with ``visual.`` and bare names;
            ``"merges"``, to embed text: CLIP's word pieces.
        size, layout, normalize
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or of another network.
        """
        path = files["weights"]
        visual, words = _towers(read_state(path), path)
        network = read_resnet(visual, source=path)
        merges = files.get("merges")
        text = LazyText.of_state(words, merges, source=path) if merges else None
        return cls(network, text, size=size, layout=layout, normalize=normalize)

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            Gray, RGB or RGBA.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.
        """
        tell = progress or silent
        tell(0.0, "resizing the image")
        prepared = self._prepare(image)
        message = f"looking at {self.input_size} pixels"
        blocks = self._network.bottlenecks
        with spare_core(), torch.inference_mode(), telling(blocks, progress, message):
            pooled = self._network(prepared.pixels)
        tell(1.0, "done")
        shape = prepared.transform.grid_shape
        attention = class_attention(pooled.qkv[0].numpy(), self._network.attnpool.heads, 1)
        return FeatureGrid(
            embeddings=self._scaled(pooled.local[0]).reshape(*shape, self.dim),
            transform=prepared.transform,
            key=grid_key(prepared.rgb, self.name),
            attention=attention.reshape(shape),
            cls=self._scaled(pooled.whole[0]),
            backbone=self.name,
        )

    def _scaled(self, vectors: Tensor) -> npt.NDArray[np.float32]:
        scaled = functional.normalize(vectors, dim=-1) if self._normalize else vectors
        array: npt.NDArray[np.float32] = scaled.numpy()
        return array


def _towers(
    state: Mapping[str, Tensor], source: object
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tell the visual tower and the text tower apart, both without prefixes."""
    for visual, text in (("backbone.", "lang_encoder."), ("visual.", "")):
        if any(name.startswith(f"{visual}attnpool.") for name in state):
            words = below(state, text)
            return below(state, visual), {
                name: value for name, value in words.items() if name.startswith(_TEXT)
            }
    raise ModelError(
        f"{source} holds no attention pool (backbone.attnpool.* or visual.attnpool.*); choose "
        f"RegionCLIP's pretraining checkpoint."
    )
