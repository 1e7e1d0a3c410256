"""SigLIP 2 (Tschannen et al. 2025): patch tokens of its vision transformer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch.nn import functional

from napari_patchioner.checkpoints import tensors_sha256
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, grid_key

from ._preprocess import HALF, Preprocessing
from ._progress import silent, telling
from ._siglip2_folder import open_folder
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ._preprocess import Layout
    from ._progress import Progress
    from ._siglip2_text import SigLip2Text

Way: TypeAlias = Literal["head", "raw", "mlp"]
_WAYS = ("head", "raw", "mlp")


class SigLip2:
    """SigLIP 2's patch tokens, and its pooled picture as the class token.

    SigLIP 2 matches text with one vector per picture: a learned probe attends to all patch tokens,
    and what it gathers goes through a small MLP (``cls`` here; ``attention`` is how much the probe
    looks at each patch). The patch tokens themselves, after the last layer norm, were never
    trained to match text. Three ways to make a patch embedding of them are in the published
    Patch-ioner; which one its released model was run with is not known:

    - ``"head"``, the default, pools each patch alone. The probe has nothing to choose, so the
      patch passes the head's value and output projections and its MLP: the vector a picture would
      have whose patches were all like this one. Of the three this alone lies where text was trained
      to lie, as MaskCLIP's value path does for CLIP.
    - ``"raw"`` takes the tokens as they are, as that code does unless told otherwise.
    - ``"mlp"`` adds the pooling head's MLP to them.

    At its default size (``siglip2-base-patch16-512``) the picture is squashed to 512 x 512 pixels:
    32 x 32 patches of 16, 768 numbers each. Code and weights are under Apache-2.0.

    Parameters
    ----------
    tower : SiglipVisionTransformer
        With its weights.
    load_text : callable
        Opens the text tower, called when text is embedded for the first time: its 256,000 word
        pieces take 800 MB, which captions do not need.
    text_name : str
        Of the text tower.
    size : int, optional
        Side of the picture in pixels; what the weights were trained with by default. Positions are
        resampled (bicubic) for any other.
    layout : {"square", "aspect", "crop"}
        See `Preprocessing`.
    tokens : {"head", "raw", "mlp"}
        See above.

    Attributes
    ----------
    name : str
        Tells apart whatever changes a grid.
    dim, patch_size, input_size : int
        See `Backbone`.
    provenance : mapping of str to str
        ``"text"`` names the text tower.

    Raises
    ------
    ModelError
        An option is none of those above.
    """

    def __init__(
        self,
        tower: Any,
        load_text: Callable[[], SigLip2Text],
        text_name: str,
        *,
        size: int | None = None,
        layout: Layout = "square",
        tokens: Way = "head",
    ) -> None:
        if tokens not in _WAYS:
            raise ModelError(f"The tokens must be {', '.join(_WAYS)}, not {tokens!r}.")
        config = tower.config
        self._tower, self._load_text, self._tokens = tower, load_text, tokens
        self._text: SigLip2Text | None = None
        self.dim, self.patch_size = int(config.hidden_size), int(config.patch_size)
        self.input_size = int(size or config.image_size)
        self._prepare = Preprocessing(self.input_size, self.patch_size, layout, HALF)
        self.provenance: Mapping[str, str] = {"text": text_name}
        print_of = tensors_sha256({"probe": tower.head.probe})[:8]
        self.name = (
            f"siglip2/{self.dim}w{self.patch_size}-{print_of}/{self.input_size}/{layout}/{tokens}"
        )

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        tokens: Way = "head",
    ) -> SigLip2:
        """Open a model from a folder in the form of the Hugging Face hub.

        Parameters
        ----------
        files : mapping of str to Path
            ``"folder"``: ``config.json``, ``model.safetensors`` and, to embed text,
            ``tokenizer.json`` of a SigLIP 2 with a fixed size such as
            ``google/siglip2-base-patch16-512``.
        size, layout, tokens
            See the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        tower, load_text, text_name = open_folder(Path(files["folder"]))
        return cls(tower, load_text, text_name, size=size, layout=layout, tokens=tokens)

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
        shape = prepared.transform.grid_shape
        message = f"looking at {self.input_size} pixels"
        with spare_core(), torch.inference_mode():
            with telling(self._tower.encoder.layers, progress, message):
                tokens = self._look(prepared.pixels)
            pooled = self._tower.head(tokens)[0]
            attention = self._attention(tokens)
            patches = self._through(tokens[0])
        tell(1.0, "done")
        return FeatureGrid(
            embeddings=patches.numpy().reshape(*shape, self.dim),
            transform=prepared.transform,
            key=grid_key(prepared.rgb, self.name),
            attention=attention.numpy().reshape(shape),
            cls=pooled.numpy(),
            backbone=self.name,
        )

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim), not normalised; they match pooled pictures."""
        if self._text is None:
            self._text = self._load_text()
        return self._text.embed(texts, progress=progress)

    def _look(self, pixels: Tensor) -> Tensor:
        """Patch tokens after the last layer norm, shape (1, rows * columns, dim)."""
        embeddings = self._tower.embeddings
        patches = embeddings.patch_embedding(pixels)
        positions = _resampled(embeddings.position_embedding.weight, patches.shape[2:])
        hidden = patches.flatten(2).transpose(1, 2) + positions
        hidden = self._tower.encoder(inputs_embeds=hidden).last_hidden_state
        tokens: Tensor = self._tower.post_layernorm(hidden)
        return tokens

    def _through(self, tokens: Tensor) -> Tensor:
        """Patch tokens, shape (patches, dim), made patch embeddings."""
        head = self._tower.head
        if self._tokens == "raw":
            return tokens
        if self._tokens == "mlp":
            added: Tensor = tokens + head.mlp(head.layernorm(tokens))
            return added
        alone: Tensor = head(tokens[:, None])
        return alone

    def _attention(self, tokens: Tensor) -> Tensor:
        """How much the probe looks at each patch, the mean over heads, shape (1, patches)."""
        head = self._tower.head
        weights: Tensor = head.attention(head.probe, tokens, tokens)[1]
        return weights[0] / weights.sum()


def _resampled(positions: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return positions of a square grid, shape (n * n, dim), for another one."""
    side = math.isqrt(len(positions))
    if tuple(shape) == (side, side):
        return positions
    plane = positions.T.reshape(1, -1, side, side)
    plane = functional.interpolate(plane, tuple(shape), mode="bicubic", align_corners=False)
    return plane[0].flatten(1).T
