"""From one vector to the soft tokens a language model reads before its words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class MapperConfig:
    """The sizes of what maps a vector, where one linear layer is not all.

    Attributes
    ----------
    kind : {"mlp", "transformer"}
        :class:`torch.nn.Sequential` of two layers with tanh between (ClipCap), or a
        :class:`MappingNetwork` (ViECap, ClipCap).
    hidden : int
        Width of the layer between, in the MLP or in each block of the transformer.
    layers, heads : int
        Of the transformer.
    projected : int
        How many tokens the vector becomes inside the transformer.
    """

    kind: Literal["mlp", "transformer"]
    hidden: int
    layers: int = 8
    heads: int = 8
    projected: int = 10


def soft_prompt(dim: int, tokens: int, width: int, mapper: MapperConfig | None) -> nn.Module:
    """Make what turns vectors, shape (n, dim), into ``n * tokens * width`` numbers.

    Parameters
    ----------
    dim : int
        Length of a vector.
    tokens, width : int
        How many soft tokens it becomes, and their length.
    mapper : MapperConfig, optional
        One linear layer if None.

    Raises
    ------
    ModelError
        The transformer's width cannot be split into its heads, or its kind is unknown.
    """
    if mapper is None:
        return nn.Linear(dim, tokens * width)
    if mapper.kind == "mlp":
        return nn.Sequential(
            nn.Linear(dim, mapper.hidden), nn.Tanh(), nn.Linear(mapper.hidden, tokens * width)
        )
    if mapper.kind != "transformer":
        raise ModelError(f"A prefix mapper is an mlp or a transformer, not {mapper.kind!r}.")
    return MappingNetwork(dim, tokens, width, mapper)


def mapper_from(told: Mapping[str, object] | None) -> MapperConfig | None:
    """Return the sizes a file tells; None for None."""
    return None if told is None else MapperConfig(**told)  # type: ignore[arg-type]


class MappingNetwork(nn.Module):
    """ClipCap's transformer mapper, as ViECap uses it.

    The vector becomes ``projected`` tokens, learned constants are put behind them, and what the
    transformer makes of the constants' places is the soft prompt.

    Parameters
    ----------
    dim : int
        Length of a vector.
    tokens, width : int
        How many soft tokens it becomes, and their length.
    config : MapperConfig
        The other sizes.

    Raises
    ------
    ModelError
        The width cannot be split into the heads.
    """

    def __init__(self, dim: int, tokens: int, width: int, config: MapperConfig) -> None:
        super().__init__()
        if width % config.heads:
            raise ModelError(
                f"A prefix mapper {width} wide cannot be split into {config.heads} heads; "
                "give the number it was trained with."
            )
        self.projected = config.projected
        self.linear = nn.Linear(dim, config.projected * width)
        self.constants = nn.Parameter(torch.randn(tokens, width))
        self.layers = nn.ModuleList(
            _Layer(width, config.hidden, config.heads) for _ in range(config.layers)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """Soft tokens, shape (n, tokens, width), of vectors, shape (n, dim)."""
        projected = self.linear(vectors).reshape(len(vectors), self.projected, -1)
        constants = self.constants.expand(len(vectors), -1, -1)
        hidden = torch.cat([projected, constants], dim=1)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden[:, self.projected :]


class _Layer(nn.Module):
    """One pre-layer-norm block in which every place sees all others."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_mix = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.mix_out = nn.Linear(width, width)
        self.norm_think = nn.LayerNorm(width)
        self.think = nn.Linear(width, hidden)
        self.think_out = nn.Linear(hidden, width)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.mix_out(self._attend(self.norm_mix(hidden)))
        thought: Tensor = self.think_out(functional.relu(self.think(self.norm_think(hidden))))
        return hidden + thought

    def _attend(self, hidden: Tensor) -> Tensor:
        rows, length, width = hidden.shape
        each = width // self.heads
        queries = self.query(hidden).reshape(rows, length, self.heads, each).transpose(1, 2)
        pairs = self.key_value(hidden).reshape(rows, length, 2, self.heads, each)
        keys, values = pairs.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return mixed.transpose(1, 2).reshape(rows, length, width)
