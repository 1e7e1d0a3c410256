"""CLIP's vision transformer under OpenAI's names, for checkpoints that changed something in it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit, rename, tensors_sha256
from napari_patchioner.errors import ModelError

from ._progress import telling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ._progress import Progress

Interpolation: TypeAlias = Literal["bicubic", "bilinear"]

_HEAD_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the shapes of the weights say.

    Attributes
    ----------
    width, layers, heads, patch_size, positions, dim : int
        ``positions`` counts the class token; ``dim`` is the length of a projected token.
    alpha : bool
        Whether there is AlphaCLIP's second convolution.
    """

    width: int
    layers: int
    heads: int
    patch_size: int
    positions: int
    dim: int
    alpha: bool = False

    @property
    def side(self) -> int:
        """Patches along one side of the square the positions were made for."""
        return math.isqrt(self.positions - 1)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one pass leaves.

    Attributes
    ----------
    projected : Tensor, shape (n, 1 + rows * columns, dim)
        Class token and patches, all through the last layer norm and the projection.
    qkv : Tensor, shape (n, 1 + rows * columns, 3 * width)
        Queries, keys and values of the last block.
    """

    projected: Tensor
    qkv: Tensor


class OpenAIVision(nn.Module):
    """A vision transformer of CLIP (Radford et al. 2021).

    Parameters
    ----------
    sizes : Sizes
        Of its parts.
    interpolation : {"bicubic", "bilinear"}
        How positions are resampled for another grid than the one they were made for.
    class_twice : bool
        Add the class embedding to the class token a second time, as DenseCLIP was trained.
    """

    def __init__(
        self, sizes: Sizes, *, interpolation: Interpolation = "bicubic", class_twice: bool = False
    ) -> None:
        super().__init__()
        width, patch = sizes.width, sizes.patch_size
        self.sizes = sizes
        self._interpolation: Interpolation = interpolation
        self._class_twice = class_twice
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        if sizes.alpha:
            self.conv1_alpha = nn.Conv2d(1, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(sizes.positions, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _Transformer(width, sizes.layers, sizes.heads)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, sizes.dim))

    @property
    def name(self) -> str:
        """Tell apart towers whose tokens differ, by size and projection."""
        sizes = self.sizes
        ending = "-twice" if self._class_twice else ""
        return f"{sizes.width}w{sizes.patch_size}-{tensors_sha256({'proj': self.proj})[:8]}{ending}"

    def forward(self, pixels: Tensor, alpha: Tensor | None = None) -> Tokens:
        """Look at pictures.

        Parameters
        ----------
        pixels : Tensor, shape (n, 3, rows * patch_size, columns * patch_size)
            Normalised.
        alpha : Tensor, shape (n, 1, rows * patch_size, columns * patch_size), optional
            Normalised masks, for AlphaCLIP.
        """
        patches = self.embed_patches(pixels, alpha)
        count, width, rows, columns = patches.shape
        first = self.class_embedding.expand(count, 1, width)
        tokens = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = self.ln_pre(tokens + self._positions(rows, columns))
        tokens, qkv = self.transformer(tokens)
        return Tokens(self.ln_post(tokens) @ self.proj, qkv)

    def telling(
        self, progress: Progress | None, message: str, span: tuple[float, float] = (0.0, 1.0)
    ) -> AbstractContextManager[None]:
        """Tell of every block passed inside a ``with``, see `telling`."""
        blocks = cast("Iterable[nn.Module]", self.transformer.resblocks)
        return telling(blocks, progress, message, span)

    def embed_patches(self, pixels: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Return patch embeddings before positions, shape (n, width, rows, columns)."""
        patches: Tensor = self.conv1(pixels)
        return patches if alpha is None else patches + self.conv1_alpha(alpha)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Return positions of the class token and a grid, shape (1 + rows * columns, width)."""
        first, grid = self.positional_embedding[:1], self.positional_embedding[1:]
        if self._class_twice:
            first = first + self.class_embedding
        side = self.sizes.side
        if (rows, columns) != (side, side):
            plane = grid.T.reshape(1, -1, side, side)
            plane = functional.interpolate(plane, (rows, columns), mode=self._interpolation)
            grid = plane[0].flatten(1).T
        return torch.cat([first, grid])


class _Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        qkv = tokens
        for block in cast("Iterable[_Block]", self.resblocks):
            tokens, qkv = block(tokens)
        return tokens, qkv


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = _Mlp(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        mixed, qkv = self.attn(self.ln_1(tokens))
        tokens = tokens + mixed
        return tokens + self.mlp(self.ln_2(tokens)), qkv


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        qkv = self.in_proj(tokens)
        query, key, value = (
            part.unflatten(2, (self._heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=2)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), qkv


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.c_fc(tokens)
        narrowed: Tensor = self.c_proj(hidden * torch.sigmoid(1.702 * hidden))
        return narrowed


def read_vision(
    state: Mapping[str, Tensor],
    *,
    source: object,
    heads: int | None = None,
    interpolation: Interpolation = "bicubic",
    class_twice: bool = False,
    ignore: Sequence[str] = (),
) -> OpenAIVision:
    """Build a vision tower from its weights, its sizes read off their shapes.

    Parameters
    ----------
    state : mapping of str to Tensor
        By OpenAI's names without ``visual.``; queries, keys and values in ``attn.in_proj_weight``
        or, as AlphaCLIP has them, in ``attn.in_proj.weight``.
    source : path
        Where the weights came from, for messages.
    heads : int, optional
        Attention heads; one per 64 channels by default, as in every published CLIP.
    interpolation, class_twice
        See `OpenAIVision`.
    ignore : sequence of str
        Globs of names that may come along unused.

    Raises
    ------
    ModelError
        Weights are missing, left over or of another shape.
    """
    state = rename(state, [(r"(.*attn\.in_proj)_(weight|bias)", r"\1.\2")])
    with torch.device("meta"):
        network = OpenAIVision(
            _sizes(state, source, heads), interpolation=interpolation, class_twice=class_twice
        )
    return fit(network, state, source=source, ignore=ignore)


def _sizes(state: Mapping[str, Tensor], source: object, heads: int | None) -> Sizes:
    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in state or state[name].ndim != dimensions:
            raise ModelError(
                f"{source} holds no {name} of a vision transformer; choose the matching file."
            )
        return tuple(state[name].shape)

    width, _, _, patch = shape("conv1.weight", 4)
    blocks = [re.match(r"transformer\.resblocks\.(\d+)\.", name) for name in state]
    return Sizes(
        width=width,
        layers=1 + max((int(block[1]) for block in blocks if block), default=-1),
        heads=heads or max(1, width // _HEAD_WIDTH),
        patch_size=patch,
        positions=shape("positional_embedding", 2)[0],
        dim=shape("proj", 2)[1],
        alpha="conv1_alpha.weight" in state,
    )
