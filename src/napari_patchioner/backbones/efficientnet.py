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

    ``variant`` is 0 to 4, the published width and depth scalings.
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

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pad and convolve."""
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


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1) if expansion != 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Widen and narrow."""
        return self.narrow(features, self.widen(features))

    def widen(self, features: torch.Tensor) -> torch.Tensor:
        """Expand to the hidden channels."""
        return features if self.expand is None else functional.relu6(self.expand(features))

    def narrow(self, features: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Filter each hidden channel and project; add the input where shapes allow."""
        output = self.project(functional.relu6(self.depthwise(hidden)))
        return cast("torch.Tensor", features + output if self.skip else output)


def fold_batch_norm(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn published weights into those of `EfficientNetLite`, the classifier left out.

    They are the state dict of the PyTorch port, with names such as
    ``_blocks.0._depthwise_conv.weight``.
    """
    # Our name of every convolution: its published name and that of its normalisation.
    names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    layers = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    blocks = {int(key.split(".")[1]) for key in published if key.startswith("_blocks.")}
    for block in sorted(blocks):
        for layer, norm in layers.items():
            convolution = f"_blocks.{block}._{layer}_conv"
            if f"{convolution}.weight" in published:
                names[f"blocks.{block}.{layer}"] = (convolution, f"_blocks.{block}.{norm}")
    folded: dict[str, torch.Tensor] = {}
    for name, (convolution, norm) in names.items():
        scale = published[f"{norm}.weight"] / torch.sqrt(
            published[f"{norm}.running_var"] + _BATCH_NORM_EPSILON
        )
        folded[f"{name}.weight"] = published[f"{convolution}.weight"] * scale.view(-1, 1, 1, 1)
        folded[f"{name}.bias"] = (
            published[f"{norm}.bias"] - scale * published[f"{norm}.running_mean"]
        )
    return folded


def _round_channels(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of the divisor that is not much less."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
