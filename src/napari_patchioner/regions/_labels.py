"""Where the labels of a painted plane are."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

LabelBox: TypeAlias = "tuple[slice, slice]"

# find_objects makes a list as long as the largest label.
_LARGEST_LISTED = 1_000_000


def label_boxes(labels: npt.NDArray[Any]) -> dict[int, LabelBox]:
    """Return rows and columns of the box around each label of a plane but 0, in rising order.

    >>> label_boxes(np.array([[0, 7], [0, 7]]))
    {7: (slice(0, 2, None), slice(1, 2, None))}
    """
    from scipy.ndimage import find_objects

    if not labels.size:
        return {}
    if labels.dtype.kind == "b" or labels.dtype.itemsize < 4:
        labels = labels.astype(np.int32)
    if labels.max() <= _LARGEST_LISTED and labels.min() >= 0:
        listed = find_objects(labels.astype(np.intp, copy=False))
        return {value: box for value, box in enumerate(listed, start=1) if box is not None}
    values, dense = np.unique(labels, return_inverse=True)
    boxes = zip(values, find_objects(dense.reshape(labels.shape) + 1), strict=True)
    return {int(value): box for value, box in boxes if value != 0}
