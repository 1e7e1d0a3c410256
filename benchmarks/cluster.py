"""A folder of images by workers of a dask cluster on this machine, against one local process.

``python benchmarks/cluster.py [--model mini] [--images 24] [--workers 1 2] [--size 480 640]``

Every way starts processes of its own that have loaded nothing yet, and captions the images twice:
the first time counts importing and loading the model in each worker, the second does not. The
ratios to one local process in the same run mean something on any machine with as many cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
from PIL import Image

from napari_patchioner.batch import Plan, cluster, find_images, run

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, nargs=2, default=[480, 640])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster-") as place:
        folder = Path(place, "images")
        write(folder, options.images, *options.size)
        alone = by_this_machine(options.model, folder)
        print(f"{'':>16} {'with loading':>20} {'loaded':>20}   (images/s, ratio)")
        show("1 process", options.images, alone, alone)
        for workers in options.workers:
            with workers_of_its_own(Path(place), workers) as address:
                found = twice(options.model, folder, address)
            show(f"{workers} dask worker{'s' * (workers > 1)}", options.images, found, alone)


def write(folder: Path, count: int, height: int, width: int) -> None:
    """Write pictures as JPEG, each another part of a photograph."""
    folder.mkdir()
    photo = Image.fromarray(skimage.data.astronaut())
    generator = np.random.default_rng(0)
    for number in range(count):
        left, top = generator.integers(0, 200, 2)
        part = photo.crop((left, top, left + 300, top + 300)).resize((width, height))
        part.save(folder / f"{number:04}.jpg", quality=92)


def by_this_machine(model: str, folder: Path) -> list[float]:
    """Seconds for all images, the first and the second time, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_by_one_process, (model, folder))


def _by_one_process(model: str, folder: Path) -> list[float]:
    """Take the times by which images are done: between the first and the second round it loads."""
    plan = Plan(find_images([folder]), "whole")

    def jobs() -> Iterator[object]:
        yield from plan
        yield from plan

    started = time.perf_counter()
    done = [time.perf_counter() for _ in run(jobs(), model)]
    return [done[len(plan) - 1] - started, done[-1] - done[len(plan) - 1]]


def twice(model: str, folder: Path, address: str) -> list[float]:
    """Seconds for all images by the workers of a scheduler, the first and the second time."""
    plan = Plan(find_images([folder]), "whole")
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        assert sum(1 for _ in cluster.run(plan, model, scheduler=address)) == len(plan)
        seconds.append(time.perf_counter() - started)
    return seconds


@contextmanager
def workers_of_its_own(place: Path, count: int) -> Iterator[str]:
    """Yield the address of a scheduler to which so many workers have come."""
    file = place / f"scheduler-{count}.json"
    local = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    started = [_dask("scheduler", *local)]
    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        folder = ("--local-directory", str(place))
        started += [
            _dask("worker", address, "--no-nanny", "--nthreads", "1", *folder) for _ in range(count)
        ]
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(count)
        yield address
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def _dask(kind: str, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )


def show(name: str, images: int, seconds: list[float], alone: list[float]) -> None:
    """Print a line of the table."""
    cells = [
        f"{images / one:8.2f} {other / one:10.2f}x"
        for one, other in zip(seconds, alone, strict=True)
    ]
    print(f"{name:>16} {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
