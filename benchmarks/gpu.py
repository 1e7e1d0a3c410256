"""The paper's main model on a GPU, beside the same on the processor in the same run.

The model is that of `benchmarks.models`, opened twice: once for the processor with all threads it
is given, once for the GPU. Whatever the GPU computes comes back as arrays, so nothing is still
under way when a clock is read. Each row says how far apart the results of both are. Where there is
no GPU, there are no rows.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import bank as banks
from . import models
from .rows import Row, fastest

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.devices import Placement

REGIONS, IMAGES = (1, 64, 1024), 20


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure a GPU, if there is one."""
    import torch

    from napari_patchioner.devices import choose

    placement = choose("auto")
    if not placement.is_gpu:
        print("PyTorch finds no GPU in this computer, so nothing is measured on one.", flush=True)
        return []
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory(prefix="gpu-") as place:
        folder = Path(place)
        models.write(folder, models.MEMORY // (100 if quick else 1))
        return measure(folder, placement, quick)


def measure(folder: Path, placement: Placement, quick: bool) -> list[Row]:
    """Time a model in a folder on the processor and where it is placed."""
    from napari_patchioner.devices import DeviceWarning

    with warnings.catch_warnings():
        # What the processor does in the end is no figure of a GPU.
        warnings.simplefilter("error", DeviceWarning)
        here, there = models.load(folder), models.load(folder)
        before = placement.free_bytes()
        there.place(placement)
        told = encoding(here, there, placement)
        told += captions(here, there, REGIONS[: 2 if quick else None])
        told += recalling(here, there, REGIONS[: 2 if quick else None])
        told += images(here, there, 3 if quick else IMAGES)
        used = (before - placement.free_bytes()) / 1e9
    told.append(Row("memory that the model takes on the GPU", used, "GB"))
    return told


def compared(
    name: str, on_gpu: Callable[[], object], on_processor: Callable[[], object], note: str = ""
) -> Row:
    """Time both; the GPU has compiled and brought along what it needs before."""
    on_gpu()
    times = fastest(on_gpu), fastest(on_processor, 2)
    return Row(name, times[0], against="the processor", baseline=times[1], note=note)


def encoding(here: Captioner, there: Captioner, placement: Placement) -> list[Row]:
    """Time a look at a picture, in single and in half precision."""
    from dataclasses import replace

    import skimage.data

    image = skimage.data.coffee()
    expected = here.encode(image).embeddings
    told = []
    for dtype in ("float32", "float16", "bfloat16"):
        there.backbone.place(replace(placement, dtype=dtype))
        note = (
            f"least cosine of a patch {least_cosine(expected, there.encode(image).embeddings):.5f}"
        )
        looks = (lambda: there.encode(image)), (lambda: here.encode(image))
        told.append(compared(f"a look at an image, {dtype}", *looks, note))
    there.backbone.place(placement)
    return told


def captions(here: Captioner, there: Captioner, counts: tuple[int, ...]) -> list[Row]:
    """Time captions of regions on a grid at hand."""
    import skimage.data

    from napari_patchioner.regions import Box

    grid = here.encode(skimage.data.coffee())
    told = []
    for count in counts:
        boxes = [Box(n % 200, n % 300, n % 200 + 150, n % 300 + 200) for n in range(count)]
        texts = [
            [caption.text for caption in captioner.caption(grid, boxes, **models.GREEDY)]
            for captioner in (there, here)
        ]
        same = sum(ours == theirs for ours, theirs in zip(*texts, strict=True))
        told.append(
            compared(
                f"{count} region{'s' * (count > 1)}, grid at hand",
                lambda boxes=boxes: there.caption(grid, boxes, **models.GREEDY),
                lambda boxes=boxes: here.caption(grid, boxes, **models.GREEDY),
                f"{same} captions the same",
            )
        )
    return told


def recalling(here: Captioner, there: Captioner, counts: tuple[int, ...]) -> list[Row]:
    """Time the memory alone: with its rows on the GPU, then passing through it."""
    ours, theirs = there.bridge.bank, here.bridge.bank
    told = []
    for passing in (False, True):
        if passing:
            [placed] = ours.placed()
            placed.rows.release()
        for count in counts:
            vectors = banks.queries(theirs.embeddings, count, "spread")
            results = [bank.recall(vectors)[0] for bank in (ours, theirs)]
            apart = float(np.abs(results[0] - results[1]).max())
            told.append(
                compared(
                    f"memory of {len(theirs):,} rows, {count} region{'s' * (count > 1)}",
                    lambda vectors=vectors: ours.recall(vectors),
                    lambda vectors=vectors: theirs.recall(vectors),
                    f"{'passing through' if passing else 'on the GPU'}, apart {apart:.0e}",
                )
            )
    ours.place(theirs.placement)
    ours.place(there.placement)
    return told


def images(here: Captioner, there: Captioner, count: int) -> list[Row]:
    """Count images a second, each encoded and captioned as a whole."""
    from napari_patchioner.regions import WholeImage

    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (count, 480, 640, 3), np.uint8)

    def work(captioner: Captioner) -> Callable[[], object]:
        return lambda: [
            captioner.caption(captioner.encode(picture), [WholeImage()], **models.GREEDY)
            for picture in pictures
        ]

    work(there)()
    rates = [count / fastest(work(captioner), 1) for captioner in (there, here)]
    name = "images, encoded and captioned one after the other"
    return [Row(name, rates[0], "images/s", against="the processor", baseline=rates[1])]


def least_cosine(rows: np.ndarray, others: np.ndarray) -> float:
    """Return the least cosine of patches, both (rows, columns, dim)."""
    lengths = np.linalg.norm(rows, axis=-1) * np.linalg.norm(others, axis=-1)
    return float(((rows * others).sum(-1) / lengths).min())
