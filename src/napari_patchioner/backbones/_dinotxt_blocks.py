"""Transformer blocks of DINO.txt, under the names of its published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

HEAD_WIDTH = 64


class Attention(nn.Module):
    """Self-attention with queries, keys and values in one matrix.

    Parameters
    ----------
    width : int
        Of a token; heads are 64 wide.
    causal : bool
        Whether a token sees only those up to itself.
    bias : bool
        Whether the one matrix has one; none of the published does.
    """

    def __init__(self, width: int, *, causal: bool, bias: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = max(1, width // HEAD_WIDTH), causal
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens, shape (batch, length, width)."""
        parted = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))
        q, k, v = parted.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        put: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return put


class Gated(nn.Module):
    r"""SwiGLU: :math:`W_3(\mathrm{silu}(W_1 x) \cdot W_2 x)`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden)
        self.w2 = nn.Linear(width, hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Think about each token alone."""
        put: Tensor = self.w3(functional.silu(self.w1(tokens)) * self.w2(tokens))
        return put


class Scale(nn.Module):
    """One learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scale tokens."""
        return tokens * self.gamma


class VisionBlock(nn.Module):
    """Block of the vision head: attention and SwiGLU, each normalised before and scaled after."""

    def __init__(self, width: int, hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, causal=False, bias=bias)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Gated(width, hidden)
        self.ls2 = Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pass tokens on, shape (batch, length, width)."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        passed: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return passed


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Think about each token alone."""
        put: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return put


class TextBlock(nn.Module):
    """Block of the text tower: causal attention and an MLP, each normalised before."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, causal=True)
        self.ffn_norm = nn.LayerNorm(width)
        self.feed_forward = Mlp(width, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Pass tokens on, shape (batch, length, width)."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        passed: Tensor = tokens + self.feed_forward(self.ffn_norm(tokens))
        return passed
