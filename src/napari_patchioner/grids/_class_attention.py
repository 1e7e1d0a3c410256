"""How much the class token of a vision transformer looks at each patch."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating]


def class_attention(
    qkv: FloatArray,
    heads: int,
    global_tokens: int,
    *,
    scale: float | None = None,
    per_head: bool = False,
) -> npt.NDArray[np.float32]:
    """Attention of the class token over the patches, from the last block's projections.

    The logits are averaged over the heads first and the softmax runs over the patches alone, as
    in the published code (which splits ViT-B in 16 heads, not its 12).

    Parameters
    ----------
    qkv : ndarray of float, shape (tokens, 3 * dim)
        Queries, keys and values side by side; the class token comes first.
    heads : int
        Number of attention heads.
    global_tokens : int
        Class token and registers, which are no patches.
    scale : float, optional
        Factor of the dot products; ``1 / sqrt(dim / heads)`` by default.
    per_head : bool
        One map per head instead of their mean.

    Returns
    -------
    ndarray of float32, shape (patches,) or (heads, patches)
        Each map sums to one.
    """
    dim = qkv.shape[1] // 3
    query = qkv[0, :dim].reshape(heads, -1).astype(np.float64)
    keys = qkv[global_tokens:, dim : 2 * dim].reshape(-1, heads, dim // heads).astype(np.float64)
    if scale is None:
        scale = (dim // heads) ** -0.5
    logits = scale * np.einsum("hd,phd->hp", query, keys)
    if not per_head:
        logits = logits.mean(axis=0)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)
