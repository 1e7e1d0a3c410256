"""Dense features of the development images, computed once and kept as float16 files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file

from napari_patchioner.backbones.mini import EfficientNetLite, dense
from napari_patchioner.images import read_picture

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt


def load_network(weights: Path) -> EfficientNetLite:
    """Load the shipped backbone for batch work."""
    network = EfficientNetLite()
    network.load_state_dict(load_file(weights))
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def cache_path(cache: Path, name: str, long_side: int) -> Path:
    """Where the features of one image at one size are kept."""
    return cache / str(long_side) / f"{Path(name).stem}.npz"


def compute_features(
    network: EfficientNetLite,
    images: Iterable[Path],
    cache: Path,
    long_side: int,
) -> None:
    """Write the features of every image that has none yet.

    Parameters
    ----------
    network : EfficientNetLite
    images : iterable of Path
    cache : Path
        Folder for the files; each has ``deep`` and ``middle``, float16.
    long_side : int
        Working size in pixels.
    """
    for path in images:
        target = cache_path(cache, path.name, long_side)
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        image = np.asarray(read_picture(path).convert("RGB"))
        deep, middle = dense(network, image, long_side)
        np.savez(target, deep=deep.astype(np.float16), middle=middle.astype(np.float16))


def read_features(
    cache: Path, name: str, long_side: int
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
    """Deep (rows, columns, 1280) and middle (2 rows, 2 columns, 1400) features of one image."""
    with np.load(cache_path(cache, name, long_side)) as file:
        return file["deep"], file["middle"]
