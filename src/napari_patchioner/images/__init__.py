"""The one door for pictures: raster files and bytes to upright pixels, within a budget."""

from __future__ import annotations

from ._picture import (
    FORMATS,
    MOST_BYTES,
    MOST_PIXELS,
    open_picture_file,
    picture_size,
    quietly,
    read_picture,
    stored_orientation,
)
from ._read import image_size, read_image, read_preview, read_samples
from ._tiff import is_tiff, open_tiff_file, tiff_orientation
from ._upright import upright

__all__ = [
    "FORMATS",
    "MOST_BYTES",
    "MOST_PIXELS",
    "image_size",
    "is_tiff",
    "open_picture_file",
    "open_tiff_file",
    "picture_size",
    "quietly",
    "read_image",
    "read_picture",
    "read_preview",
    "read_samples",
    "stored_orientation",
    "tiff_orientation",
    "upright",
]
