"""CLIP's vision transformer (Radford et al. 2021), with a hold on the parts of its layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_state, tensors_sha256

from ._clip_config import empty, tower_config, vision_config
from ._clip_layout import EXTRAS, TEXT, hugging_face
from ._clip_positions import Positions, resample_positions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

_LETTERS = {768: "B", 1024: "L", 1280: "H"}


class ClipVision:
    """The vision tower, one step at a time.

    All its tensors of tokens have the shape (batch, 1 + rows * columns, width), the class token
    first, the patches row-major.

    Parameters
    ----------
    model : CLIPVisionModelWithProjection
        With its weights.

    Attributes
    ----------
    dim : int
        Length of a projected token.
    patch_size : int
        Pixels along one side of a patch.
    input_size : int
        Side of the pictures it was trained with, in pixels.
    heads : int
        Attention heads of a layer.
    name : str
        Tells apart towers whose tokens differ; the same for the same weights in any layout.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tower = model.vision_model
        config = model.config
        self.dim = int(config.projection_dim)
        self.patch_size = int(config.patch_size)
        self.input_size = int(config.image_size)
        self.heads = int(config.num_attention_heads)
        letter = _LETTERS.get(config.hidden_size, f"{config.hidden_size}w")
        projection = {"visual_projection.weight": model.visual_projection.weight}
        self.name = f"{letter}{self.patch_size}-{tensors_sha256(projection)[:8]}"

    @classmethod
    def open(cls, folder: Path) -> ClipVision:
        """Open the vision tower of a folder in the form of the Hugging Face hub.

        Parameters
        ----------
        folder : Path
            ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``) of a whole CLIP
            or of its vision tower; the weights by Hugging Face's names or OpenAI's.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        folder = Path(folder)
        config = tower_config(folder, "vision")
        return cls.from_state(read_state(folder), source=folder, config=config)

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], *, source: object, config: Any = None
    ) -> ClipVision:
        """Make a vision tower of weights.

        Parameters
        ----------
        state : mapping of str to Tensor
            By OpenAI's names or Hugging Face's; a text tower may come along.
        source : path
            Where the weights came from, for messages.
        config : CLIPVisionConfig, optional
            Its sizes; read off the weights' shapes by default.

        Raises
        ------
        ModelError
            Weights are missing, left over or of another shape.
        """
        state = hugging_face(state)
        return cls(_filled(config or vision_config(state, source), state, source))

    @property
    def layers(self) -> Sequence[Any]:
        """The transformer layers, first to last."""
        return list(self._tower.encoder.layers)

    def grid_shape(self, pixels: Tensor) -> tuple[int, int]:
        """Rows and columns of whole patches in pixels, shape (..., height, width)."""
        return pixels.shape[-2] // self.patch_size, pixels.shape[-1] // self.patch_size

    def start(self, pixels: Tensor, positions: Positions = "bicubic") -> Tensor:
        """Cut pixels into tokens.

        Parameters
        ----------
        pixels : Tensor, shape (batch, 3, height, width)
            Normalised; what is left over beyond whole patches does not count.
        positions : {"bicubic", "antialias", "offset"}
            How positions are interpolated, see `resample_positions`.

        Returns
        -------
        Tensor, shape (batch, 1 + rows * columns, width)
            What enters the first layer.
        """
        embeddings = self._tower.embeddings
        patches = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = embeddings.class_embedding.expand(len(pixels), 1, -1)
        table = embeddings.position_embedding.weight
        places = resample_positions(table, self.grid_shape(pixels), positions)
        tokens: Tensor = self._tower.pre_layrnorm(torch.cat([first, patches], dim=1) + places)
        return tokens

    def finish(self, tokens: Tensor) -> Tensor:
        """Normalise and project every token, shape (..., width) to (..., dim).

        CLIP itself does so with the class token alone.
        """
        projected: Tensor = self._model.visual_projection(self._tower.post_layernorm(tokens))
        return projected

    def attend(self, layer: Any, tokens: Tensor, rows: slice = slice(None)) -> Tensor:
        """Pass tokens through a layer; ``rows`` picks those that are wanted."""
        normed = layer.layer_norm1(tokens)
        attention = layer.self_attn
        query = self._by_head(attention.q_proj(normed[:, rows]))
        key, value = (self._by_head(part(normed)) for part in (attention.k_proj, attention.v_proj))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(1, 2).flatten(2)
        return _through_mlp(layer, tokens[:, rows] + attention.out_proj(mixed))

    def qkv(self, layer: Any, tokens: Tensor) -> Tensor:
        """Return queries, keys and values side by side, shape (batch, tokens, 3 * width)."""
        normed = layer.layer_norm1(tokens)
        attention = layer.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        return torch.cat([part(normed) for part in parts], dim=-1)

    def _by_head(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:2], self.heads, -1).transpose(1, 2)


def value_path(layer: Any, tokens: Tensor) -> Tensor:
    """Values of a layer through its output projection: what a token gets that sees only itself."""
    attention = layer.self_attn
    values: Tensor = attention.out_proj(attention.v_proj(layer.layer_norm1(tokens)))
    return values


def attend_to_oneself(layer: Any, tokens: Tensor) -> Tensor:
    """Pass tokens through a layer in which every token sees only itself."""
    return _through_mlp(layer, tokens + value_path(layer, tokens))


def _through_mlp(layer: Any, tokens: Tensor) -> Tensor:
    passed: Tensor = tokens + layer.mlp(layer.layer_norm2(tokens))
    return passed


def _filled(config: Any, state: Mapping[str, Tensor], source: object) -> Any:
    from transformers import CLIPVisionModelWithProjection

    model = empty(CLIPVisionModelWithProjection, config, source)
    return fit(model, state, source=source, ignore=(*TEXT, *EXTRAS))
