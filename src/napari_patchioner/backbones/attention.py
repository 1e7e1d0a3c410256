"""Attention of vision transformers by the quicker of torch's libraries, see `products`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from threading import Barrier
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_patchioner.products import linear, onednn_is_quicker, onednn_takes

_NAME = "patchioner"
# Fewer tokens are attended to as quickly by torch.
_TOKENS = 256
# Weights of attention held at once by a thread: 4 MB stay in the processor's cache.
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
    if tokens < _TOKENS or not onednn_takes(queries, keys) or not onednn_is_quicker():
        return functional.scaled_dot_product_attention(queries, keys, values, scale=scale)
    attended = torch.empty_like(queries, memory_format=torch.contiguous_format)
    heads = list(product(range(len(queries)), range(queries.shape[1])))
    factor, step = width**-0.5 if scale is None else scale, max(1, _HELD // keys.shape[-2])
    inference = torch.is_inference_mode_enabled()

    def work(first: int, threads: int) -> None:
        # Each thread of torch's has a mode of its own.
        with torch.inference_mode() if inference else torch.no_grad():
            for place in heads[first::threads]:
                scaled, key = queries[place] * factor, keys[place].contiguous()
                columns = values[place].T.contiguous()
                for start in range(0, tokens, step):
                    rows = slice(start, start + step)
                    weights = linear(scaled[rows], key).softmax(dim=-1)
                    attended[place][rows] = linear(weights, columns)

    threads = min(torch.get_num_threads(), len(heads))
    if threads == 1:
        work(0, 1)
    else:
        # Whole heads for each: threads that share a product wait for one another after every one,
        # for long where other programs have the cores.
        list(_single_threads(threads).map(work, range(threads), [threads] * threads))
    return attended


@cache
def _single_threads(count: int) -> ThreadPoolExecutor:
    """Return threads in each of which torch has no others."""
    before, all_there = torch.get_num_threads(), Barrier(count)

    def begin() -> None:
        # What is set before torch has looked at a thread is overwritten.
        torch.get_num_threads()
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(count, "attention", begin)
    list(pool.map(lambda _: all_there.wait(), range(count)))
    # New threads would begin with what was set last in any of them.
    torch.set_num_threads(before)
    return pool


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
