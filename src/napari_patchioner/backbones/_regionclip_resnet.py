"""CLIP's residual network with local attention pooling: a text-aligned vector at every place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

_STAGES = 4
_EXPANSION = 4
_HEAD_WIDTH = 64

STRIDE = 32
"""Pixels of the picture along one side of a place."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """What attention pooling leaves.

    Attributes
    ----------
    whole : Tensor, shape (n, dim)
        Queried by the mean of all places, as CLIP does.
    local : Tensor, shape (n, rows * columns, dim)
        Queried by every place itself.
    qkv : Tensor, shape (n, 1 + rows * columns, 3 * channels)
        Queries, keys and values, the mean first.
    """

    whole: Tensor
    local: Tensor
    qkv: Tensor


class ModifiedResNet(nn.Module):
    """CLIP's ResNet (Radford et al. 2021, section 2.4).

    Three convolutions instead of one before the first stage, an average pool before every
    convolution that would skip pixels, and attention pooling at the end.

    Parameters
    ----------
    blocks : sequence of int
        Bottlenecks in each of the four stages.
    width : int
        Channels after the first convolutions.
    dim : int
        Length of a pooled vector.
    side : int
        Places along one side of the square that the positions were made for.
    """

    def __init__(self, blocks: list[int], width: int, dim: int, side: int) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = _Norm(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = _Norm(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = _Norm(width)
        channels = width
        for stage, repeats in enumerate(blocks):
            planes = width * 2**stage
            steps = [1 if stage == 0 else 2] + [1] * (repeats - 1)
            layer = nn.Sequential()
            for step in steps:
                layer.append(_Bottleneck(channels, planes, step))
                channels = planes * _EXPANSION
            self.add_module(f"layer{stage + 1}", layer)
        self.attnpool = AttentionPool(channels, dim, side)

    def forward(self, pixels: Tensor) -> Pooled:
        """Look at pictures, shape (n, 3, rows * 32, columns * 32), normalised."""
        pooled: Pooled = self.attnpool(self.places(pixels))
        return pooled

    @property
    def bottlenecks(self) -> list[nn.Module]:
        """The blocks of all stages, first to last."""
        stages = (self.get_submodule(f"layer{stage}") for stage in range(1, _STAGES + 1))
        return [block for stage in stages for block in stage.children()]

    def places(self, pixels: Tensor) -> Tensor:
        """Return the last stage's features, shape (n, channels, rows, columns)."""
        features = functional.relu(self.bn1(self.conv1(pixels)))
        features = functional.relu(self.bn2(self.conv2(features)))
        features = functional.relu(self.bn3(self.conv3(features)))
        features = functional.avg_pool2d(features, 2)
        for stage in range(1, _STAGES + 1):
            features = self.get_submodule(f"layer{stage}")(features)
        return features


class AttentionPool(nn.Module):
    """Attention of one or all places over all of them.

    Parameters
    ----------
    channels : int
        Of a place, before.
    dim : int
        Of a vector, after.
    side : int
        Places along one side of the square that the positions were made for.
    """

    def __init__(self, channels: int, dim: int, side: int) -> None:
        super().__init__()
        self._side = side
        self.heads = max(1, channels // _HEAD_WIDTH)
        self.positional_embedding = nn.Parameter(torch.empty(side**2 + 1, channels))
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, dim)

    def forward(self, features: Tensor) -> Pooled:
        """Pool features of shape (n, channels, rows, columns)."""
        places = features.flatten(2).transpose(1, 2)
        tokens = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)
        tokens = tokens + self._positions(features.shape[2], features.shape[3])
        parts = [self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens)]
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        pooled = self.c_proj(mixed.transpose(1, 2).flatten(2))
        return Pooled(pooled[:, 0], pooled[:, 1:], torch.cat(parts, dim=2))

    def _positions(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == (self._side, self._side):
            return self.positional_embedding
        first, grid = self.positional_embedding[:1], self.positional_embedding[1:]
        plane = grid.T.reshape(1, -1, self._side, self._side)
        plane = functional.interpolate(plane, (rows, columns), mode="bilinear")
        return torch.cat([first, plane[0].flatten(1).T])


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, planes: int, step: int) -> None:
        super().__init__()
        outputs = planes * _EXPANSION
        self._step = step
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = _Norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = _Norm(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = _Norm(outputs)
        self.downsample: nn.Sequential | None = None
        if step > 1 or channels != outputs:
            convolution = nn.Conv2d(channels, outputs, 1, bias=False)
            self.downsample = nn.Sequential(convolution, _Norm(outputs))

    def forward(self, features: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(features)))
        hidden = self._smaller(functional.relu(self.bn2(self.conv2(hidden))))
        hidden = self.bn3(self.conv3(hidden))
        if self.downsample is not None:
            features = self.downsample(self._smaller(features))
        return functional.relu(hidden + features)

    def _smaller(self, features: Tensor) -> Tensor:
        return functional.avg_pool2d(features, self._step) if self._step > 1 else features


class _Norm(nn.Module):
    """Batch normalisation with fixed statistics."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.empty(channels))

    def forward(self, features: Tensor) -> Tensor:
        return functional.batch_norm(
            features, self.running_mean, self.running_var, self.weight, self.bias
        )


def read_resnet(state: Mapping[str, Tensor], *, source: object) -> ModifiedResNet:
    """Build a residual network from its weights, its sizes read off their shapes.

    Parameters
    ----------
    state : mapping of str to Tensor
        By OpenAI's names without ``visual.``.
    source : path
        Where the weights came from, for messages.

    Raises
    ------
    ModelError
        Weights are missing, left over or of another shape.
    """

    def shape(name: str) -> torch.Size:
        if name not in state:
            raise ModelError(
                f"{source} holds no {name} of CLIP's residual network; choose the matching file."
            )
        return state[name].shape

    blocks = [_count(state, f"layer{stage + 1}") for stage in range(_STAGES)]
    with torch.device("meta"):
        network = ModifiedResNet(
            blocks,
            width=shape("conv3.weight")[0],
            dim=shape("attnpool.c_proj.weight")[0],
            side=math.isqrt(shape("attnpool.positional_embedding")[0] - 1),
        )
    return fit(network, state, source=source, ignore=("*.num_batches_tracked",))


def _count(state: Mapping[str, Tensor], layer: str) -> int:
    found = [re.match(rf"{layer}\.(\d+)\.", name) for name in state]
    return max((1 + int(block[1]) for block in found if block), default=1)
