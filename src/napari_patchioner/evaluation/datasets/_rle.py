from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence


def decode_rle(counts: Sequence[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mask from COCO's uncompressed run lengths.

    Parameters
    ----------
    counts : sequence of int
        Lengths of runs, column by column, the first one background.
    size : tuple of int
        ``(height, width)``.

    Returns
    -------
    ndarray of bool, shape (height, width)

    Examples
    --------
    >>> decode_rle([1, 2, 3], (2, 3)).astype(int)
    array([[0, 1, 0],
           [1, 0, 0]])
    """
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[::-1]).T
