"""From a path to an image that is read only where it is looked at."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import ImageError
from napari_patchioner.images import check_image_file, is_tiff, read_image

from ._guess import guess_axes
from ._stored import StoredImage, brief
from ._tiff import open_tiff
from ._zarr import is_zarr, open_zarr

if TYPE_CHECKING:
    from ._levels import Levels

_NPY = b"\x93NUMPY"


def open_levels(path: str | os.PathLike[str], plane: str = "") -> Levels:
    """Open an image in all its sizes, of which only what is looked at is read.

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
    opened = open_tiff(path) if is_tiff(start) else None
    return StoredImage.of(read_image(path), path) if opened is None else opened


def _start(path: Path) -> bytes:
    check_image_file(path)
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open_npy(path: Path) -> StoredImage:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        raise ImageError(f"{path}: cannot be read as an array ({brief(error)})") from error
    return StoredImage(path, [array], guess_axes(array.shape, path))
