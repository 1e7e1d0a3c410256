"""Looking at an image against reading back what was seen, from memory and from disk.

``python -m benchmarks.reopen [--model mini] [--threads 1] [--repeats 5]``

First with a model, then with a DINOv2 ViT-B at 518 pixels (37 x 37 patches of 768 numbers) of
random weights, whose numbers mean nothing but cost what the real ones do. All ways run in the
same process on the same photograph, so their ratios mean something on any machine; the
milliseconds do not. Files are read while the system still holds them in memory, as after
switching to another image and back; the first read after a restart also waits for the drive.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
import torch

from napari_patchioner.bridges import NormalizeBridge
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import QuoteDecoder
from napari_patchioner.grids import GridStore, grid_key, pool
from napari_patchioner.images import as_rgb
from napari_patchioner.models import load_model
from napari_patchioner.regions import Box, cover

from .models import VISION

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.grids import FeatureGrid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    compare(load_model(options.model), options.repeats)
    compare(random_vit_b(), options.repeats)
    large = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    took = milliseconds(lambda: grid_key(as_rgb(large), "any"), options.repeats)
    print(f"key of an image of 4000 by 3000 pixels: {took:.0f} ms")


def random_vit_b() -> Captioner:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    from napari_patchioner.backbones.dino import Dino, DinoVision

    torch.manual_seed(0)
    network = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**VISION)).eval()
    backbone = Dino(DinoVision(network, "random"))
    return Captioner(backbone, NormalizeBridge(), QuoteDecoder(), name="random ViT-B")


def compare(captioner: Captioner, repeats: int) -> None:
    """Print what looking, writing, reading back and reopening take."""
    image = skimage.data.coffee()
    look = milliseconds(lambda: captioner.encode(image), repeats)
    grid = captioner.encode(image)
    print(f"{captioner.name}: {grid.shape[0]} by {grid.shape[1]} patches of {grid.dim} numbers")
    with TemporaryDirectory() as place:
        folder = Path(place)
        store = GridStore(folder)
        ways = {
            "looking": lambda: captioner.encode(image),
            "writing to disk": lambda: store.put(grid),
            "reading from disk": lambda: GridStore(folder).get(grid.key),
            "reading from memory": lambda: store.get(grid.key),
            # What a person waits for: hashing the image belongs to it.
            "reopening, from disk": lambda: captioner.encode(image, store=GridStore(folder)),
            "reopening, from memory": lambda: captioner.encode(image, store=store),
        }
        for name, way in ways.items():
            took = look if name == "looking" else milliseconds(way, repeats)
            print(f"  {name:<25}{took:10.3f} ms{look / took:12,.0f}x")
        again = captioner.encode(image, store=GridStore(folder))
    same = np.array_equal(vectors(captioner.encode(image)), vectors(again))
    print(f"  regions pooled from it are {'the same' if same else 'NOT the same'}\n")


def vectors(grid: FeatureGrid) -> np.ndarray:
    """Two regions as the bridge gets them."""
    boxes = [Box(50, 100, 250, 300), Box(10, 10, 80, 590)]
    return pool(grid, [cover(box, grid.transform) for box in boxes], "mean")


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median of several runs, after one that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * median(taken)


if __name__ == "__main__":
    main()
