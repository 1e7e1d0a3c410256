"""EfficientNet-Lite as a dense feature extractor (Tan & Le 2019; the Lite variants of 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

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

STRIDE = 32
"""Pixels of the input per cell of the deep features."""


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier: an image in, feature maps out.

    Batch normalisation is folded into the convolutions, padding is TensorFlow's "same",
    activations are ReLU6, and there is no squeeze-and-excitation. ``variant`` is 0 to 4, the
    published width and depth scalings.
    """

    def __init__(self, variant: int = 2) -> None:
        super().__init__()
        width, depth = _SCALING[variant]
        self.stem = SameConv(3, _STEM_CHANNELS, 3, stride=2)
        blocks: list[InvertedBottleneck] = []
        starts: list[int] = []
        channels = _STEM_CHANNELS
        for stage, (repeats, kernel, stride, expansion, outputs) in enumerate(_STAGES):
            outputs = _round_channels(outputs * width)
            # The Lite variants leave the first and the last stage as they are.
            fixed = stage in (0, len(_STAGES) - 1)
            starts.append(len(blocks))
            for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedBottleneck(channels, outputs, kernel, step, expansion))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self._late = tuple(starts[-2:])
        first, second = (blocks[start].depthwise.in_channels for start in self._late)
        expansion = _STAGES[-1][3]
        self.middle_channels = first // expansion + first + second // expansion + channels
        self.head = SameConv(channels, _HEAD_CHANNELS, 1)
        self.channels = _HEAD_CHANNELS

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute deep and middle features of normalised images, (batch, 3, height, width).

        Sides are multiples of 32. Deep features, (batch, 1280, height / 32, width / 32), are what
        the published network averages and classifies; middle ones, (batch, middle_channels,
        height / 16, width / 16), what enters the last two stages, the first of these expanded (as
        square roots, which keep a few strong channels from ruling), and what leaves them.
        """
        features = functional.relu6(self.stem(images))
        kept: list[Tensor] = []
        for index, block in enumerate(cast("Iterable[InvertedBottleneck]", self.blocks)):
            hidden = block.widen(features)
            if index in self._late:
                kept.append(features)
            if index == self._late[0]:
                kept.append(hidden.sqrt())
            features = block.narrow(features, hidden)
        kept.append(features)
        # All at the finest of their strides.
        size = kept[0].shape[-2:]
        middle = [functional.interpolate(plane, size=size, mode="nearest") for plane in kept]
        return functional.relu6(self.head(features)), torch.cat(middle, 1)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's asymmetric "same" padding."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups)

    def forward(self, features: Tensor) -> Tensor:
        """Pad and convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            padding = []
            for length in (features.shape[-1], features.shape[-2]):
                total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
                padding += [total // 2, total - total // 2]
            features = functional.pad(features, padding)
        return super().forward(features)


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1) if expansion != 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Widen and narrow."""
        return self.narrow(features, self.widen(features))

    def widen(self, features: Tensor) -> Tensor:
        """Expand to the hidden channels."""
        return features if self.expand is None else functional.relu6(self.expand(features))

    def narrow(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Filter each hidden channel and project; add the input where shapes allow."""
        output = self.project(functional.relu6(self.depthwise(hidden)))
        result: Tensor = features + output if self.skip else output
        return result


def _round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of the divisor that is not much less."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
