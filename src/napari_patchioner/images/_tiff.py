"""What tifffile opens, after what its header claims has been looked at."""

from __future__ import annotations

import lzma
import math
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError

from ._picture import MOST_BYTES, brief, check_image_file, quietly
from ._upright import ORIENTATION, as_orientation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tifffile import TiffFile


# By the numbers of their packing (deflate has two, then LZMA): what unpacks it, and how many bytes
# may come out of one at most.
_UNPACKERS: dict[int, tuple[Any, int]] = {
    8: (zlib.decompressobj, 1032),
    32946: (zlib.decompressobj, 1032),
    34925: (lzma.LZMADecompressor, 7000),
}
# Pieces that can only unpack to so many bytes are let through without a look.
_HARMLESS = 2**29


def is_tiff(start: bytes) -> bool:
    """Whether a file begins as a TIFF does."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def starts_as_tiff(path: str | os.PathLike[str]) -> bool:
    """Whether a plain file is a TIFF, whatever its name; an ImageError if it is no plain file."""
    check_image_file(path)
    try:
        with open(path, "rb") as file:
            return is_tiff(file.read(4))
    except OSError as error:
        raise ImageError(
            f"{os.fsdecode(path)}: cannot be read ({error.strerror or error})"
        ) from error


def open_tiff_file(path: str | os.PathLike[str]) -> TiffFile:
    """Open a TIFF of which only the header is read; to be closed, as by ``with``.

    Raises
    ------
    ImageError
        It is no plain file, or no TIFF.
    """
    import tifffile

    check_image_file(path)
    with quietly():
        try:
            return tifffile.TiffFile(path)
        except Exception as error:  # headers may be damaged in any way
            raise ImageError(
                f"{os.fsdecode(path)}: cannot be read as a TIFF ({brief(error)})"
            ) from error


def tiff_orientation(tiff: TiffFile) -> int:
    """Return how the pixels of a TIFF are turned, 1 to 8 as in EXIF."""
    tag = tiff.pages.first.tags.get(ORIENTATION)
    return 1 if tag is None else as_orientation(tag.value)


def check_packed(path: object, pages: Iterable[Any]) -> None:
    """Raise an ImageError if a piece of a TIFF unpacks to more than it may hold.

    tifffile asks its unpackers for no limit where imagecodecs is not installed.
    """
    for page in pages:
        if page is None or page.compression not in _UNPACKERS:
            continue
        unpacker, densest = _UNPACKERS[page.compression]
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else ()
        rows, columns = tile or (page.rowsperstrip or page.imagelength, page.imagewidth)
        most = min(rows, max(page.imagelength, rows if tile else 0)) * columns
        most *= page.samplesperpixel * max(1, page.bitspersample) // 8 + 1
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if count * densest <= _HARMLESS:
                continue
            handle = page.parent.filehandle
            handle.seek(offset)
            if len(unpacker().decompress(handle.read(min(count, MOST_BYTES)), most + 1)) > most:
                raise ImageError(f"{path}: unpacks to more than its size; it is damaged")


def check_whole(path: object, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise an ImageError if an array is too large to be read whole."""
    count = math.prod(map(int, shape))
    if count * np.dtype(dtype).itemsize > MOST_BYTES:
        sides = " x ".join(map(str, shape))
        raise ImageError(
            f"{path}: is too large to be read whole ({sides} values); "
            "save it as a TIFF in tiles or as OME-Zarr"
        )
    if count < 1:
        raise ImageError(f"{path}: has no pixels")
