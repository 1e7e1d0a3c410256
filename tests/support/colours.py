"""A captioner that names colours, without torch; processes of their own can load it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.bridges import BridgeOutput
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.images import as_rgb

if TYPE_CHECKING:
    from pathlib import Path


class PixelBackbone:
    """Patches of 16 pixels are the mean of their colours; it counts its looks."""

    name, dim, patch_size, input_size = "pixels", 3, 16, 64

    def __init__(self) -> None:
        self.passes = 0

    def encode(self, image: Any, *, key: str = "pixels", progress: Any = None) -> FeatureGrid:
        self.passes += 1
        pixels = as_rgb(image).astype(np.float32)
        rows, columns = pixels.shape[0] // 16, pixels.shape[1] // 16
        embeddings = pixels.reshape(rows, 16, columns, 16, 3).mean(axis=(1, 3))
        transform = GridTransform(pixels.shape[:2], (rows, columns))
        return FeatureGrid(embeddings, transform, key)


class StraightBridge:
    def project(self, vectors: np.ndarray, grid: Any, **known: Any) -> BridgeOutput:
        return BridgeOutput(vectors)


class ColourDecoder:
    """Says which colour is brightest, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def decode(self, vectors: np.ndarray, **options: Any) -> list[Caption]:
        self.asked.append(options)
        return [
            Caption(("red, mostly", "green", "blue")[row.argmax()], float(row.max() / 255))
            for row in vectors
        ]


class Loader:
    """Loads a captioner that names colours, and remembers what was asked."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.backbone = PixelBackbone()
        self.decoder = ColourDecoder()

    def __call__(self, name: str) -> Captioner:
        self.names.append(name)
        return Captioner(self.backbone, StraightBridge(), self.decoder, name=name)


def load(name: str) -> Captioner:
    return Loader()(name)


class Slow(PixelBackbone):
    """Takes its time, so that somebody can interrupt."""

    def encode(self, image: Any, *, progress: Any = None) -> FeatureGrid:
        time.sleep(0.03)
        return super().encode(image, progress=progress)


class Deadly(PixelBackbone):
    """Ends its process at a black picture, as one does that is out of memory."""

    def encode(self, image: Any, *, progress: Any = None) -> FeatureGrid:
        if not np.any(image):
            os._exit(9)
        return super().encode(image, progress=progress)


def load_slow(name: str) -> Captioner:
    return Captioner(Slow(), StraightBridge(), ColourDecoder(), name=name)


def load_deadly(name: str) -> Captioner:
    return Captioner(Deadly(), StraightBridge(), ColourDecoder(), name=name)


def load_nothing(name: str) -> Captioner:
    raise ModelError(f"there is no model {name!r}")


def load_telling_threads(name: str) -> Captioner:
    """Fail with what libraries of this process read when they are loaded."""
    threads = {os.environ[key] for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    raise ModelError(f"{sorted(threads)} for {name!r}")


class LoudLoader(Loader):
    """Writes down which process loads which model; it pickles."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __call__(self, name: str) -> Captioner:
        with self._log.open("a") as file:
            file.write(f"{name} {os.getpid()}\n")
        return load(name)
