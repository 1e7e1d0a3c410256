"""Pictures from files: whole as arrays, the right way up, or opened to be read in parts."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError, os_errors

from . import _picture, _tiff
from ._levels import Levels
from ._orientation import SIDEWAYS, upright
from ._rgb import as_rgb
from ._stored import StoredImage, guess_axes
from ._zarr import is_zarr, open_zarr

if TYPE_CHECKING:
    from PIL.Image import Image
    from tifffile import TiffPageSeries


AnyArray: TypeAlias = npt.NDArray[Any]

_NPY = b"\x93NUMPY"
_PLAIN_MODES = ("L", "RGB", "RGBA", "I", "F")
# Pixels that go from Pillow to numpy at a time.
_PART = 2**21


def read_image(path: str | os.PathLike[str]) -> AnyArray:
    """Read a picture from a file.

    Parameters
    ----------
    path : path-like
        A plain file of a kind named in `FORMATS`, or a TIFF that tifffile reads, whatever its
        name. The orientation a camera noted is honoured; palettes, CMYK and the like become RGB;
        of an animation the first frame is taken.

    Returns
    -------
    ndarray, shape (height, width) or (height, width, 3 or 4)
        Gray, RGB or RGBA; 8-bit, or 16-bit and floats where the file holds them.

    Raises
    ------
    ImageError
        If the file is missing, damaged, too large, no picture, or a stack of several planes.
    """
    array = _tiff_samples(path)
    if array is None:
        array = np.ascontiguousarray(_read_plain(path))
    elif not _is_picture(array):
        raise ImageError(
            f"{os.fsdecode(path)}: holds a stack of planes of shape {array.shape}; "
            "save one plane as an image"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return ``(height, width)`` of an upright image as for `open_image`, from its header alone."""
    if os.path.isdir(path) and is_zarr(Path(path)):
        return open_zarr(Path(path)).shape
    start = _start(path)
    if start.startswith(_NPY):
        return _open_npy(Path(path)).shape
    if _tiff.is_tiff(start):
        with suppress(ImageError), _tiff.reading_tiff(path) as tiff:
            page = tiff.series[0].keyframe
            height, width = int(page.imagelength), int(page.imagewidth)
            turned = _tiff.tiff_orientation(tiff) >= SIDEWAYS
            if height > 0 and width > 0:
                return (width, height) if turned else (height, width)
    return _picture.picture_size(path)  # Pillow may know what is only damaged to others


def pages_left_out(path: str | os.PathLike[str]) -> int:
    """Return how many pages of a TIFF are no part of a stack with the first, and so never read.

    Smaller copies do not count, nor what slides hold beside the slide, as their labels.
    """
    if not _tiff.is_tiff(_start(path)):
        return 0
    with _tiff.reading_tiff(path) as tiff:
        others = tiff.series[1:] if not _tiff.is_slide(tiff) else []
        return sum(len(series) for series in others if not series.keyframe.is_reduced)


def file_orientation(path: str | os.PathLike[str]) -> int:
    """Return how the pixels of a file are turned, 1 to 8 as in EXIF; 1 where nothing says so."""
    if _tiff.is_tiff(_start(path)):
        with _tiff.reading_tiff(path) as tiff:
            return _tiff.tiff_orientation(tiff)
    with _picture.open_picture_file(path) as picture:
        return _picture.picture_orientation(picture)


def read_preview(path: str | os.PathLike[str], long_side: int) -> Image | None:
    """Return a picture of a file to show beside a text, its long side no longer than asked for.

    It is upright, RGB, or RGBA where it is transparent, in the contrast in which it is captioned;
    None where there is nothing to show. Of a TIFF in several sizes the smallest that is large
    enough is taken, of a stack the first plane.
    """
    from PIL import Image

    try:
        array = _tiff_samples(path, long_side)
        array = _read_plain(path) if array is None else array
        pixels = array if array.dtype == np.uint8 else as_rgb(array)
        shown = Image.fromarray(np.ascontiguousarray(pixels))
    except Exception:  # decoders raise anything on damaged files, and a report is whole without
        return None
    shown = shown.convert("RGBA" if shown.mode == "RGBA" else "RGB")
    shown.thumbnail((long_side, long_side))
    return shown


def read_samples(path: str | os.PathLike[str]) -> AnyArray:
    """Read the numbers a picture is stored in: of a palette the indices and not the colours.

    Upright, axes of length one left out, otherwise as it is stored, a stack as well.
    """
    if not _tiff.is_tiff(_start(path)):
        return np.array(_picture.read_picture(path))
    with _tiff.reading_tiff(path) as tiff:
        array = _whole(path, tiff.series[0])
        return upright(array, _tiff.tiff_orientation(tiff)) if array.ndim == 2 else array


def _read_plain(path: str | os.PathLike[str]) -> AnyArray:
    """Return what Pillow reads as an array that is gray, RGB or RGBA, and upright."""
    with _picture.open_picture_file(path) as picture:
        picture.load()
        # A part at a time, for a picture is large in Pillow as well, and larger as bytes.
        step = max(1, _PART // picture.width)
        if step >= picture.height:
            return upright(_plain(picture), _picture.picture_orientation(picture))
        array: AnyArray = np.empty(0)
        for top in range(0, picture.height, step):
            bottom = min(top + step, picture.height)
            part = _plain(picture.crop((0, top, picture.width, bottom)))
            if not top:
                array = np.empty((picture.height, *part.shape[1:]), part.dtype)
            array[top:bottom] = part
        return upright(array, _picture.picture_orientation(picture))


def _plain(image: Image) -> AnyArray:
    """Return a picture as an array that is gray, RGB or RGBA."""
    plain = image.mode in _PLAIN_MODES and "transparency" not in image.info
    if plain or image.mode.startswith("I;16"):
        return np.array(image)
    if image.mode == "1":
        return np.array(image.convert("L"))
    clear = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
    return np.array(image.convert("RGBA" if clear else "RGB"))


def _whole(path: str | os.PathLike[str], level: TiffPageSeries) -> AnyArray:
    """Return all samples of a TIFF, or of a smaller copy in it."""
    _tiff.check_whole(path, level.shape, level.dtype)
    _tiff.check_packed(path, level.pages)
    return np.squeeze(level.asarray())


def _is_picture(array: AnyArray) -> bool:
    """Whether samples are gray, RGB or RGBA."""
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))


def _tiff_samples(path: str | os.PathLike[str], long_side: int | None = None) -> AnyArray | None:
    """Return the samples of a TIFF, upright and with black as zero; None where Pillow should try.

    With a ``long_side``, gray or RGB samples of the first plane, in the smallest size that the file
    has of no less pixels.
    """
    if not _tiff.is_tiff(_start(path)):
        return None
    try:
        with _tiff.reading_tiff(path) as tiff:
            page, level = tiff.pages.first, tiff.series[0]
            if page.photometric not in (_tiff.WHITE_IS_ZERO, _tiff.BLACK_IS_ZERO, _tiff.RGB):
                return None
            if long_side is not None:
                large = [size for size in level.levels if max(size.shape) >= long_side]
                level = (large or [level])[-1]
            array = _whole(path, level)
            if array.ndim < 2:
                return None
            if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] not in (3, 4):
                array = np.moveaxis(array, 0, 2)  # one plane per colour
            if array.ndim == 3 and page.samplesperpixel == array.shape[2] == 2:
                array = array[..., 0]  # how transparent a gray pixel is
            if long_side is not None:
                while not _is_picture(array):
                    array = array[0]
                array = array[..., :3] if array.ndim == 3 else array
            if page.photometric == _tiff.WHITE_IS_ZERO:
                array = np.invert(array) if array.dtype.kind in "bu" else -array
            return upright(array, _tiff.tiff_orientation(tiff))
    except _tiff.TiffError:
        return None


def open_levels(path: str | os.PathLike[str], plane: str = "") -> Levels:
    """Open an image in all its sizes, of which only what is needed is read.

    Parameters
    ----------
    path : path-like
        A TIFF (in tiles or strips, with smaller copies, OME-TIFF), the folder of an OME-Zarr
        image or of a zarr array, a ``.npy`` file; any other image is read whole.
    plane : str
        Which plane of a stack: one whole number for each of its axes. The first by default.

    Returns
    -------
    Levels
        For `Captioner.pyramid`. The file stays open as long as they are there.

    Raises
    ------
    ImageError
        The image is missing, damaged or none, or a library to read it is.
    RegionError
        The stack has no such plane.

    Examples
    --------
    >>> load_model("mini").pyramid(open_levels("slide.ome.tif"))  # doctest: +SKIP
    """
    image = open_image(path)
    try:
        levels = image.levels(image.find(plane))
    except BaseException:
        image.closing()
        raise
    weakref.finalize(levels, image.closing)
    return levels


def open_image(path: str | os.PathLike[str]) -> StoredImage:
    """Open an image, as `open_levels`, with all its planes; to be closed, as by ``with``."""
    path = Path(path)
    if os.path.isdir(path):
        if is_zarr(path):
            return open_zarr(path)
        raise ImageError(f"{path}: is a folder, and no zarr image")
    start = _start(path)
    if start.startswith(_NPY):
        return _open_npy(path)
    image = _tiff.open_tiff(path) if _tiff.is_tiff(start) else None
    return StoredImage.of(read_image(path), path) if image is None else image


def _start(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a plain file, which say what it is, whatever its name."""
    _picture.check_image_file(path)
    with os_errors(os.fsdecode(path), kind=ImageError), open(path, "rb") as file:
        return file.read(8)


def _open_npy(path: Path) -> StoredImage:
    with _picture.decoding(path, "cannot be read as an array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return StoredImage(path, [array], guess_axes(array.shape, path))
