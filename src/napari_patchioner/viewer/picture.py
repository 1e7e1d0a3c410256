"""The displayed plane as the user sees it, as pixels for the captioner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError

from .geometry import full_shape

if TYPE_CHECKING:
    import napari
    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid

    from ._record import Plane

# Levels of a pyramid smaller than this along a displayed axis lose what a model could see.
LEAST_PIXELS = 1024


@dataclass(frozen=True, eq=False, slots=True)
class PlaneSource:
    """All that is needed to read one plane in a worker, without the layer.

    Attributes
    ----------
    data : array_like
        The level to read from, lazy or not.
    plane : Plane
        Which plane, in full-resolution coordinates.
    shape : tuple of int
        ``(height, width)`` of the plane at full resolution.
    index : tuple of int
        Position along the other axes on this level.
    colours : bool
        Whether the last axis holds colours.
    contrast : tuple of float
        Values shown as black and as white.
    gamma : float
        Exponent of the display.
    """

    data: Any
    plane: Plane
    shape: tuple[int, int]
    index: tuple[int, ...]
    colours: bool
    contrast: tuple[float, float]
    gamma: float = 1.0

    def read(self) -> npt.NDArray[np.uint8]:
        """Return the picture, shape (H, W) or (H, W, 3 or 4), 8 bits per sample.

        Raises
        ------
        ImageError
            If the plane is empty or holds values that are not finite.
        """
        rows, columns = self.plane.axes
        others = iter(self.index)
        spatial = range(len(self.index) + 2)
        slices = tuple(slice(None) if a in (rows, columns) else next(others) for a in spatial)
        pixels = np.asarray(self.data[slices])
        if rows > columns:
            pixels = np.swapaxes(pixels, 0, 1)
        if pixels.size == 0:
            raise ImageError("the image has no pixels; choose another one")
        if not np.isfinite(pixels).all():
            raise ImageError("the image holds values that are not numbers; replace them first")
        return _colours(pixels) if self.colours else _grey(pixels, self.contrast, self.gamma)

    def in_full_pixels(self, grid: FeatureGrid) -> FeatureGrid:
        """Return a grid of this picture with its coordinates in full-resolution pixels."""
        here = grid.transform
        if here.image_shape == self.shape:
            return grid
        down, across = (
            full / small for full, small in zip(self.shape, here.image_shape, strict=True)
        )
        top, left, height, width = here.extent
        window = (top * down, left * across, height * down, width * across)
        return replace(grid, transform=replace(here, image_shape=self.shape, window=window))


def plane_source(image: napari.layers.Image, plane: Plane) -> PlaneSource:
    """Return what a worker needs to read a plane of the image.

    Of a pyramid it takes the smallest level that is still large enough for any model.
    """
    full = full_shape(image)
    level, shape = _level(image, plane)
    others = [axis for axis in range(image.ndim) if axis not in plane.axes]
    index = tuple(
        min(int(position * shape[axis] / full[axis]), shape[axis] - 1)
        for axis, position in zip(others, plane.index, strict=True)
    )
    low, high = image.contrast_limits
    return PlaneSource(
        level,
        plane,
        (full[plane.axes[0]], full[plane.axes[1]]),
        index,
        bool(image.rgb),
        (float(low), float(high)),
        float(image.gamma),
    )


def _level(image: napari.layers.Image, plane: Plane) -> tuple[Any, tuple[int, ...]]:
    """Return the level to read and the length of its axes."""
    levels = list(image.data) if image.multiscale else [image.data]
    chosen = levels[0]
    for level in levels[1:]:
        if min(level.shape[axis] for axis in plane.axes) >= LEAST_PIXELS:
            chosen = level
    return chosen, tuple(int(length) for length in chosen.shape[: image.ndim])


def _grey(
    pixels: npt.NDArray[Any], contrast: tuple[float, float], gamma: float
) -> npt.NDArray[np.uint8]:
    """Apply the display's contrast limits and gamma."""
    low, high = contrast
    shown = (pixels.astype(np.float32) - low) / max(high - low, np.finfo(np.float32).tiny)
    shown = np.clip(shown, 0, 1)
    return np.round(255 * (shown if gamma == 1 else shown**gamma)).astype(np.uint8)


def _colours(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Bring colours to 8 bits as napari does: full range for integers, 0 to 1 for floats."""
    if pixels.dtype == np.uint8:
        return pixels
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "iu" else 1.0
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * 255
    return np.round(255 * np.clip(pixels.astype(np.float32) / top, 0, 1)).astype(np.uint8)
