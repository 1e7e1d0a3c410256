"""What is black and what is white in an image too large to look through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.images import is_composite, own_limits

if TYPE_CHECKING:
    import numpy.typing as npt

# Up to this side all of an image is looked at; else samples, in rows and columns of so many.
_SMALL = 2048
_SAMPLES = 8
_SAMPLE_SIDE = 128


def brightness_range(data: Any) -> Any:
    """Return the values to show as black and as white, the same for every part of an image.

    Parameters
    ----------
    data : array_like, shape (height, width) or (height, width, channels)
        The image, or a smaller copy of it. Of a large one only samples are read, evenly spread.

    Returns
    -------
    (low, high), a list of them or None
        One pair for each of several channels; None where values are shown as they are: bytes and
        booleans.
    """
    dtype = np.dtype(data.dtype)
    if dtype == np.uint8 or dtype.kind not in "uif":
        return None
    values = [_colours(sample) for sample in _samples(data)]
    if not is_composite(values[0].shape[2]):
        return _limits(values)
    return [_limits([part[..., [number]] for part in values]) for number in range(data.shape[2])]


def _limits(values: list[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the limits of values that were found in several places."""
    numbers = [part[np.isfinite(part)] for part in values]
    found = [part for part in numbers if part.size]
    if not found:
        return 0.0, 1.0
    edges = np.full((1, 2, values[0].shape[2]), min(part.min() for part in found), values[0].dtype)
    edges[:, 1] = max(part.max() for part in found)
    return own_limits(edges)


def _samples(data: Any) -> list[npt.NDArray[Any]]:
    """All of a small image, or squares of a large one."""
    if max(data.shape[:2]) <= _SMALL:
        return [np.asarray(data[:, :])]
    down, across = (_starts(int(side)) for side in data.shape[:2])
    side = _SAMPLE_SIDE
    return [
        np.asarray(data[row : row + side, column : column + side])
        for row in down
        for column in across
    ]


def _starts(side: int) -> list[int]:
    return sorted(set(np.linspace(0, max(0, side - _SAMPLE_SIDE), _SAMPLES).astype(int).tolist()))


def _colours(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values that say how bright it is, shape (height, width, 1 or 3)."""
    colours = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    return colours[..., :3] if colours.shape[2] == 4 else colours
