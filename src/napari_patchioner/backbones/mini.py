"""The backbone of the embedded models: several sizes of one picture on one grid."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform

from ._efficientnet import EfficientNetLite
from ._picture import as_rgb
from ._pyramid import dense
from ._resample import resample
from ._threads import spare_core
from .appearance import appearance_axes
from .gate import photograph_probability

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Progress = Callable[[float, str], None]

SIZES = (640, 896)
"""Long sides, in pixels, at which the network looks at a picture."""

GATE_SIZE = 640
"""The size whose features tell a photograph from other pictures."""

GRID_SIDE = 40
"""Patches along the long side of the common grid."""


class MiniBackbone:
    """EfficientNet-Lite2 at several sizes, and measured appearance, on one grid.

    Every patch embedding is ``[deep features of each size | middle features of each size |
    appearance axes]``; all are interpolated to the common grid, so that one weighted mean over
    patches pools them together.

    Parameters
    ----------
    weights : Path
        The folded float16 weights, a safetensors file.

    Raises
    ------
    ModelError
        The file is missing, damaged or belongs to another network.
    """

    name = "efficientnet-lite2"
    patch_size = 16
    input_size = 640

    def __init__(self, weights: Path) -> None:
        self._network = _load(weights)
        channels = self._network.channels + self._network.middle_channels
        self.dim = len(SIZES) * channels + len(AXES)

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            Gray, RGB or RGBA.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.

        Returns
        -------
        FeatureGrid
            ``measures`` has ``"photograph"``, how likely the image is one.

        Raises
        ------
        ImageError
            The array is not a picture.
        """
        tell = progress or _silent
        tell(0.0, "reading the image")
        pixels = as_rgb(image)
        shape = grid_shape(pixels.shape[0], pixels.shape[1])
        deep_parts, middle_parts, means, done = [], [], {}, 0
        for size in SIZES:
            tell(done / _WORK, f"looking at {size} pixels")
            with spare_core():
                deep, middle = dense(self._network, pixels, size)
            means[size] = deep.mean((0, 1))
            deep_parts.append(resample(deep, shape))
            middle_parts.append(resample(middle, shape))
            done += size**2
        tell(done / _WORK, "measuring colours and textures")
        axes = appearance_axes(pixels, shape)
        photograph = photograph_probability(means[GATE_SIZE], axes)
        tell(1.0, "done")
        return FeatureGrid(
            embeddings=np.concatenate([*deep_parts, *middle_parts, axes], axis=2),
            transform=GridTransform((pixels.shape[0], pixels.shape[1]), shape),
            key=f"{self.name}-{hashlib.sha256(pixels.tobytes()).hexdigest()[:16]}",
            measures={"photograph": float(photograph)},
        )


# Progress counts pixels seen; measuring takes about as long as the middle size.
_WORK = float(sum(size**2 for size in SIZES) + GATE_SIZE**2)


def grid_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the common grid of an image of this many pixels."""
    scale = GRID_SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _silent(_fraction: float, _message: str) -> None:
    """Nobody wants to know."""


def _load(path: Path) -> EfficientNetLite:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = EfficientNetLite()
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{path} is missing or damaged; reinstall napari-patchioner to restore it."
        ) from error
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
