"""The backbone of the embedded models: deep and middle features of a picture on one grid."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.checkpoints import file_sha256
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform, grid_key
from napari_patchioner.images import as_rgb

from ._dense import dense
from ._efficientnet import EfficientNetLite
from ._progress import silent
from ._resample import resample
from ._threads import spare_core
from .appearance import appearance_axes
from .gate import load_gate, photograph_probability

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from ._progress import Progress

SIZE = 640
"""Long side, in pixels, at which the network looks at a picture."""

GRID_SIDE = 40
"""Patches along the long side of the common grid."""


class MiniBackbone:
    """EfficientNet-Lite2 and measured appearance on one grid.

    Every patch embedding is ``[deep features | middle features | appearance axes]``; all are
    interpolated to the common grid, so that one weighted mean over patches pools them together.

    Parameters
    ----------
    weights : Path
        The folded float16 weights, a safetensors file.
    gate : Path
        What tells photographs from other pictures, a safetensors file.

    Raises
    ------
    ModelError
        A file is missing, damaged or belongs to another network.
    """

    patch_size = 16
    input_size = SIZE

    def __init__(self, weights: Path, gate: Path) -> None:
        self._network = _load(weights)
        self._gate = load_gate(gate)
        channels = self._network.channels + self._network.middle_channels
        self.dim = channels + len(AXES)
        made_of = "".join(map(file_sha256, (weights, gate)))
        fingerprint = sha256(made_of.encode()).hexdigest()[:8]
        self.name = f"efficientnet-lite2-{fingerprint}/{SIZE}/{GRID_SIDE}"

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
        tell = progress or silent
        tell(0.0, "reading the image")
        pixels = as_rgb(image)
        shape = grid_shape(pixels.shape[0], pixels.shape[1])
        tell(0.1, f"looking at {SIZE} pixels")
        with spare_core():
            deep, middle = dense(self._network, pixels, SIZE)
        tell(0.6, "measuring colours and textures")
        axes = appearance_axes(pixels, shape)
        photograph = photograph_probability(deep.mean((0, 1)), axes, self._gate)
        tell(1.0, "done")
        return FeatureGrid(
            embeddings=np.concatenate(
                [resample(deep, shape), resample(middle, shape), axes], axis=2
            ),
            transform=GridTransform((pixels.shape[0], pixels.shape[1]), shape),
            key=grid_key(pixels, self.name),
            measures={"photograph": float(photograph)},
            backbone=self.name,
        )


def grid_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the common grid of an image of this many pixels."""
    scale = GRID_SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


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
    if not all(bool(parameter.isfinite().all()) for parameter in network.parameters()):
        raise ModelError(f"{path} is damaged; reinstall napari-patchioner to restore it.")
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
