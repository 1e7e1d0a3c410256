"""Label images from files: one whole number per pixel, never a colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

LABEL_SUFFIXES = (".png", ".tif", ".tiff")


def read_labels(path: Path) -> npt.NDArray[Any]:
    """Read a label image.

    Parameters
    ----------
    path : Path
        A PNG or TIFF with one sample per pixel; of a palette the numbers count, not the colours.

    Returns
    -------
    ndarray of int or bool, shape (height, width)

    Raises
    ------
    ImageError
        If it cannot be read, or holds colours or fractions.
    """
    try:
        labels = _read_tiff(path) if path.suffix.lower() != ".png" else _read_png(path)
    except Exception as error:  # decoders raise anything on damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ImageError(f"{path}: cannot be read as a label image ({reason})") from error
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise ImageError(
            f"{path}: a label image holds one whole number per pixel, but this one has the shape "
            f"{labels.shape} of {labels.dtype}; save the labels and not their colours"
        )
    return labels


def _read_png(path: Path) -> npt.NDArray[Any]:
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image)


def _read_tiff(path: Path) -> npt.NDArray[Any]:
    import tifffile

    return np.squeeze(np.asarray(tifffile.imread(path)))
