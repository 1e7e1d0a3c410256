"""Boxes as the published code counts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._areas import box_corners, finite
from ._outside import OutsideError
from ._weights import PatchWeights

if TYPE_CHECKING:
    from ._placement import Placement
    from ._shapes import Box


def reference_box(box: Box, transform: Placement) -> PatchWeights:
    """Take the patches ``x // p .. x // p + w // p``, both included, and likewise for rows.

    Corner and size are divided apart and in single precision, as in the published code, so the
    last patch touched may be missing. Its indices below zero, which there count from the far
    side, are not reproduced: the box is cut at the image first.

    Parameters
    ----------
    box : Box
        In image pixels.
    transform : GridTransform
        Where the patches lie.

    Returns
    -------
    PatchWeights
        Ones.

    Raises
    ------
    RegionError
        The box is not finite or lies outside.
    """
    low, high = transform.to_grid(finite(box_corners(box)))[::2]
    limits = np.array(transform.grid_shape)
    beside = ((high <= 0) | (low >= limits)) & (low < high)
    if (high < 0).any() or (low > limits).any() or beside.any():
        raise OutsideError.beyond(transform)
    low, high = low.clip(0, limits), high.clip(0, limits)
    first = np.minimum(low.astype(np.float32).astype(np.int64), limits - 1)
    last = np.minimum(first + (high - low).astype(np.float32).astype(np.int64), limits - 1)
    weights = np.zeros(transform.grid_shape)
    weights[first[0] : last[0] + 1, first[1] : last[1] + 1] = 1.0
    return PatchWeights.from_dense(weights)
