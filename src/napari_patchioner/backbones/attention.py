"""Attention of vision transformers by the quicker of torch's libraries, see `products`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_patchioner.products import linear, onednn_is_quicker, onednn_takes

_NAME = "patchioner"
# Fewer tokens are attended to as quickly by torch. So are many with several threads, each of which
# it gives whole heads: here they would wait for one another hundreds of times in a layer, for long
# where other programs have the cores.
_TOKENS = 256
# Weights of attention held at once: 4 MB stay in the processor's cache.
_HELD = 2**20


def attend(queries: Tensor, keys: Tensor, values: Tensor, scale: float | None = None) -> Tensor:
    """Return ``softmax(queries @ keys.T * scale) @ values`` for each head.

    Parameters
    ----------
    queries, keys, values : Tensor, shape (n, heads, tokens, width)
    scale : float, optional
        ``width ** -0.5`` by default.

    Returns
    -------
    Tensor, shape (n, heads, tokens, width)
    """
    tokens, width = queries.shape[-2:]
    suited = tokens >= _TOKENS and torch.get_num_threads() == 1
    if not suited or not onednn_takes(queries, keys) or not onednn_is_quicker():
        return functional.scaled_dot_product_attention(queries, keys, values, scale=scale)
    scaled = queries * (width**-0.5 if scale is None else scale)
    attended = torch.empty_like(queries, memory_format=torch.contiguous_format)
    step = max(1, _HELD // keys.shape[-2])
    for image in range(len(queries)):
        for head in range(queries.shape[1]):
            columns = values[image, head].T.contiguous()
            for first in range(0, tokens, step):
                rows = slice(first, first + step)
                weights = linear(scaled[image, head, rows], keys[image, head]).softmax(dim=-1)
                attended[image, head, rows] = linear(weights, columns)
    return attended


def quicken_attention(network: Any) -> None:
    """Have a vision transformer of transformers, which masks nothing, attend by :func:`attend`."""
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attention)
    network.set_attn_implementation(_NAME)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers asks for it; tokens come before heads in the result."""
    if attention_mask is not None:
        attended = functional.scaled_dot_product_attention(
            query, key, value, attention_mask, scale=scaling
        )
    else:
        attended = attend(query, key, value, scaling)
    return attended.transpose(1, 2).contiguous(), None
