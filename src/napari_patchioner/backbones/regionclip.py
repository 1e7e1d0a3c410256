"""RegionCLIP (Zhong et al. 2022): a CLIP ResNet pretrained on regions and their words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_state, tensors_sha256, unfilled
from napari_patchioner.devices import to_numpy
from napari_patchioner.errors import ModelError

from . import base
from .base import Features, LazyText, Preprocessing
from .clip_towers import below, text_of_state

STRIDE = 32
"""Pixels of the picture along one side of a cell."""

_SIZE = 512
_STAGES = ("layer1", "layer2", "layer3", "layer4")
_EXPANSION = 4
_HEAD_WIDTH = 64
_TEXT = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")


class RegionClip(base.TextBackbone):
    """A ResNet whose attention pooling is queried by every cell instead of once.

    RegionCLIP trained it on regions cut out of the last features; the published Patch-ioner
    lets every cell of the whole picture query CLIP's attention pool instead, and normalises
    each vector to unit length, as is done here. ``cls`` is the pool's own answer, with the mean of
    all cells as the query; ``attention`` is that query's.

    At its default size the picture is squashed to 512 x 512 pixels: 16 x 16 cells of 32 pixels,
    1024 numbers each. The 7 x 7 positions are resampled (bilinear; how the published Patch-ioner
    does it is not known). RegionCLIP's code and weights are under Apache-2.0, CLIP's under MIT.

    ``normalize`` gives every cell and ``cls`` unit length.

    ``files["weights"]`` is RegionCLIP's pretraining checkpoint, with the visual tower under
    ``backbone.`` and the text tower under ``lang_encoder.`` (its teacher and its region
    proposals are left out), or OpenAI's CLIP RN50, with ``visual.`` and bare names;
    ``files["merges"]``, to embed text, CLIP's word pieces.
    """

    patch_size = STRIDE

    def __init__(
        self,
        network: ModifiedResNet,
        text: LazyText | None = None,
        *,
        size: int = _SIZE,
        layout: base.Layout = "square",
        normalize: bool = True,
    ) -> None:
        self.network, self._normalize = network, normalize
        self.networks, self.blocks = [network], network.bottlenecks
        self.dim, self.input_size = network.dim, size
        self.preprocessing = Preprocessing(size, STRIDE, layout, base.CLIP)
        projection = {"c_proj.weight": network.attnpool.c_proj.weight}
        ending = "" if normalize else "/raw"
        self.name = f"regionclip/{tensors_sha256(projection)[:8]}/{size}/{layout}{ending}"
        self.set_text(text)

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open the visual tower now, the text tower when it is needed."""
        path, merges = files["weights"], files.get("merges")
        state = read_state(path)
        layouts = [("backbone.", "lang_encoder."), ("visual.", "")]
        pools = [f"{visual}attnpool." for visual, _ in layouts]
        held = [any(name.startswith(pool) for name in state) for pool in pools]
        if not any(held):
            raise ModelError(
                f"{path} holds no attention pool ({'* or '.join(pools)}*); choose RegionCLIP's "
                f"pretraining checkpoint."
            )
        visual, text = layouts[held.index(True)]
        network = read_resnet(below(state, visual), source=path)
        words = below(state, text)
        words = {name: value for name, value in words.items() if name.startswith(_TEXT)}
        return network, text_of_state(words, merges, source=path) if merges else None

    def forward(self, pixels: Tensor) -> Features:
        """Every cell's own query of the attention pool."""
        pooled: Pooled = self.network(pixels)
        local, whole = pooled.local[0], pooled.whole[0]
        if self._normalize:
            local, whole = (functional.normalize(part, dim=-1) for part in (local, whole))
        attention = base.class_attention(to_numpy(pooled.qkv[0]), self.network.attnpool.heads, 1)
        return Features(local, attention, cls=whole)


class Pooled(NamedTuple):
    """What attention pooling makes of a picture.

    ``whole``, (n, dim), is queried by the mean of all cells, as CLIP does; ``local``, (n, rows *
    columns, dim), by every cell itself; ``qkv``, (n, 1 + rows * columns, 3 * channels), are
    queries, keys and values, the mean first.
    """

    whole: Tensor
    local: Tensor
    qkv: Tensor


class ModifiedResNet(nn.Module):
    """CLIP's ResNet (Radford et al. 2021, section 2.4).

    Three convolutions instead of one before the first stage, an average pool before every
    convolution that would skip pixels, and attention pooling at the end.

    ``blocks`` are the bottlenecks in each of the four stages, ``width`` the channels after the
    first convolutions, ``dim`` the length of a pooled vector and ``side`` the cells along one side
    of the square that the positions were made for.
    """

    def __init__(self, blocks: list[int], width: int, dim: int, side: int) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        channels, planes = width, width
        self.bottlenecks: list[nn.Module] = []
        for stage, repeats in zip(_STAGES, blocks, strict=True):
            steps = [1 if stage == _STAGES[0] else 2] + [1] * (repeats - 1)
            layer = nn.Sequential()
            for step in steps:
                layer.append(_Bottleneck(channels, planes, step))
                channels = planes * _EXPANSION
            self.add_module(stage, layer)
            self.bottlenecks += layer
            planes *= 2
        self.attnpool = AttentionPool(channels, dim, side)

    def forward(self, pixels: Tensor) -> Pooled:
        """Encode normalised pictures, shape (n, 3, rows * 32, columns * 32)."""
        pooled: Pooled = self.attnpool(self.cells(pixels))
        return pooled

    def cells(self, pixels: Tensor) -> Tensor:
        """Return the last stage's features, shape (n, channels, rows, columns)."""
        features = functional.relu(self.bn1(self.conv1(pixels)))
        features = functional.relu(self.bn2(self.conv2(features)))
        features = functional.relu(self.bn3(self.conv3(features)))
        features = functional.avg_pool2d(features, 2)
        for block in self.bottlenecks:
            features = block(features)
        return features


class AttentionPool(nn.Module):
    """Attention of one or all cells over all of them, from ``channels`` to ``dim`` numbers."""

    def __init__(self, channels: int, dim: int, side: int) -> None:
        super().__init__()
        self.heads = max(1, channels // _HEAD_WIDTH)
        self.positional_embedding = nn.Parameter(torch.empty(side**2 + 1, channels))
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, dim)

    def forward(self, features: Tensor) -> Pooled:
        """Pool features of shape (n, channels, rows, columns)."""
        cells = features.flatten(2).transpose(1, 2)
        first, grid = self.positional_embedding[:1], self.positional_embedding[1:]
        grid = base.resized_grid(grid, (features.shape[2], features.shape[3]), "bilinear")
        tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
        tokens = tokens + torch.cat([first, grid])
        parts = [self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens)]
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value)
        pooled = self.c_proj(attended.transpose(1, 2).flatten(2))
        return Pooled(pooled[:, 0], pooled[:, 1:], torch.cat(parts, dim=2))


class _Bottleneck(nn.Module):
    """Three convolutions and a shortcut."""

    def __init__(self, channels: int, planes: int, step: int) -> None:
        super().__init__()
        outputs = planes * _EXPANSION
        self._step = step
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if step > 1 or channels != outputs:
            convolution = nn.Conv2d(channels, outputs, 1, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(features)))
        hidden = self._smaller(functional.relu(self.bn2(self.conv2(hidden))))
        hidden = self.bn3(self.conv3(hidden))
        if self.downsample is not None:
            features = self.downsample(self._smaller(features))
        return functional.relu(hidden + features)

    def _smaller(self, features: Tensor) -> Tensor:
        return functional.avg_pool2d(features, self._step) if self._step > 1 else features


def read_resnet(state: Mapping[str, Tensor], *, source: object) -> ModifiedResNet:
    """Build a residual network from its weights, by OpenAI's names without ``visual.``."""

    def shape(name: str, axes: int) -> tuple[int, ...]:
        problem = f"{source} holds no {name} of CLIP's residual network; choose the matching file."
        return base.shape_of(state, name, axes, problem)

    with unfilled():
        network = ModifiedResNet(
            [max(1, base.layer_count(state, f"{stage}.")) for stage in _STAGES],
            width=shape("conv3.weight", 4)[0],
            dim=shape("attnpool.c_proj.weight", 2)[0],
            side=math.isqrt(shape("attnpool.positional_embedding", 2)[0] - 1),
        )
    counters = ("*.num_batches_tracked",)
    return fit(network, state, source=source, ignore=counters, optional=counters)
