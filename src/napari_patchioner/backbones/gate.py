"""Whether an image is an everyday photograph at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from napari_patchioner.bridges.appearance import INDEX
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Parameters = Mapping[str, npt.NDArray[np.float32]]

_LIMIT = 30.0
_FARTHEST = 6.0
_SUREST = 8.0
# Colour and texture come first among the axes; spots and lines would be too easy to paint.
_TEXTURE_AXES = INDEX["dark_spot_count"]


def photograph_probability(
    features_mean: npt.NDArray[np.float32],
    axes_grid: npt.NDArray[np.float32],
    parameters: Parameters,
) -> float:
    """How likely an image is an everyday photograph, from 0 to 1; below 0.5 it is not one.

    Two scores add up: a linear classifier that has seen painted microscopy, drawings and noise,
    and the distance from the photographs the model knows, which also counts against pictures
    nobody thought of.

    ``features_mean``, shape (1280,), is the mean over the grid of the EfficientNet-Lite2 head
    features (long side 640, stride 32); ``axes_grid``, shape (rows, columns, len(AXES)), are the
    appearance axes of the same image, 40 patches along its long side.
    """
    log_odds = score(summary(features_mean, axes_grid), parameters)
    return float(1 / (1 + np.exp(-np.clip(log_odds, -_LIMIT, _LIMIT))))


def summary(
    features_mean: npt.NDArray[np.float32], axes_grid: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Join what the gate reads: deep features, mean and spread of the axes, (1280 + 2 t,)."""
    axes = axes_grid.reshape(-1, axes_grid.shape[-1])[:, :_TEXTURE_AXES]
    return np.concatenate([features_mean, axes.mean(0), axes.std(0)]).astype(np.float32)


def score(vector: npt.NDArray[np.float32], parameters: Parameters) -> float:
    """Add both scores of a `summary`, shape (d,); positive for photographs.

    The parameters are ``centre (d,)``, ``spread (d,)``, ``weight (d,)``, ``bias (1,)``,
    ``basis (d, r)``, ``scale (r + 1,)`` and ``distance (2,)`` (a usual distance, and the cost
    beyond it).
    """
    z = (vector - parameters["centre"]) / parameters["spread"]
    z = np.asarray(np.clip(z, -_FARTHEST, _FARTHEST), np.float32)
    usual, cost = parameters["distance"]
    # However sure the classifier is, it cannot vouch for what lies far from all photographs.
    linear = min(_SUREST, float(z @ parameters["weight"] + parameters["bias"][0]))
    return linear - float(cost * max(0.0, distance(z, parameters) - usual))


def distance(z: npt.NDArray[np.float32], parameters: Parameters) -> float:
    """Measure the regularised Mahalanobis distance of a summary from the photographs."""
    basis, scale = parameters["basis"].astype(np.float32), parameters["scale"]
    inside = z @ basis
    rest = np.sum(z**2) - np.sum(inside**2)
    return float(np.sqrt((np.sum((inside / scale[:-1]) ** 2) + rest / scale[-1] ** 2) / len(z)))


def load_gate(path: Path) -> Parameters:
    """Read the gate from a safetensors file; raises ``ModelError`` where it is damaged."""
    message = f"{path} is missing or damaged; reinstall napari-patchioner to restore it."
    try:
        parameters = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(message) from error
    basis = parameters.get("basis", np.zeros(0))
    if basis.ndim != 2:
        raise ModelError(message)
    dim, rank = basis.shape
    shapes = {
        **dict.fromkeys(("centre", "spread", "weight"), (dim,)),
        "bias": (1,),
        "basis": (dim, rank),
        "scale": (rank + 1,),
        "distance": (2,),
    }
    if {name: part.shape for name, part in parameters.items()} != shapes or not all(
        np.isfinite(part).all() for part in parameters.values()
    ):
        raise ModelError(message)
    return parameters
