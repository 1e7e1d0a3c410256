"""The one door for pictures: raster files and bytes to upright pixels, within a budget."""

from __future__ import annotations

from ._picture import (
    FORMATS,
    MOST_BYTES,
    MOST_PIXELS,
    check_image_file,
    open_picture_file,
    picture_size,
    quietly,
    read_picture,
)
from ._read import file_orientation, image_size, read_image, read_preview, read_samples
from ._rgb import CHANNEL_COLOURS, as_rgb, is_composite, own_limits
from ._tiff import check_packed, is_tiff, open_tiff_file, tiff_orientation
from ._upright import as_stored, upright, upright_points

__all__ = [
    "CHANNEL_COLOURS",
    "FORMATS",
    "MOST_BYTES",
    "MOST_PIXELS",
    "as_rgb",
    "as_stored",
    "check_image_file",
    "check_packed",
    "file_orientation",
    "image_size",
    "is_composite",
    "is_tiff",
    "open_picture_file",
    "open_tiff_file",
    "own_limits",
    "picture_size",
    "quietly",
    "read_image",
    "read_picture",
    "read_preview",
    "read_samples",
    "tiff_orientation",
    "upright",
    "upright_points",
]
