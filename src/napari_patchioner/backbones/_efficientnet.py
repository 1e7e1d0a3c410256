"""EfficientNet-Lite as a dense feature extractor (Tan & Le 2019; the Lite variants of 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# repeats, kernel, stride, expansion, output channels of the seven stages before scaling
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SCALING = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
_BATCH_NORM_EPSILON = 1e-3

STRIDE = 32
"""Pixels of the input per cell of the deep features."""


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier: an image in, feature maps out.

    Batch normalisation is folded into the convolutions (see `fold_batch_norm`), padding is
    TensorFlow's "same", activations are ReLU6, and there is no squeeze-and-excitation.

    Parameters
    ----------
    variant : int
        0 to 4, the published width and depth scalings.
    """

    def __init__(self, variant: int = 2) -> None:
        super().__init__()
        width, depth = _SCALING[variant]
        self.stem = _SameConv(3, _STEM_CHANNELS, 3, stride=2)
        blocks: list[_InvertedBottleneck] = []
        starts: list[int] = []
        channels = _STEM_CHANNELS
        for stage, (repeats, kernel, stride, expansion, outputs) in enumerate(_STAGES):
            outputs = _round_channels(outputs * width)
            # The Lite variants leave the first and the last stage as they are.
            fixed = stage in (0, len(_STAGES) - 1)
            starts.append(len(blocks))
            for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
                step = stride if repeat == 0 else 1
                blocks.append(_InvertedBottleneck(channels, outputs, kernel, step, expansion))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self._late = tuple(starts[-2:])
        first, second = (blocks[start].depthwise.in_channels for start in self._late)
        expansion = _STAGES[-1][3]
        self.middle_channels = first // expansion + first + second // expansion + channels
        self.head = _SameConv(channels, _HEAD_CHANNELS, 1)
        self.channels = _HEAD_CHANNELS

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute dense features.

        Parameters
        ----------
        images : Tensor, shape (batch, 3, height, width)
            Normalised RGB, height and width multiples of 32.

        Returns
        -------
        deep : Tensor, shape (batch, 1280, height / 32, width / 32)
            What the published network averages and classifies.
        middle : Tensor, shape (batch, middle_channels, height / 16, width / 16)
            What enters the last two stages, the first of these expanded (as square roots, which
            keep a few strong channels from ruling), and what leaves them.
        """
        features = functional.relu6(self.stem(images))
        kept: list[torch.Tensor] = []
        for index, block in enumerate(cast("Iterable[_InvertedBottleneck]", self.blocks)):
            hidden = block.widen(features)
            if index in self._late:
                kept.append(features)
            if index == self._late[0]:
                kept.append(hidden.sqrt())
            features = block.narrow(features, hidden)
        kept.append(features)
        return functional.relu6(self.head(features)), _at_one_stride(kept)


def _at_one_stride(maps: list[torch.Tensor]) -> torch.Tensor:
    """Stack feature maps at the finest of their strides."""
    size = maps[0].shape[-2:]
    return torch.cat([functional.interpolate(one, size=size, mode="nearest") for one in maps], 1)


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's asymmetric "same" padding."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.stride[0] > 1:
            height, width = features.shape[-2:]
            top, bottom = self._padding(height)
            left, right = self._padding(width)
            features = functional.pad(features, [left, right, top, bottom])
        return super().forward(features)

    def _padding(self, length: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
        return total // 2, total - total // 2


class _InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _SameConv(inputs, hidden, 1) if expansion != 1 else None
        self.depthwise = _SameConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = _SameConv(hidden, outputs, 1)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.narrow(features, self.widen(features))

    def widen(self, features: torch.Tensor) -> torch.Tensor:
        """Expand to the hidden channels."""
        return features if self.expand is None else functional.relu6(self.expand(features))

    def narrow(self, features: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Filter each hidden channel and project; add the input where shapes allow."""
        output = self.project(functional.relu6(self.depthwise(hidden)))
        return cast("torch.Tensor", features + output if self.skip else output)


def fold_batch_norm(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn published EfficientNet-Lite weights into those of `EfficientNetLite`.

    Parameters
    ----------
    published : mapping of str to Tensor
        The state dict of the PyTorch port (names such as ``_blocks.0._depthwise_conv.weight``).

    Returns
    -------
    dict of str to Tensor
        A state dict for `EfficientNetLite`; the classifier is left out.
    """
    folded: dict[str, torch.Tensor] = {}
    for name, (convolution, norm) in _layer_names(published).items():
        scale = published[f"{norm}.weight"] / torch.sqrt(
            published[f"{norm}.running_var"] + _BATCH_NORM_EPSILON
        )
        folded[f"{name}.weight"] = published[f"{convolution}.weight"] * scale.view(-1, 1, 1, 1)
        folded[f"{name}.bias"] = (
            published[f"{norm}.bias"] - scale * published[f"{norm}.running_mean"]
        )
    return folded


def _layer_names(published: Mapping[str, torch.Tensor]) -> dict[str, tuple[str, str]]:
    """Our name of every convolution: its published name and that of its normalisation."""
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    layers = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    blocks = {int(key.split(".")[1]) for key in published if key.startswith("_blocks.")}
    for block in sorted(blocks):
        for layer, norm in layers.items():
            convolution = f"_blocks.{block}._{layer}_conv"
            if f"{convolution}.weight" in published:
                names[f"blocks.{block}.{layer}"] = (convolution, f"_blocks.{block}.{norm}")
    return names


def _round_channels(channels: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
