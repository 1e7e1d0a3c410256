"""The paper's main model at full size on random weights: time and memory on this machine.

``python benchmarks/full_size.py [--rows 591753] [--regions 1 8 64] [--threads 1]``

Talk2DINO ViT-B at 518 pixels (37 x 37 patches), a memory of 591,753 sentences in half precision
and DeCap's four-layer decoder are written to a temporary folder (about 1.7 GB) in their published
layouts and read as any other model is. The numbers mean nothing; their cost is the real one,
except that random captions seldom end and so are all of the longest length. Beside each line
stands what it would cost to look at every region's crop, in the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_patchioner.captioner import Captioner

ROWS, DIM, TEXT_DIM = 591_753, 768, 512
VISION = {
    "architectures": ["Dinov2WithRegistersModel"],
    "model_type": "dinov2_with_registers",
    "hidden_size": DIM,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "mlp_ratio": 4,
    "image_size": 518,
    "patch_size": 14,
    "num_register_tokens": 4,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--regions", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        measure(options.folder, options.regions, options.threads)
        return
    with tempfile.TemporaryDirectory(prefix="full-size-") as place:
        # Two processes: what writing takes must not count as what reading needs.
        write(Path(place), options.rows)
        subprocess.run([sys.executable, *sys.argv, "--in", place], check=True)


def write(folder: Path, rows: int) -> None:
    """Write random weights in the published layouts."""
    import torch
    from safetensors.torch import save_file
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    from napari_patchioner.bridges import MemoryBank
    from napari_patchioner.decoders import PrefixGPT, PrefixGPTConfig

    torch.manual_seed(0)
    (folder / "vision").mkdir()
    vision = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**VISION))
    save_file(dict(vision.state_dict()), folder / "vision" / "model.safetensors")
    (folder / "vision" / "config.json").write_text(json.dumps(VISION), encoding="utf-8")
    save_file(
        {
            "linear_layer.weight": torch.randn(DIM, TEXT_DIM) / TEXT_DIM**0.5,
            "linear_layer.bias": torch.zeros(DIM),
            "hidden_layers.0.weight": torch.randn(DIM, DIM) / DIM**0.5,
            "hidden_layers.0.bias": torch.zeros(DIM),
        },
        folder / "projection.safetensors",
    )
    MemoryBank.build(folder / "bank", sentences(rows))
    sizes = PrefixGPTConfig(50257, 768, layers=4, heads=4, positions=1024, prefix_dim=DIM)
    PrefixGPT(sizes).save(folder / "decoder.safetensors")


def sentences(rows: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Random embeddings around a common mean, as those of captions lie."""
    generator = np.random.default_rng(0)
    mean = generator.standard_normal(DIM, np.float32)
    for first in range(0, rows, 8192):
        count = min(8192, rows - first)
        texts = [f"sentence number {first + place}" for place in range(count)]
        yield texts, mean + generator.standard_normal((count, DIM), np.float32)


def measure(folder: Path, counts: list[int], threads: int) -> None:
    """Time one look and captions of so many regions, and tell the peak of memory."""
    import skimage.data
    import torch

    from napari_patchioner.regions import Box, WholeImage

    torch.set_num_threads(threads)
    started = time.perf_counter()
    captioner = load(folder)
    print(f"load {time.perf_counter() - started:.2f} s, {peak():.2f} GB")
    image = skimage.data.coffee()
    looking = fastest(lambda: captioner.encode(image))
    print(f"grid {looking:.2f} s, {peak():.2f} GB")
    grid = captioner.encode(image)
    print(f"{'regions':>8} {'caption':>9} {'each':>9} {'crops':>10} {'ratio':>7}")
    for count in counts:
        boxes = [Box(3 * n, 4 * n, 3 * n + 150, 4 * n + 200) for n in range(count)]
        ours = fastest(lambda boxes=boxes: captioner.caption(grid, boxes, **GREEDY))
        one = fastest(lambda: captioner.caption(grid, [WholeImage()], **GREEDY))
        crops = count * (looking + one)
        print(
            f"{count:8d} {ours:8.2f}s {ours / count:8.3f}s {crops:9.1f}s "
            f"{crops / (looking + ours):6.1f}x"
        )
    print(f"peak memory {peak():.2f} GB")


GREEDY = {"beams": 1, "alternatives": 0, "max_tokens": 30}


def load(folder: Path) -> Captioner:
    from napari_patchioner.backbones.talk2dino import Talk2DINO
    from napari_patchioner.bridges import MemoryBank, MemoryBridge
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import ClipTokenizer, DeCapDecoder, PrefixGPT

    files = {"vision": folder / "vision", "projection": folder / "projection.safetensors"}
    decoder = DeCapDecoder(PrefixGPT.open(folder / "decoder.safetensors"), ClipTokenizer())
    bridge = MemoryBridge(MemoryBank.open(folder / "bank"))
    return Captioner(Talk2DINO.open(files), bridge, decoder, name="full size")


def fastest(work: object, repeats: int = 2) -> float:
    """The fastest of several runs, in seconds."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def peak() -> float:
    """Most memory this process has held so far, in GB, mapped files included."""
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9


if __name__ == "__main__":
    main()
