"""How much quicker networks run on ONNX Runtime (the extra ``engine``) than on torch, in one run.

``python benchmarks/engine.py [--rounds 5] [--threads 1] [--no-vit] [--json FILE]``

Each network is converted as it is when a model is loaded, into a temporary folder; then torch and
the engine take turns at the same picture, a photograph of a cup of coffee. Printed are medians of
the clock and of the processor time of all threads, their ratio, and how alike the outputs are. The
network of ``mini`` runs in single precision with its own weights; a ViT-B/14 with registers at 518
pixels, the size of DINOv2's, in 8 bits with random weights, for none are in the package. See
docs/models.md.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.backbones.base import Backbone


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-vit", action="store_true", help="leave out the slow network")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    arguments = parser.parse_args()
    # Before torch is imported.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    with TemporaryDirectory() as folder:
        os.environ["NAPARI_PATCHIONER_CACHE"] = folder
        rows = [measure("mini", mini(), arguments.rounds)]
        if not arguments.no_vit:
            rows.append(measure("ViT-B/14, 8 bits", vit(), arguments.rounds))
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def mini() -> Backbone:
    """Load the backbone of the embedded model, on torch."""
    from napari_patchioner import load_model

    return load_model("mini", engine="torch").backbone


def vit() -> Backbone:
    """Make a DINOv2-like network of random weights."""
    import torch
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    from napari_patchioner.backbones.dino import Dino, DinoVision

    torch.manual_seed(0)
    network = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(image_size=518, patch_size=14))
    return Dino(DinoVision(network.eval().requires_grad_(False), "random"))


def measure(name: str, backbone: Backbone, rounds: int) -> dict[str, Any]:
    """Time both engines in turns at the same pixels."""
    import torch

    from napari_patchioner.backbones import engine

    conversion = backbone.conversion()
    assert conversion is not None
    clock = time.perf_counter(), time.process_time()
    quicker = engine.prepared(conversion)
    spent = time.perf_counter() - clock[0], time.process_time() - clock[1]
    [notes] = engine.engine_folder().glob("*.json")
    judged = json.loads(notes.read_text())
    engine.delete_kept()
    row: dict[str, Any] = {"network": name, "threads": torch.get_num_threads()}
    row |= {"conversion s": round(spent[0], 1), "conversion cpu s": round(spent[1], 1)}
    row |= {"least cosine": judged.get("cosine"), "used": judged["used"]}
    if quicker is None:
        return row | {"why": judged.get("why", "")}
    pixels = conversion.pictures()[0]
    network = (conversion.exported or (lambda: conversion.network))()
    times: dict[str, list[tuple[float, float]]] = {"torch": [], "engine": []}
    for _ in range(rounds):
        for key, run in (("torch", network), ("engine", quicker)):
            times[key].append(spent_on(lambda run=run: run(pixels)))
    for place, kind in enumerate(("wall", "cpu")):
        ways = {key: median(pair[place] for pair in pairs) for key, pairs in times.items()}
        row |= {f"{key} {kind} ms": round(1e3 * value, 1) for key, value in ways.items()}
        row[f"ratio {kind}"] = round(ways["engine"] / ways["torch"], 2)
    return row


def spent_on(run: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of the clock and of all threads' processor time."""
    import torch

    start = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        run()
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    main()
