"""ProxyCLIP's attention: who looks at whom is decided by another network (Lan et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def proxy_attention(
    features: Tensor, *, beta: float = 1.2, gamma: float = 3.0, over_batch: bool = False
) -> Tensor:
    """Attention weights from how alike a guide finds two patches.

    ``A = softmax(gamma * (S - beta * mean(S)))`` with S the cosine similarities, where negative
    logits count as minus infinity.

    Parameters
    ----------
    features : Tensor, shape (batch, channels, rows, columns)
        The guide's patch features.
    beta, gamma : float
        Threshold as a multiple of the mean similarity, and scale.
    over_batch : bool
        Take the mean over the whole batch, as Patch-ioner's code does: an image's result then
        depends on the others. ProxyCLIP's authors have since mended it.

    Returns
    -------
    Tensor, shape (batch, patches, patches)
        Every row sums to one. Where no similarity passes the threshold, as in a blank image
        (where the published code has only NaN), the threshold is left out.
    """
    unit = functional.normalize(features.flatten(2), dim=1)
    similarity = torch.einsum("bcm,bcn->bmn", unit, unit)
    mean = similarity.mean() if over_batch else similarity.mean((1, 2), keepdim=True)
    logits = (similarity - mean * beta) * gamma
    kept = logits >= 0
    logits = logits.masked_fill(~kept & kept.any(dim=2, keepdim=True), -torch.inf)
    return logits.softmax(dim=2)


def to_grid(values: Tensor, grid_shape: tuple[int, int], guide_shape: tuple[int, int]) -> Tensor:
    """Resize a map of values, (batch, patches, width), from CLIP's grid to the guide's."""
    batch, _, width = values.shape
    maps = values.transpose(1, 2).reshape(batch, width, *grid_shape)
    resized = functional.interpolate(maps, guide_shape, mode="bilinear", align_corners=False)
    return resized.flatten(2).transpose(1, 2)
