"""A folder of images by so many processes, against one image at a time through the Python API.

``python benchmarks/folder.py [--model mini] [--images 24] [--workers 1 2] [--size 480 640]``

All ways caption the same files in the same run, the model loaded beforehand (that of the other
processes by captioning one image each that does not count), so their ratio means something on
any machine with as many cores; the seconds do not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
from PIL import Image

from napari_patchioner import load_model
from napari_patchioner.batch import Plan, find_images, run
from napari_patchioner.regions import WholeImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_patchioner.batch import Job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, nargs=2, default=[480, 640])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="folder-") as place:
        paths = write(Path(place), options.images, *options.size)
        alone = options.images / one_by_one(options.model, paths)
        print(f"{'':>12} {'images/s':>9} {'ratio':>7}")
        print(f"{'Python API':>12} {alone:9.2f} {1:6.2f}x")
        for workers in options.workers:
            rate = options.images / by_processes(options.model, paths, workers)
            print(
                f"{f'{workers} worker' + 's' * (workers > 1):>12} {rate:9.2f} {rate / alone:6.2f}x"
            )


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


if __name__ == "__main__":
    main()
