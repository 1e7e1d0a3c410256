"""What tifffile opens, after what its header claims has been looked at."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError

from ._picture import MOST_BYTES, brief, quietly
from ._plain import check_plain_file
from ._upright import ORIENTATION, as_orientation

if TYPE_CHECKING:
    from tifffile import TiffFile


def is_tiff(start: bytes) -> bool:
    """Whether a file begins as a TIFF does."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def starts_as_tiff(path: str | os.PathLike[str]) -> bool:
    """Whether a plain file is a TIFF, whatever its name; an ImageError if it is no plain file."""
    check_plain_file(path)
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

    check_plain_file(path)
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
