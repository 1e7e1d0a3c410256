"""How large an image is, without reading its pixels where that can be helped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner import images
from napari_patchioner.errors import ImageError
from napari_patchioner.images import open_image

if TYPE_CHECKING:
    from pathlib import Path


def image_size(path: Path) -> tuple[int, int]:
    """Return ``(height, width)`` of an image as it is captioned; zeros if unknown."""
    try:
        return images.image_size(path)
    except ImageError:
        return _size_of_pixels(path)


def _size_of_pixels(path: Path) -> tuple[int, int]:
    """Return the size of an array or a zarr folder."""
    try:
        with open_image(path) as image:
            return image.shape
    except ImageError:
        return 0, 0
