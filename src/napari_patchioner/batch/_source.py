"""An image of a run: read whole if it is small, else opened when it is its turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.images import StoredImage, open_image, read_image
from napari_patchioner.pyramid import BIG

if TYPE_CHECKING:
    from pathlib import Path

AnyArray: TypeAlias = npt.NDArray[Any]
Source: TypeAlias = AnyArray | StoredImage | None
"""Pixels; an image that had to be read whole; or None for one that is read in parts."""

_TIFF = (".tif", ".tiff")


def read_source(path: Path, big: int = BIG) -> Source:
    """Read an image as far as that is done ahead of its turn; no file stays open.

    Parameters
    ----------
    path : Path
        A file that `read_image` or `open_image` reads.
    big : int
        Long side, in pixels, up to which an image is read whole.

    Raises
    ------
    ImageError
        As `open_image`.
    """
    with open_image(path) as image:
        if max(image.shape) > big or not image.is_flat:
            return image if image.is_in_memory else None
        if image.is_in_memory or path.suffix.lower() not in _TIFF:
            return np.asarray(image.levels().given[0].data[:, :])
    return read_image(path)


def opened(source: Source, path: Path) -> StoredImage:
    """Return an image to be read in parts, open."""
    if source is None:
        return open_image(path)
    if isinstance(source, StoredImage):
        return source
    return StoredImage.of(source, path)
