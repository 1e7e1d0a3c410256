"""CLIP's vision transformer (Radford et al. 2021), step by step, and its published variants."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_state, tensors_sha256
from napari_patchioner.errors import ModelError

from .clip_weights import EXTRAS, TEXT, empty_network, hugging_face, infer_config, tower_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Positions: TypeAlias = Literal["bicubic", "antialias", "offset", "bilinear"]

POSITIONS: tuple[Positions, ...] = ("bicubic", "antialias", "offset", "bilinear")
"""How position embeddings are interpolated, see `resample_positions`."""

_ALPHA = "vision_model.embeddings.alpha_embedding.weight"
_LETTERS = {768: "B", 1024: "L", 1280: "H"}
# DINO's and ProxyCLIP's way round a rounding error of old interpolations; it shifts the samples.
_OFFSET = 0.1


class ClipVision:
    """The vision tower, one step at a time.

    All its tensors of tokens have the shape (batch, 1 + rows * columns, width), the class token
    first, the patches row-major.

    ``network`` is a CLIPVisionModelWithProjection with its weights; AlphaCLIP's has a second
    convolution, for masks (``reads_masks``). ``class_twice`` adds the class embedding to the class
    token a second time, as DenseCLIP was trained. ``name`` tells apart towers whose tokens differ,
    and is the same for the same weights in any layout.
    """

    def __init__(self, network: Any, *, class_twice: bool = False) -> None:
        self.network = network
        self._tower = network.vision_model
        self._class_twice = class_twice
        config = network.config
        self.dim, self.width = int(config.projection_dim), int(config.hidden_size)
        self.patch_size = int(config.patch_size)
        self.input_size = int(config.image_size)
        self.heads = int(config.num_attention_heads)
        self.reads_masks = _ALPHA in dict(network.named_parameters())
        self.layers: Sequence[Any] = list(self._tower.encoder.layers)
        letter = _LETTERS.get(self.width, f"{self.width}w")
        projection = {"visual_projection.weight": network.visual_projection.weight}
        self.name = f"{letter}{self.patch_size}-{tensors_sha256(projection)[:8]}"

    @classmethod
    def open(cls, folder: Path) -> ClipVision:
        """Open the vision tower of a folder in the form of the Hugging Face hub.

        It holds ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``) of a whole
        CLIP or of its vision tower; raises ``ModelError`` where they do not belong together.
        """
        folder = Path(folder)
        config = tower_config(folder, "vision")
        return cls.from_state(read_state(folder), source=folder, config=config)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        *,
        source: object,
        config: Any = None,
        heads: int | None = None,
        class_twice: bool = False,
        ignore: Sequence[str] = (),
    ) -> ClipVision:
        """Make a vision tower of weights by OpenAI's names or Hugging Face's.

        ``source`` is named in messages; sizes are read off the weights unless ``config`` has them
        (``heads`` alone may be given); ``ignore`` holds globs of what may come along unused.
        """
        from transformers import CLIPVisionModelWithProjection

        state = hugging_face(state)
        config = config or infer_config(state, "vision", source)
        if heads is not None:
            config.num_attention_heads = heads
        network = empty_network(CLIPVisionModelWithProjection, config, source)
        if _ALPHA in state:
            patch = config.patch_size
            with torch.device("meta"):
                network.vision_model.embeddings.alpha_embedding = nn.Conv2d(
                    1, config.hidden_size, patch, patch, bias=False
                )
        fit(network, state, source=source, ignore=(*TEXT, *EXTRAS, *ignore))
        return cls(network, class_twice=class_twice)

    @property
    def blocks(self) -> list[nn.Module]:
        """The last part of every layer, whichever way tokens pass it."""
        return [layer.mlp for layer in self.layers]

    @property
    def weights_name(self) -> str:
        """Name the tower by its width and OpenAI's projection, as DenseCLIP and AlphaCLIP do."""
        projection = {"proj": self.network.visual_projection.weight.T}
        ending = "-twice" if self._class_twice else ""
        return f"{self.width}w{self.patch_size}-{tensors_sha256(projection)[:8]}{ending}"

    def grid_shape(self, pixels: Tensor) -> tuple[int, int]:
        """Rows and columns of whole patches in pixels, shape (..., height, width)."""
        return pixels.shape[-2] // self.patch_size, pixels.shape[-1] // self.patch_size

    def embed_patches(self, pixels: Tensor, masks: Tensor | None = None) -> Tensor:
        """Embed patches without their positions, to (batch, rows * columns, width)."""
        patches: Tensor = self._tower.embeddings.patch_embedding(pixels)
        if masks is not None:
            patches = patches + self._tower.embeddings.alpha_embedding(masks)
        return patches.flatten(2).transpose(1, 2)

    def start(
        self, pixels: Tensor, positions: Positions = "bicubic", masks: Tensor | None = None
    ) -> Tensor:
        """Cut pixels into the tokens that enter the first layer.

        Parameters
        ----------
        pixels : Tensor, shape (batch, 3, height, width)
            Normalised; what is left over beyond whole patches does not count.
        positions : {"bicubic", "antialias", "offset", "bilinear"}
            How positions are interpolated, see `resample_positions`.
        masks : Tensor, shape (batch, 1, height, width), optional
            Normalised, for AlphaCLIP.
        """
        embeddings = self._tower.embeddings
        first = embeddings.class_embedding.expand(len(pixels), 1, -1)
        table = embeddings.position_embedding.weight
        table = resample_positions(table, self.grid_shape(pixels), positions)
        if self._class_twice:
            first = first + embeddings.class_embedding
        tokens = torch.cat([first, self.embed_patches(pixels, masks)], dim=1) + table
        normed: Tensor = self._tower.pre_layrnorm(tokens)
        return normed

    def finish(self, tokens: Tensor) -> Tensor:
        """Normalise and project every token, shape (..., width) to (..., dim).

        CLIP itself does so with the class token alone.
        """
        projected: Tensor = self.network.visual_projection(self._tower.post_layernorm(tokens))
        return projected

    def attend(self, layer: Any, tokens: Tensor, rows: slice = slice(None)) -> Tensor:
        """Pass tokens through a layer; ``rows`` picks those that are wanted."""
        normed = layer.layer_norm1(tokens)
        attention = layer.self_attn
        query = self._by_head(attention.q_proj(normed[:, rows]))
        key, value = (self._by_head(part(normed)) for part in (attention.k_proj, attention.v_proj))
        attended = functional.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).flatten(2)
        return _through_mlp(layer, tokens[:, rows] + attention.out_proj(attended))

    def qkv(self, layer: Any, tokens: Tensor) -> Tensor:
        """Return queries, keys and values side by side, shape (batch, tokens, 3 * width)."""
        normed = layer.layer_norm1(tokens)
        attention = layer.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        return torch.cat([part(normed) for part in parts], dim=-1)

    def _by_head(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:2], self.heads, -1).transpose(1, 2)


def value_path(layer: Any, tokens: Tensor) -> Tensor:
    """Values of a layer through its output projection: a token's own part of its attention."""
    attention = layer.self_attn
    values: Tensor = attention.out_proj(attention.v_proj(layer.layer_norm1(tokens)))
    return values


def attend_to_oneself(layer: Any, tokens: Tensor) -> Tensor:
    """Pass tokens through a layer in which every token attends to itself alone."""
    return _through_mlp(layer, tokens + value_path(layer, tokens))


def _through_mlp(layer: Any, tokens: Tensor) -> Tensor:
    passed: Tensor = tokens + layer.mlp(layer.layer_norm2(tokens))
    return passed


def resample_positions(
    table: Tensor, grid_shape: tuple[int, int], way: Positions = "bicubic"
) -> Tensor:
    """Interpolate position embeddings to a grid.

    The ways in use differ by up to about 0.1 for the same weights, so a model is only reproduced
    by its own.

    Parameters
    ----------
    table : Tensor, shape (1 + n * n, width)
        Position of the class token, then of a square grid, row-major.
    grid_shape : (int, int)
        Rows and columns of the new grid; the table's own grid leaves it as it is.
    way : {"bicubic", "antialias", "offset", "bilinear"}
        Bicubic to size, as in transformers and INViTE; bicubic with antialiasing, as in timm;
        bicubic by the factor ``(rows + 0.1) / n``, as in ProxyCLIP; or bilinear, as in DenseCLIP.

    Returns
    -------
    Tensor, shape (1 + rows * columns, width)

    Raises
    ------
    ModelError
        The table holds no square grid, or the way is none of these.
    """
    if way not in POSITIONS:
        raise ModelError(f"Positions are interpolated by {', '.join(POSITIONS)}, not {way!r}.")
    side = math.isqrt(max(0, len(table) - 1))
    if side == 0 or side * side != len(table) - 1:
        raise ModelError(f"{len(table)} positions are no class token and a square grid.")
    if grid_shape == (side, side):
        return table
    # PyTorch antialiases in single precision only.
    square = table[1:].float().T.reshape(1, -1, side, side).contiguous()
    rows, columns = grid_shape
    if way == "offset":
        factors = ((rows + _OFFSET) / side, (columns + _OFFSET) / side)
        new = functional.interpolate(square, scale_factor=factors, mode="bicubic")
    elif way == "antialias" and columns == 1:
        # On a CPU torch repeats the first row where it antialiases to a single column.
        turned = square.transpose(2, 3).contiguous()
        new = functional.interpolate(turned, (1, rows), mode="bicubic", antialias=True)
    else:
        mode = "bilinear" if way == "bilinear" else "bicubic"
        new = functional.interpolate(square, grid_shape, mode=mode, antialias=way == "antialias")
    return torch.cat([table[:1], new.flatten(2)[0].T.to(table.dtype)])
