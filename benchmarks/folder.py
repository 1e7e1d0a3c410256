"""A folder of images by so many processes, against one image at a time through the Python API.

All ways caption the same files in the same run, the model loaded beforehand (that of the other
processes by captioning one image each that does not count), so their ratio means something on
any machine with as many cores; the seconds do not.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
from PIL import Image

from napari_patchioner import load_model
from napari_patchioner.batch import Plan, find_images, run
from napari_patchioner.devices import available_cores
from napari_patchioner.regions import WholeImage

from .rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_patchioner.batch import Job


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure the images a second of each way."""
    import torch

    torch.set_num_threads(threads)
    count = 6 if quick else 200
    with tempfile.TemporaryDirectory(prefix="folder-") as place:
        paths = write(Path(place), count, 480, 640)
        few = paths[: max(6, count // 4)]
        alone = len(few) / one_by_one("mini", few)
        torch.set_num_threads(1)
        single = len(few) / one_by_one("mini", few)
        told = [Row(f"one image at a time, {threads} threads", alone, "images/s")]
        for workers in sorted({1, available_cores()}):
            rate = count / by_processes("mini", paths, workers)
            told.append(
                Row(
                    f"{count} images by {workers} process{'es' * (workers > 1)}",
                    rate,
                    "images/s",
                    against=f"{workers} times one core through the Python API",
                    baseline=single * workers,
                    note=f"{rate / workers:.2g} images/s a core",
                )
            )
    return told


def write(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """Write pictures as JPEG, each another part of a photograph."""
    photo = Image.fromarray(skimage.data.astronaut())
    generator = np.random.default_rng(0)
    for number in range(count):
        left, top = generator.integers(0, 200, 2)
        part = photo.crop((left, top, left + 300, top + 300)).resize((width, height))
        part.save(folder / f"{number:04}.jpg", quality=92)
    return find_images([folder])


def one_by_one(model: str, paths: list[Path]) -> float:
    """Seconds for all images, as a loop in a notebook takes them."""
    captioner = load_model(model)
    captioner.caption(captioner.encode(np.asarray(Image.open(paths[0]))), [WholeImage()])
    started = time.perf_counter()
    for path in paths:
        captioner.caption(captioner.encode(np.asarray(Image.open(path))), [WholeImage()])
    return time.perf_counter() - started


def by_processes(model: str, paths: list[Path], workers: int) -> float:
    """Seconds for all images, from when every process has captioned its first one."""
    times: list[float] = []

    def jobs() -> Iterator[Job]:
        yield from Plan(paths[:1] * workers, "whole")
        yield from Plan(paths, "whole")

    for _ in run(jobs(), model, workers=workers):
        times.append(time.perf_counter())
    return times[-1] - times[workers - 1]
