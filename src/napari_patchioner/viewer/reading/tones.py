"""Values of pixels as the display turns them into 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def grey(
    pixels: npt.NDArray[Any], contrast: Sequence[float], gamma: float
) -> npt.NDArray[np.uint8]:
    """Apply the display's contrast limits and gamma."""
    low, high = contrast
    shown = (pixels.astype(np.float32) - low) / max(high - low, np.finfo(np.float32).tiny)
    shown = np.clip(shown, 0, 1)
    return np.round(255 * (shown if gamma == 1 else shown**gamma)).astype(np.uint8)


def colours(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Bring colours to 8 bits as napari does: full range for integers, 0 to 1 for floats."""
    if pixels.dtype == np.uint8:
        return pixels
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "iu" else 1.0
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * 255
    return np.round(255 * np.clip(pixels.astype(np.float32) / top, 0, 1)).astype(np.uint8)
