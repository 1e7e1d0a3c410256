"""Whether an image is an everyday photograph at all."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Parameters = Mapping[str, npt.NDArray[np.float32]]

_LIMIT = 30.0


def photograph_probability(
    features_mean: npt.NDArray[np.float32], axes_grid: npt.NDArray[np.float32]
) -> float:
    """How likely an image is an everyday photograph, from 0 to 1; below 0.5 it is not one.

    Two judges must both agree: a linear classifier that has seen painted microscopy, drawings
    and noise, and the distance to the photographs the model knows, which also turns away
    pictures nobody thought of. The lower of their probabilities counts.

    Parameters
    ----------
    features_mean : ndarray, shape (1280,)
        Mean over the grid of the EfficientNet-Lite2 head features (long side 640, stride 32).
    axes_grid : ndarray, shape (rows, columns, len(AXES))
        Appearance axes of the same image, 40 patches along its long side.

    Returns
    -------
    float
        Probability that the image is like the photographs the model was made for.

    Raises
    ------
    ModelError
        The gate's file is missing or damaged.
    """
    return judge(summary(features_mean, axes_grid), _parameters())


def summary(
    features_mean: npt.NDArray[np.float32], axes_grid: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """What the gate reads: deep features, mean and spread of the axes, shape (1280 + 2 K,)."""
    axes = axes_grid.reshape(-1, axes_grid.shape[-1])
    return np.concatenate([features_mean, axes.mean(0), axes.std(0)]).astype(np.float32)


def judge(vector: npt.NDArray[np.float32], parameters: Parameters) -> float:
    """The lower of two probabilities: by the linear classifier, and by the distance.

    Parameters
    ----------
    vector : ndarray, shape (d,)
        From `summary`.
    parameters : mapping of str to ndarray
        ``centre (d,)``, ``spread (d,)``, ``weight (d,)``, ``bias (1,)``, ``basis (d, r)``,
        ``scale (r,)``, ``distance (2,)`` (the distance judged one half, and its slope).
    """
    z = np.clip((vector - parameters["centre"]) / parameters["spread"], -6, 6)
    linear = float(z @ parameters["weight"] + parameters["bias"][0])
    middle, slope = parameters["distance"]
    far = float(slope * (middle - distance(z, parameters)))
    return float(1 / (1 + np.exp(-np.clip(min(linear, far), -_LIMIT, _LIMIT))))


def distance(z: npt.NDArray[np.float32], parameters: Parameters) -> float:
    """Regularised Mahalanobis distance of a standardised summary from the photographs."""
    basis, scale = parameters["basis"].astype(np.float32), parameters["scale"]
    inside = z @ basis
    rest = np.sum(z**2) - np.sum(inside**2)
    return float(np.sqrt((np.sum((inside / scale[:-1]) ** 2) + rest / scale[-1] ** 2) / len(z)))


@cache
def _parameters() -> Parameters:
    resource = files("napari_patchioner") / "models" / "embedded" / "gate.safetensors"
    try:
        with as_file(resource) as path:
            return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            "the photograph gate is missing or damaged; reinstall napari-patchioner."
        ) from error
