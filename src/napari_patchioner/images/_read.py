"""Pictures from files: whole as arrays, the right way up, or opened to be read in parts."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError

from ._orientation import SIDEWAYS, upright
from ._picture import (
    brief,
    check_image_file,
    open_picture_file,
    picture_orientation,
    picture_size,
    quietly,
    read_picture,
)
from ._stored import StoredImage, guess_axes, reason
from ._tiff import (
    BLACK_IS_ZERO,
    RGB,
    WHITE_IS_ZERO,
    check_packed,
    check_whole,
    is_tiff,
    open_tiff,
    open_tiff_file,
    tiff_orientation,
)
from ._zarr import is_zarr, open_zarr

if TYPE_CHECKING:
    from PIL.Image import Image
    from tifffile import TiffFile

    from ._levels import Levels

AnyArray: TypeAlias = npt.NDArray[Any]

_NPY = b"\x93NUMPY"
_GRAY_OR_RGB = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
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
    array = _read_tiff(path) if is_tiff(_start(path)) else None
    if array is None:
        array = np.ascontiguousarray(_read_plain(path))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return ``(height, width)`` of an upright image, from its header alone.

    Parameters
    ----------
    path : path-like
        A file as for `open_image`, or a zarr folder.

    Raises
    ------
    ImageError
        As `open_image`.
    """
    if os.path.isdir(path) and is_zarr(Path(path)):
        return open_zarr(Path(path)).shape
    start = _start(path)
    if start.startswith(_NPY):
        return _open_npy(Path(path)).shape
    size = _tiff_size(path) if is_tiff(start) else None
    return picture_size(path) if size is None else size


def file_orientation(path: str | os.PathLike[str]) -> int:
    """Return how the pixels of a file are turned, 1 to 8 as in EXIF; 1 where nothing says so.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    if is_tiff(_start(path)):
        try:
            with quietly(), open_tiff_file(path) as tiff:
                return tiff_orientation(tiff)
        except Exception as error:  # headers may be damaged in any way
            raise ImageError(
                f"{os.fsdecode(path)}: cannot be read as a TIFF ({brief(error)})"
            ) from error
    with open_picture_file(path) as picture:
        return picture_orientation(picture)


def read_preview(path: str | os.PathLike[str], long_side: int) -> Image | None:
    """Return a picture to show beside a text: upright, of eight bits, no longer than asked for.

    Parameters
    ----------
    path : path-like
        A file as for `read_image`; of a TIFF in several sizes the smallest that is large enough is
        taken, of a stack the first plane.
    long_side : int
        Of the result, in pixels.

    Returns
    -------
    PIL.Image.Image or None
        RGB, or RGBA where it is transparent; None where there is nothing to show.
    """
    from PIL import Image

    try:
        array = _tiff_preview(path, long_side) if is_tiff(_start(path)) else None
        array = _read_plain(path) if array is None else array
        shown = Image.fromarray(np.ascontiguousarray(_eight_bits(array)))
    except Exception:  # decoders raise anything on damaged files, and a report is whole without
        return None
    shown = shown.convert("RGBA" if shown.mode == "RGBA" else "RGB")
    shown.thumbnail((long_side, long_side))
    return shown


def read_samples(path: str | os.PathLike[str]) -> AnyArray:
    """Read the numbers a picture is stored in: of a palette the indices and not the colours.

    Parameters
    ----------
    path : path-like
        A file as for `read_image`.

    Returns
    -------
    ndarray
        Upright, axes of length one left out, otherwise as it is stored.

    Raises
    ------
    ImageError
        As `read_image`, but for stacks.
    """
    if not is_tiff(_start(path)):
        return np.array(read_picture(path))
    try:
        with quietly(), open_tiff_file(path) as tiff:
            series = tiff.series[0]
            check_whole(path, series.shape, series.dtype)
            check_packed(path, series.pages)
            array = np.squeeze(series.asarray())
            return upright(array, tiff_orientation(tiff)) if array.ndim == 2 else array
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageError(
            f"{os.fsdecode(path)}: cannot be read as a TIFF ({brief(error)})"
        ) from error


def _read_plain(path: str | os.PathLike[str]) -> AnyArray:
    """Return what Pillow reads as an array that is gray, RGB or RGBA, and upright."""
    with open_picture_file(path) as picture:
        picture.load()
        # A part at a time, for a picture is large in Pillow as well, and larger as bytes.
        step = max(1, _PART // picture.width)
        tops = range(0, picture.height, step)
        if len(tops) == 1:
            return upright(_plain(picture), picture_orientation(picture))
        array: AnyArray | None = None
        for top in tops:
            bottom = min(top + step, picture.height)
            part = _plain(picture.crop((0, top, picture.width, bottom)))
            if array is None:
                array = np.empty((picture.height, *part.shape[1:]), part.dtype)
            array[top:bottom] = part
        assert array is not None
        return upright(array, picture_orientation(picture))


def _plain(image: Image) -> AnyArray:
    """Return a picture as an array that is gray, RGB or RGBA."""
    plain = image.mode in _PLAIN_MODES and "transparency" not in image.info
    if plain or image.mode.startswith("I;16"):
        return np.array(image)
    if image.mode == "1":
        return np.array(image.convert("L"))
    clear = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
    return np.array(image.convert("RGBA" if clear else "RGB"))


def _tiff_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return ``(height, width)`` of a TIFF of any size; None where Pillow should try."""
    try:
        with quietly(), open_tiff_file(path) as tiff:
            page = tiff.series[0].keyframe
            height, width = int(page.imagelength), int(page.imagewidth)
            turned = tiff_orientation(tiff) >= SIDEWAYS
    except Exception:  # damaged, or only Pillow knows it
        return None
    if height < 1 or width < 1:
        return None
    return (width, height) if turned else (height, width)


def _read_tiff(path: str | os.PathLike[str]) -> AnyArray | None:
    """Read a TIFF of gray or RGB samples of any depth; None where Pillow should try."""
    try:
        with quietly(), open_tiff_file(path) as tiff:
            page, series = tiff.pages.first, tiff.series[0]
            if page.photometric not in _GRAY_OR_RGB:
                return None
            check_whole(path, series.shape, series.dtype)
            check_packed(path, series.pages)
            array = _channels_last(np.squeeze(series.asarray()))
            if array.ndim == 3 and page.samplesperpixel == array.shape[2] == 2:
                array = array[..., 0]  # how transparent a gray pixel is
            array = _upright(array, tiff)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{os.fsdecode(path)}: there is not enough memory to read it") from error
    except Exception:  # damaged, or packed in a way only Pillow knows
        return None
    if array.ndim > 3 or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"{os.fsdecode(path)}: holds a stack of planes of shape {array.shape}; "
            "save one plane as an image"
        )
    return array


def _channels_last(array: AnyArray) -> AnyArray:
    """Return colours in the last axis where a file keeps one plane per colour."""
    planar = array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] not in (3, 4)
    return np.moveaxis(array, 0, 2) if planar else array


def _upright(array: AnyArray, tiff: TiffFile) -> AnyArray:
    """Return a TIFF's samples the right way up and with black as zero."""
    if tiff.pages.first.photometric == WHITE_IS_ZERO:
        array = _inverted(array)
    return upright(array, tiff_orientation(tiff))


def _inverted(array: AnyArray) -> AnyArray:
    """Return samples of which the least becomes the greatest."""
    return np.invert(array) if array.dtype.kind in "bu" else -array


def _tiff_preview(path: str | os.PathLike[str], long_side: int) -> AnyArray | None:
    """Return gray or RGB samples of a TIFF in a size that it has; None where Pillow should try."""
    try:
        with quietly(), open_tiff_file(path) as tiff:
            if tiff.pages.first.photometric not in _GRAY_OR_RGB:
                return None
            levels = tiff.series[0].levels
            large = [level for level in levels if max(level.shape) >= long_side]
            level = (large or levels[:1])[-1]
            check_whole(path, level.shape, level.dtype)
            check_packed(path, level.pages)
            array = _first_plane(np.squeeze(level.asarray()))
            return None if array.ndim < 2 else _upright(array, tiff)
    except ImageError:
        raise
    except Exception:  # as in `_read_tiff`
        return None


def _first_plane(array: AnyArray) -> AnyArray:
    """Return gray or RGB samples, shape (height, width) or (height, width, 3)."""
    array = _channels_last(array)
    while array.ndim > 3 or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        array = array[0]
    return array[..., :3] if array.ndim == 3 else array


def _eight_bits(array: AnyArray) -> npt.NDArray[np.uint8]:
    """Return samples from 0 to 255; of more than eight bits, all but the extremes are spread."""
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    samples = np.asarray(array, np.float32)
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(samples, (0.5, 99.5))
    spread = (samples - low) / (high - low if high > low else 1)
    return np.asarray(np.clip(spread, 0, 1) * 255, np.uint8)


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
    """Open an image with all its planes and sizes; to be closed, as by ``with``.

    Parameters
    ----------
    path : path-like
        As for `open_levels`.

    Raises
    ------
    ImageError
        As `open_levels`.
    """
    path = Path(path)
    if os.path.isdir(path):
        if is_zarr(path):
            return open_zarr(path)
        raise ImageError(f"{path}: is a folder, and no zarr image")
    start = _start(path)
    if start.startswith(_NPY):
        return _open_npy(path)
    image = open_tiff(path) if is_tiff(start) else None
    return StoredImage.of(read_image(path), path) if image is None else image


def _start(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a plain file, which say what it is, whatever its name."""
    check_image_file(path)
    try:
        with open(path, "rb") as file:
            return file.read(8)
    except OSError as error:
        raise ImageError(
            f"{os.fsdecode(path)}: cannot be read ({error.strerror or error})"
        ) from error


def _open_npy(path: Path) -> StoredImage:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise ImageError(f"{path}: cannot be read as an array ({reason(error)})") from error
    return StoredImage(path, [array], guess_axes(array.shape, path))
