"""DenseCLIP (Rao et al. 2022): CLIP's vision transformer tuned to segment scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from napari_patchioner.checkpoints import read_state
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, class_attention, grid_key

from ._lazy_text import LazyText, WithText, below
from ._openai_vit import OpenAIVision, read_vision
from ._preprocess import CLIP, Preprocessing
from ._progress import silent
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from ._preprocess import Layout
    from ._progress import Progress

Convention: TypeAlias = Literal["paper", "reference"]

_SIZE = 640
_POSITIONS = "positional_embedding"


class DenseClip(WithText):
    """The vision tower of a DenseCLIP segmentation model, every token projected.

    A patch embedding is the token of the last block through ``ln_post`` and ``proj``, which
    DenseCLIP trained to match CLIP's text embeddings of the 150 classes of ADE20K pixel by pixel;
    its neck, context decoder and segmentation head are left out. ``cls`` is the class token,
    ``attention`` its attention in the last block. Text is embedded plainly, without the context
    vectors that DenseCLIP learned to put before the name of a class, as the published Patch-ioner
    does.

    At its default size the picture is squashed to 640 x 640 pixels, the size it was trained at:
    40 x 40 patches of 16 pixels, 512 numbers each. The network and its weights are under the MIT
    licence.

    Parameters
    ----------
    network : OpenAIVision
        The vision tower.
    text : LazyText, optional
        The checkpoint's text tower.
    size : int
        Side of the picture in pixels; positions are resampled (bilinear, as DenseCLIP does) for
        any other than what the weights were made for.
    layout : {"square", "aspect", "crop"}
        See `Preprocessing`.

    Attributes
    ----------
    name : str
        Tells apart whatever changes a grid.
    dim, patch_size, input_size : int
        See `Backbone`.
    """

    def __init__(
        self,
        network: OpenAIVision,
        text: LazyText | None = None,
        *,
        size: int = _SIZE,
        layout: Layout = "square",
    ) -> None:
        self._network = network
        self.dim, self.patch_size = network.sizes.dim, network.sizes.patch_size
        self.input_size = size
        self._prepare = Preprocessing(size, self.patch_size, layout, CLIP)
        super().__init__(text)
        self.name = f"denseclip/{network.name}/{size}/{layout}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int = _SIZE,
        layout: Layout = "square",
        convention: Convention = "paper",
    ) -> DenseClip:
        """Open a published checkpoint.

        Parameters
        ----------
        files : mapping of str to Path
            ``"weights"``: a ViT segmentation checkpoint, with its vision tower under
            ``backbone.`` and its text tower under ``text_encoder.``; ``"merges"``, to embed
            text: CLIP's word pieces; ``"clip"``, optional: a CLIP folder or file whose positions
            make room for longer texts. DenseCLIP keeps 13 of CLIP's 77 and never trained its text
            tower, so the others belong to it too; without them texts are cut to as many tokens as
            the checkpoint has positions.
        convention : {"paper", "reference"}
            DenseCLIP adds the class embedding to the class token twice, the published Patch-ioner
            once.
        size, layout
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or of another network.
        """
        if convention not in ("paper", "reference"):
            raise ModelError(f"The convention must be paper or reference, not {convention!r}.")
        path = files["weights"]
        state = read_state(path)
        network = read_vision(
            below(state, "backbone."),
            source=path,
            interpolation="bilinear",
            class_twice=convention == "paper",
            ignore=("fpn*",),
        )
        text = _text_of(below(state, "text_encoder."), files)
        return cls(network, text, size=size, layout=layout)

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            Gray, RGB or RGBA.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.

        Returns
        -------
        FeatureGrid
            Embeddings as they are, not normalised.
        """
        tell = progress or silent
        tell(0.0, "resizing the image")
        prepared = self._prepare(image)
        message = f"looking at {self.input_size} pixels"
        with spare_core(), torch.inference_mode(), self._network.telling(progress, message):
            tokens = self._network(prepared.pixels)
        tell(1.0, "done")
        shape = prepared.transform.grid_shape
        attention = class_attention(tokens.qkv[0].numpy(), self._network.sizes.heads, 1)
        return FeatureGrid(
            embeddings=tokens.projected[0, 1:].numpy().reshape(*shape, self.dim),
            transform=prepared.transform,
            key=grid_key(prepared.rgb, self.name),
            attention=attention.reshape(shape),
            cls=tokens.projected[0, 0].numpy(),
            backbone=self.name,
        )


def _text_of(state: dict[str, Tensor], files: Mapping[str, Path]) -> LazyText | None:
    if "merges" not in files:
        return None
    if "clip" in files and _POSITIONS in state:
        state = state | {_POSITIONS: _longer(state[_POSITIONS], files["clip"])}
    return LazyText.of_state(state, files["merges"], source=files["weights"])


def _longer(positions: Tensor, clip: Path) -> Tensor:
    """Return CLIP's positions, of which DenseCLIP keeps the first."""
    state = read_state(clip)
    names = (_POSITIONS, "text_model.embeddings.position_embedding.weight")
    found = next((state[name] for name in names if name in state), None)
    if found is None:
        raise ModelError(f"{clip} holds no positions of a text tower; choose the folder of a CLIP.")
    same = found[: len(positions)].float()
    # Checkpoints of both are published in half precision too.
    if same.shape != positions.shape or not torch.allclose(same, positions.float(), atol=1e-3):
        raise ModelError(
            f"The text positions of {clip} do not go on from DenseCLIP's; choose the CLIP it was "
            f"trained from, ViT-B/16."
        )
    return found
