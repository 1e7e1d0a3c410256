"""How large an image is, without reading its pixels where that can be helped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.backbones._files import read_image
from napari_patchioner.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

_ORIENTATION = 0x0112


def image_size(path: Path) -> tuple[int, int]:
    """Return ``(height, width)`` of an image file as `read_image` gives it; zeros if unknown."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # no kind that Pillow knows, or damaged
        return _size_of_pixels(path)


def _size_of_pixels(path: Path) -> tuple[int, int]:
    try:
        height, width = read_image(path).shape[:2]
    except ImageError:
        return 0, 0
    return height, width
