"""Appearance axes: what can be measured in every patch without knowing what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_patchioner.bridges.appearance import AXES, COLOURS, LONG_SIDE

from ._blobs import find_spots
from ._oklab import oklab, pixel_shares
from ._texture import LAB, find_lines, patch_means, texture

if TYPE_CHECKING:
    import numpy.typing as npt

_LEAST_LINE = 0.05


def appearance_axes(
    rgb: npt.NDArray[np.uint8], grid_shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Measure colour, texture, spots and lines in every patch of an image.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The image.
    grid_shape : (int, int)
        Rows and columns of the grid, which covers the whole image evenly.

    Returns
    -------
    ndarray of float32, shape (rows, columns, len(AXES))
        Additive statistics: their mean over any patches describes the region they make up.
    """
    side = max(2, round(LONG_SIDE / max(grid_shape)))
    shape = (grid_shape[0] * side, grid_shape[1] * side)
    small = np.asarray(Image.fromarray(rgb).resize(shape[::-1], _filter(rgb.shape, shape)))
    lab = oklab(small)
    maps, lightness, noise = texture(lab)
    spots, covered = find_spots(lightness, lab, noise, grid_shape)
    lines = find_lines(lightness, noise, covered)
    maps |= {f"share_{name}": part for name, part in _shares(small)}
    axes = {name: patch_means(plane, grid_shape) for name, plane in maps.items()} | spots
    for polarity, (strength, measures) in lines.items():
        axes |= _masked(f"{polarity}_line", strength, lab, grid_shape)
        for measure, plane in measures.items():
            axes[f"{polarity}_line_{measure}"] = patch_means(plane, grid_shape)
        covered = covered | (strength > _LEAST_LINE)
    axes |= _masked("ground", (~covered).astype(np.float32), lab, grid_shape)
    return np.stack([axes[name] for name in AXES], -1).astype(np.float32)


def _filter(before: tuple[int, ...], after: tuple[int, int]) -> Image.Resampling:
    # Averaging whole pixels keeps grain honest when shrinking; enlarging must not ring.
    shrinks = before[0] * before[1] > after[0] * after[1]
    return Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR


def _shares(small: npt.NDArray[np.uint8]) -> list[tuple[str, npt.NDArray[np.float32]]]:
    return list(zip(COLOURS, np.moveaxis(pixel_shares(small), -1, 0), strict=True))


def _masked(
    prefix: str,
    weight: npt.NDArray[np.float32],
    lab: npt.NDArray[np.float32],
    grid_shape: tuple[int, int],
) -> dict[str, npt.NDArray[np.float32]]:
    """Area of a soft mask and the sums of colour over it."""
    axes = {f"{prefix}_area": patch_means(weight, grid_shape)}
    for channel, name in enumerate(LAB):
        axes[f"{prefix}_{name}"] = patch_means(lab[..., channel] * weight, grid_shape)
    return axes
