"""The one door for pictures: files and arrays to RGB, whole or in parts, within a budget."""

from __future__ import annotations

from ._levels import Level, Levels, Shrunk
from ._orientation import as_stored, upright, upright_points
from ._picture import FORMATS, IMAGE_SUFFIXES, MOST_PIXELS, picture_size, read_picture
from ._pixel_size import PixelSides, pixel_sides
from ._read import (
    file_orientation,
    image_size,
    open_image,
    open_levels,
    pages_left_out,
    read_image,
    read_preview,
    read_samples,
)
from ._rgb import ChannelView, Composite, as_rgb
from ._stored import StoredImage
from ._zarr import is_zarr

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "MOST_PIXELS",
    "ChannelView",
    "Composite",
    "Level",
    "Levels",
    "PixelSides",
    "Shrunk",
    "StoredImage",
    "as_rgb",
    "as_stored",
    "file_orientation",
    "image_size",
    "is_zarr",
    "open_image",
    "open_levels",
    "pages_left_out",
    "picture_size",
    "pixel_sides",
    "read_image",
    "read_picture",
    "read_preview",
    "read_samples",
    "upright",
    "upright_points",
]
