"""Regions as the masks AlphaCLIP looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.regions import PatchWeights

Alpha: TypeAlias = Literal["official", "reference"]
FloatArray: TypeAlias = npt.NDArray[np.float32]

_MEAN, _DEVIATION = 0.5, 0.26


def pixel_masks(weights: Sequence[PatchWeights], shape: tuple[int, int]) -> FloatArray:
    """Paint regions on the picture the network sees.

    Parameters
    ----------
    weights : sequence of PatchWeights
        The regions, on a grid whose cells are whole pixels of the picture. What counts more than
        once, as in a trace or in overlapping boxes, is in the mask once; a share of a cell is a
        half-transparent one.
    shape : (int, int)
        Height and width of the picture in pixels.

    Returns
    -------
    ndarray of float32, shape (n, 1, height, width)
        From 0, outside, to 1, inside.
    """
    masks = np.zeros((len(weights), 1, *shape), np.float32)
    for mask, region in zip(masks, weights, strict=True):
        rows, columns = region.grid_shape
        cell = np.ones((shape[0] // rows, shape[1] // columns))
        mask[0] = np.kron(region.dense().clip(0, 1), cell)
    return masks


def normalised(masks: FloatArray, alpha: Alpha) -> FloatArray:
    """Scale masks from 0 to 1 as the alpha channel wants them.

    ``"official"`` is ``(mask - 0.5) / 0.26``, as AlphaCLIP was trained; ``"reference"`` leaves
    them as they are, as the published Patch-ioner does.
    """
    return masks if alpha == "reference" else (masks - np.float32(_MEAN)) / np.float32(_DEVIATION)


def reference_box_mask(boxes: npt.ArrayLike, cells: int, cell_size: float) -> FloatArray:
    """Paint boxes as the published Patch-ioner does: the last row and column stay out.

    Both ends are rounded down to cells and the far one is exclusive, so a box within one cell
    gives an empty mask. The published code uses cells of one pixel, where that hardly matters;
    here for comparison only.

    Parameters
    ----------
    boxes : array_like, shape (n, 4)
        ``(x, y, width, height)`` in pixels of the resized picture, corners at integers.
    cells : int
        Along one side of the mask.
    cell_size : float
        Pixels along one side of a cell.

    Returns
    -------
    ndarray of float32, shape (cells, cells)
        One inside any of the boxes, zero elsewhere.

    Examples
    --------
    >>> reference_box_mask([[0, 0, 2, 1], [2, 2, 0.5, 0.5]], cells=3, cell_size=1)
    array([[1., 1., 0.],
           [0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    corners = np.asarray(boxes, float).reshape(-1, 2, 2).cumsum(axis=1)
    mask = np.zeros((cells, cells), np.float32)
    for (left, top), (right, bottom) in np.floor_divide(corners, cell_size).astype(int):
        mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 1
    return mask
