"""How large an image is, without reading its pixels where that can be helped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.backbones._files import quietly
from napari_patchioner.errors import ImageError
from napari_patchioner.pyramid import open_image

if TYPE_CHECKING:
    from pathlib import Path

_ORIENTATION = 0x0112


def image_size(path: Path) -> tuple[int, int]:
    """Return ``(height, width)`` of an image as it is captioned; zeros if unknown."""
    from PIL import Image

    try:
        with quietly(), Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # no kind that Pillow knows, or damaged
        return _size_of_pixels(path)


def _size_of_pixels(path: Path) -> tuple[int, int]:
    try:
        with open_image(path) as image:
            return image.shape
    except ImageError:
        return 0, 0
