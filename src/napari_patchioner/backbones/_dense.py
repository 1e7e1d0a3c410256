"""One picture at one working size, ready for the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from ._efficientnet import STRIDE

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._efficientnet import EfficientNetLite

# EfficientNet-Lite was trained on (pixel - 127) / 128, unlike its larger siblings.
_MEAN, _DEVIATION = 127.0, 128.0


def resize(image: npt.NDArray[np.uint8], long_side: int) -> npt.NDArray[np.uint8]:
    """Resize so that the long side is about ``long_side`` and both are multiples of the stride.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width, 3)
    long_side : int
        Pixels, a multiple of 32.

    Returns
    -------
    ndarray of uint8, shape (32 * rows, 32 * columns, 3)
    """
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    rows, columns = (max(1, round(side * scale / STRIDE)) for side in (height, width))
    picture = Image.fromarray(image).resize(
        (columns * STRIDE, rows * STRIDE), Image.Resampling.BICUBIC
    )
    return np.asarray(picture)


def dense(
    network: EfficientNetLite, image: npt.NDArray[np.uint8], long_side: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Deep and middle features of an image at one size.

    Parameters
    ----------
    network : EfficientNetLite
        In channels-last memory format for speed.
    image : ndarray of uint8, shape (height, width, 3)
    long_side : int
        Pixels, a multiple of 32.

    Returns
    -------
    deep : ndarray of float32, shape (rows, columns, 1280)
        Stride 32.
    middle : ndarray of float32, shape (2 * rows, 2 * columns, middle_channels)
        Stride 16.
    """
    pixels = torch.from_numpy(resize(image, long_side).astype(np.float32))
    batch = ((pixels - _MEAN) / _DEVIATION).permute(2, 0, 1)[None]
    with torch.inference_mode():
        deep, middle = network(batch.contiguous(memory_format=torch.channels_last))
    return deep[0].permute(1, 2, 0).numpy(), middle[0].permute(1, 2, 0).numpy()
