"""Sharp masks from clicks or a box, by a model that was trained for nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import RegionError
from napari_patchioner.regions import Box, Mask

if TYPE_CHECKING:
    from napari_patchioner.backbones.sam2 import EncodedPicture, Sam2

Click: TypeAlias = tuple[float, float]

AROUND = 0.5
"""Surroundings of a box that are encoded with it, as a share of its longer side."""
# Pixels of the least window
_LEAST = 64


def sharp_mask(
    segmenter: Sam2,
    encoded: EncodedPicture,
    clicks: Sequence[Click] = (),
    negative: Sequence[Click] = (),
    box: Box | None = None,
    *,
    offset: tuple[int, int] = (0, 0),
) -> Mask:
    """Return the mask of what clicks and a box mean.

    Parameters
    ----------
    segmenter : Sam2
        From `models.segmenters.load_segmenter`.
    encoded : EncodedPicture
        From ``segmenter.encode``, of the image or a window of it.
    clicks, negative : sequence of (row, column)
        What lies in the region and what does not, in pixels of the image.
    box : Box, optional
        What the region fills.
    offset : tuple of int
        First row and column of the window on the image.

    Returns
    -------
    Mask
        In pixels of the image, cut to its bounds.

    Raises
    ------
    RegionError
        If there is neither a click nor a box, one lies beside the picture, or nothing is there.
    """
    height, width = encoded.shape
    top, left = offset
    if not clicks and box is None:
        raise RegionError("Click on something, or draw a box around it, to have it outlined.")
    for row, column in (*clicks, *negative):
        inside = -0.5 <= row - top <= height - 0.5 and -0.5 <= column - left <= width - 0.5
        if not (math.isfinite(row) and math.isfinite(column) and inside):
            raise RegionError("A click lies beside the image: click on it.")
    corners = None
    if box is not None:
        rows = np.clip([box.top - top, box.bottom - top], 0, height - 1).tolist()
        columns = np.clip([box.left - left, box.right - left], 0, width - 1).tolist()
        beside = box.bottom < top or box.right < left or box.top > top + height
        if beside or box.left > left + width or not (rows[0] < rows[1] and columns[0] < columns[1]):
            raise RegionError(
                "The box lies beside the image, or has no area: draw it on the image."
            )
        corners = (rows[0], columns[0], rows[1], columns[1])

    def here(points: Sequence[Click]) -> list[Click]:
        return [(row - top, column - left) for row, column in points]

    logits, _ = segmenter.logits(encoded, here(clicks), here(negative), corners)
    mask = Mask(logits > 0, (top, left)).cropped()
    if not mask.pixels.size:
        raise RegionError("Nothing is outlined there: click in the middle of something.")
    return mask


def sharpen_box(segmenter: Sam2, image: npt.ArrayLike, box: Box) -> Mask:
    """Return the mask of what a box on an image is around, as sharp as its pixels.

    Only the surroundings of the box are encoded, so a small thing in a large image is outlined as
    finely as a large one. The arguments and errors are as in `sharp_mask`.
    """
    pixels = np.asarray(image)
    rows, columns = window_around(box, (int(pixels.shape[0]), int(pixels.shape[1])))
    encoded = segmenter.encode(pixels[slice(*rows), slice(*columns)])
    return sharp_mask(segmenter, encoded, box=box, offset=(rows[0], columns[0]))


def window_around(box: Box, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows and the columns, first and one behind the last, to encode with a box.

    >>> window_around(Box(100, 100, 200, 300), (1000, 310))
    ((0, 301), (0, 310))
    """
    longer = max(box.bottom - box.top, box.right - box.left)
    if not math.isfinite(longer):
        raise RegionError("The box has corners that are no numbers: draw it anew.")
    around = max(AROUND * longer, (_LEAST - longer) / 2)

    def span(low: float, high: float, length: int) -> tuple[int, int]:
        first = min(max(math.floor(low - around + 0.5), 0), max(length - 2, 0))
        return first, min(max(math.ceil(high + around + 0.5), first + 2), length)

    return span(box.top, box.bottom, shape[0]), span(box.left, box.right, shape[1])
