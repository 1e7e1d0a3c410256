"""RegionCLIP (Zhong et al. 2022): a CLIP ResNet pretrained on regions and their words."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_state, tensors_sha256
from napari_patchioner.devices import to_numpy
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import class_attention

from .base import CLIP, Features, Layout, Preprocessing
from .clip_text import text_of_state
from .clip_weights import below
from .text import LazyText, TextBackbone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STRIDE = 32
"""Pixels of the picture along one side of a cell."""

_SIZE = 512
_STAGES = 4
_EXPANSION = 4
_HEAD_WIDTH = 64
_TEXT = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")


class RegionClip(TextBackbone):
    """A ResNet whose attention pooling is queried by every cell instead of once.

    RegionCLIP trained it on regions cut out of the last features; the published Patch-ioner
    lets every cell of the whole picture query CLIP's attention pool instead, and normalises
    each vector to unit length, as is done here. ``cls`` is the pool's own answer, with the mean of
    all cells as the query; ``attention`` is that query's.

    At its default size the picture is squashed to 512 x 512 pixels: 16 x 16 cells of 32 pixels,
    1024 numbers each. The 7 x 7 positions are resampled (bilinear; how the published Patch-ioner
    does it is not known). RegionCLIP's code and weights are under Apache-2.0, CLIP's under MIT.

    ``normalize`` gives every cell and ``cls`` unit length.
    """

    patch_size = STRIDE

    def __init__(
        self,
        network: ModifiedResNet,
        text: LazyText | None = None,
        *,
        size: int = _SIZE,
        layout: Layout = "square",
        normalize: bool = True,
    ) -> None:
        self.network, self._normalize = network, normalize
        self.networks, self.blocks = [network], network.bottlenecks
        self.dim, self.input_size = network.dim, size
        self.preprocessing = Preprocessing(size, STRIDE, layout, CLIP)
        projection = {"c_proj.weight": network.attnpool.c_proj.weight}
        ending = "" if normalize else "/raw"
        self.name = f"regionclip/{tensors_sha256(projection)[:8]}/{size}/{layout}{ending}"
        self.set_text(text)

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int = _SIZE,
        layout: Layout = "square",
        normalize: bool = True,
    ) -> RegionClip:
        """Open a published checkpoint.

        ``files["weights"]`` is RegionCLIP's pretraining checkpoint, with the visual tower under
        ``backbone.`` and the text tower under ``lang_encoder.`` (its teacher and its region
        proposals are left out), or OpenAI's CLIP RN50, with ``visual.`` and bare names;
        ``files["merges"]``, to embed text, CLIP's word pieces.
        """
        path = files["weights"]
        visual, words = _towers(read_state(path), path)
        network = read_resnet(visual, source=path)
        merges = files.get("merges")
        text = text_of_state(words, merges, source=path) if merges else None
        return cls(network, text, size=size, layout=layout, normalize=normalize)

    def forward(self, pixels: Tensor) -> Features:
        """Every cell's own query of the attention pool."""
        pooled: Pooled = self.network(pixels)
        local, whole = pooled.local[0], pooled.whole[0]
        if self._normalize:
            local, whole = (functional.normalize(part, dim=-1) for part in (local, whole))
        attention = class_attention(to_numpy(pooled.qkv[0]), self.network.attnpool.heads, 1)
        return Features(local, attention, cls=whole)


def _towers(
    state: Mapping[str, Tensor], source: object
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Separate the visual tower from the text tower, both without prefixes."""
    for visual, text in (("backbone.", "lang_encoder."), ("visual.", "")):
        if any(name.startswith(f"{visual}attnpool.") for name in state):
            words = below(state, text)
            return below(state, visual), {
                name: value for name, value in words.items() if name.startswith(_TEXT)
            }
    raise ModelError(
        f"{source} holds no attention pool (backbone.attnpool.* or visual.attnpool.*); choose "
        f"RegionCLIP's pretraining checkpoint."
    )


@dataclass(frozen=True, slots=True)
class Pooled:
    """What attention pooling makes of a picture.

    Attributes
    ----------
    whole : Tensor, shape (n, dim)
        Queried by the mean of all cells, as CLIP does.
    local : Tensor, shape (n, rows * columns, dim)
        Queried by every cell itself.
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

    ``blocks`` are the bottlenecks in each of the four stages, ``width`` the channels after the
    first convolutions, ``dim`` the length of a pooled vector and ``side`` the cells along one side
    of the square that the positions were made for.
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
        """Encode normalised pictures, shape (n, 3, rows * 32, columns * 32)."""
        pooled: Pooled = self.attnpool(self.cells(pixels))
        return pooled

    @property
    def bottlenecks(self) -> list[nn.Module]:
        """The blocks of all stages, first to last."""
        stages = (self.get_submodule(f"layer{stage}") for stage in range(1, _STAGES + 1))
        return [block for stage in stages for block in stage.children()]

    def cells(self, pixels: Tensor) -> Tensor:
        """Return the last stage's features, shape (n, channels, rows, columns)."""
        features = functional.relu(self.bn1(self.conv1(pixels)))
        features = functional.relu(self.bn2(self.conv2(features)))
        features = functional.relu(self.bn3(self.conv3(features)))
        features = functional.avg_pool2d(features, 2)
        for stage in range(1, _STAGES + 1):
            features = self.get_submodule(f"layer{stage}")(features)
        return features


class AttentionPool(nn.Module):
    """Attention of one or all cells over all of them, from ``channels`` to ``dim`` numbers."""

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
        cells = features.flatten(2).transpose(1, 2)
        tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
        tokens = tokens + self._positions(features.shape[2], features.shape[3])
        parts = [self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens)]
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value)
        pooled = self.c_proj(attended.transpose(1, 2).flatten(2))
        return Pooled(pooled[:, 0], pooled[:, 1:], torch.cat(parts, dim=2))

    def _positions(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == (self._side, self._side):
            return self.positional_embedding
        first, grid = self.positional_embedding[:1], self.positional_embedding[1:]
        plane = grid.T.reshape(1, -1, self._side, self._side)
        plane = functional.interpolate(plane, (rows, columns), mode="bilinear")
        return torch.cat([first, plane[0].flatten(1).T])


class _Bottleneck(nn.Module):
    """Three convolutions and a shortcut."""

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
    """Build a residual network from its weights, by OpenAI's names without ``visual.``."""

    def shape(name: str) -> torch.Size:
        if name not in state:
            raise ModelError(
                f"{source} holds no {name} of CLIP's residual network; choose the matching file."
            )
        return state[name].shape

    def count(layer: str) -> int:
        matches = [re.match(rf"{layer}\.(\d+)\.", name) for name in state]
        return max((1 + int(match[1]) for match in matches if match), default=1)

    with torch.device("meta"):
        network = ModifiedResNet(
            [count(f"layer{stage + 1}") for stage in range(_STAGES)],
            width=shape("conv3.weight")[0],
            dim=shape("attnpool.c_proj.weight")[0],
            side=math.isqrt(shape("attnpool.positional_embedding")[0] - 1),
        )
    return fit(network, state, source=source, ignore=("*.num_batches_tracked",))
