"""The backbone of the embedded models: deep and middle features of a picture on one grid."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.checkpoints import file_sha256
from napari_patchioner.devices import CPU, Placement, to_numpy
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import GridTransform

from .appearance import appearance_axes
from .base import Backbone, Features
from .efficientnet import STRIDE, EfficientNetLite
from .gate import load_gate, photograph_probability

if TYPE_CHECKING:
    from pathlib import Path

    from napari_patchioner.progress import Progress

SIZE = 640
"""Long side, in pixels, at which the network reads a picture."""

GRID_SIDE = 40
"""Patches along the long side of the common grid."""

# EfficientNet-Lite was trained on (pixel - 127) / 128, unlike its larger siblings.
_MEAN, _DEVIATION = 127.0, 128.0


class MiniBackbone(Backbone):
    """EfficientNet-Lite2 and measured appearance on one grid.

    Every patch embedding is ``[deep features | middle features | appearance axes]``; all are
    interpolated to the common grid, so that one weighted mean over patches pools them together.
    ``measures`` of a grid has ``"photograph"``, how likely the image is one.

    ``weights`` are the folded float16 weights, ``gate`` what separates photographs from other
    pictures, both safetensors files; raises ``ModelError`` where one is missing or damaged.
    """

    patch_size = 16
    input_size = SIZE

    def __init__(self, weights: Path, gate: Path) -> None:
        self._network = _load(weights)
        self.networks = [self._network]
        self._gate = load_gate(gate)
        channels = self._network.channels + self._network.middle_channels
        self.dim = channels + len(AXES)
        made_of = "".join(map(file_sha256, (weights, gate)))
        fingerprint = sha256(made_of.encode()).hexdigest()[:8]
        self.name = f"efficientnet-lite2-{fingerprint}/{SIZE}/{GRID_SIDE}"

    def encode_rgb(
        self, rgb: npt.NDArray[np.uint8], progress: Progress
    ) -> tuple[Features, GridTransform]:
        """Read a picture at its working size and measure its appearance."""
        shape = grid_shape(rgb.shape[0], rgb.shape[1])
        progress(0.1, f"encoding {SIZE} pixels")
        deep, middle = dense(self._network, rgb, SIZE, self.placement)
        progress(0.6, "measuring colours and textures")
        axes = appearance_axes(rgb, shape)
        photograph = photograph_probability(deep.mean((0, 1)), axes, self._gate)
        patches = np.concatenate([resample(deep, shape), resample(middle, shape), axes], axis=2)
        features = Features(patches, measures={"photograph": float(photograph)})
        return features, GridTransform((rgb.shape[0], rgb.shape[1]), shape)


def grid_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the common grid of an image of this many pixels."""
    scale = GRID_SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def dense(
    network: EfficientNetLite,
    image: npt.NDArray[np.uint8],
    long_side: int,
    placement: Placement = CPU,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Deep and middle features of an image, shape (height, width, 3), at one size.

    It is resized so that its long side has about so many pixels and both sides are multiples of the
    stride. Returns arrays of shape (rows, columns, 1280), stride 32, and (2 * rows, 2 * columns,
    middle_channels), stride 16.
    """
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    rows, columns = (max(1, round(side * scale / STRIDE)) for side in (height, width))
    size = (columns * STRIDE, rows * STRIDE)
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(resized.astype(np.float32))
    batch = ((pixels - _MEAN) / _DEVIATION).permute(2, 0, 1)[None]
    batch = placement.put(batch.contiguous(memory_format=torch.channels_last))
    with torch.inference_mode():
        deep, middle = (to_numpy(part[0].permute(1, 2, 0)) for part in network(batch))
    return deep, middle


def resample(features: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Interpolate a grid of vectors, shape (rows, columns, dim), linearly to another shape."""
    across = interpolation(features.shape[1], shape[1]) @ features
    down = interpolation(features.shape[0], shape[0]) @ across.reshape(len(features), -1)
    return down.reshape(*shape, features.shape[2])


def interpolation(cells: int, wanted: int) -> npt.NDArray[np.float32]:
    """Matrix, shape (wanted, cells), that interpolates between cell centres.

    >>> interpolation(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = np.clip((np.arange(wanted) + 0.5) * cells / wanted - 0.5, 0, cells - 1)
    lower = np.floor(centres).astype(int)
    upper = np.minimum(lower + 1, cells - 1)
    share = (centres - lower).astype(np.float32)
    matrix = np.zeros((wanted, cells), np.float32)
    matrix[np.arange(wanted), lower] += 1 - share
    matrix[np.arange(wanted), upper] += share
    return matrix


def _load(path: Path) -> EfficientNetLite:
    """Read the network, or say that its file is no good."""
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
