"""Label images from files: one whole number per pixel, never a colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import ImageError
from napari_patchioner.images import read_samples

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
    labels = read_samples(path)
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise ImageError(
            f"{path}: a label image holds one whole number per pixel, but this one has the shape "
            f"{labels.shape} of {labels.dtype}; save the labels and not their colours"
        )
    return labels
