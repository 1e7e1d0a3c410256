"""The transformer block of GPT-2, with its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from ._gpt import PrefixGPTConfig

LayerCache: TypeAlias = tuple[Tensor, Tensor]


class Block(nn.Module):
    """One pre-layer-norm transformer block."""

    def __init__(self, config: PrefixGPTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.rate = config.dropout
        self.norm_mix = nn.LayerNorm(width, eps=1e-5)
        self.mix = nn.Linear(width, 3 * width)
        self.mix_out = nn.Linear(width, width)
        self.norm_think = nn.LayerNorm(width, eps=1e-5)
        self.think = nn.Linear(width, 4 * width)
        self.think_out = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, cache: LayerCache | None, visible: Tensor | None = None
    ) -> tuple[Tensor, LayerCache]:
        """Hidden states and the cache with them; ``visible`` as :func:`visible_places` gives it."""
        mixed, kept = self._attend(self.norm_mix(hidden), cache, visible)
        hidden = hidden + self.dropout(self.mix_out(mixed))
        thought = functional.gelu(self.think(self.norm_think(hidden)), approximate="tanh")
        return hidden + self.dropout(self.think_out(thought)), kept

    def _attend(
        self, hidden: Tensor, cache: LayerCache | None, visible: Tensor | None
    ) -> tuple[Tensor, LayerCache]:
        rows, length, width = hidden.shape
        parts = self.mix(hidden).reshape(rows, length, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        past = 0
        if cache is not None:
            past = cache[0].shape[2]
            keys = torch.cat([cache[0], keys], dim=2)
            values = torch.cat([cache[1], values], dim=2)
        if visible is None and past and length > 1:
            visible = _causal(torch.arange(past, past + length, device=hidden.device))
        mixed = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=visible,
            is_causal=visible is None and length > 1,
            dropout_p=self.rate if self.training else 0.0,
        )
        return mixed.transpose(1, 2).reshape(rows, length, width), (keys, values)


def visible_places(places: Tensor, padding: Tensor) -> Tensor:
    """Which places each of some new ones may look at, where rows begin with padding.

    Parameters
    ----------
    places : Tensor of int64, shape (t,)
        The new places, counted from the start of the padded rows.
    padding : Tensor of int64, shape (n,)
        How many places at the start of each row hold nothing.

    Returns
    -------
    Tensor of bool, shape (n, 1, t, places so far)
        Padding sees itself: a place that sees nothing has no average.
    """
    before = torch.arange(int(places[-1]) + 1, device=places.device)
    real = before >= padding[:, None, None]
    return (_causal(places) & (real | (before == places[:, None])))[:, None]


def _causal(places: Tensor) -> Tensor:
    """Which of all places up to the last each of some new ones may look at."""
    return torch.arange(int(places[-1]) + 1, device=places.device) <= places[:, None]
