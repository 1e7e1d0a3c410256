"""Pictures from files, the right way up."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from PIL.Image import Image
    from tifffile import TiffFile

AnyArray: TypeAlias = npt.NDArray[Any]

_TIFF = (".tif", ".tiff")
_ORIENTATION_TAG = 274
# How a TIFF says what its samples mean.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_PLAIN_MODES = ("L", "RGB", "RGBA", "I", "F")


def read_image(path: str | os.PathLike[str]) -> AnyArray:
    """Read a picture from a file.

    Parameters
    ----------
    path : path-like
        A file of any kind that Pillow or tifffile reads. The orientation a camera noted is
        honoured; palettes, CMYK and the like become RGB; of an animation the first frame is
        taken.

    Returns
    -------
    ndarray, shape (height, width) or (height, width, 3 or 4)
        Gray, RGB or RGBA; 8-bit, or 16-bit and floats where the file holds them.

    Raises
    ------
    ImageError
        If the file is missing, damaged, no picture, or a stack of several planes.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is a folder, not an image" if path.is_dir() else "there is no such image"
        raise ImageError(f"{path}: {problem}")
    with quietly():
        image = _read_tiff(path) if path.suffix.lower() in _TIFF else None
        return _read_with_pillow(path) if image is None else image


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the decoders' remarks on odd files to themselves; what matters is raised."""
    remarks = logging.getLogger("tifffile")
    before = remarks.disabled
    remarks.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        remarks.disabled = before


def _read_with_pillow(path: Path) -> AnyArray:
    """Read a file with Pillow."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            turned = ImageOps.exif_transpose(image)
            array = np.array(_plain(turned))
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: is not an image of a known kind, or is damaged") from error
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageError(f"{path}: cannot be read as an image ({_brief(error)})") from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _brief(error: Exception) -> str:
    """Return the first line of what went wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _plain(image: Image) -> Image:
    """Return an image whose array is gray, RGB or RGBA."""
    if image.mode.startswith("I;16") or (
        image.mode in _PLAIN_MODES and "transparency" not in image.info
    ):
        return image
    if image.mode == "1":
        return image.convert("L")
    clear = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
    return image.convert("RGBA" if clear else "RGB")


def _read_tiff(path: Path) -> AnyArray | None:
    """Read a TIFF of gray or RGB samples of any depth; None where Pillow should try."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            if tiff.pages.first.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
                return None
            array = _upright(_channels_last(np.squeeze(tiff.series[0].asarray())), tiff)
    except Exception:  # damaged, or packed in a way only Pillow knows
        return None
    if array.ndim > 3 or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"{path}: holds a stack of planes of shape {array.shape}; save one plane as an image"
        )
    return array


def _channels_last(array: AnyArray) -> AnyArray:
    """Return colours in the last axis where a file keeps one plane per colour."""
    planar = array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] not in (3, 4)
    return np.moveaxis(array, 0, 2) if planar else array


def _upright(array: AnyArray, tiff: TiffFile) -> AnyArray:
    """Return a TIFF's samples the right way up and with black as zero."""
    page = tiff.pages.first
    if page.photometric == _WHITE_IS_ZERO:
        array = np.invert(array) if array.dtype.kind in "bu" else -array
    tag = page.tags.get(_ORIENTATION_TAG)
    orientation = 1 if tag is None else int(tag.value)
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return array[::rows, ::columns]
