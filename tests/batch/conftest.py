from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from dask_processes import Processes
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[int], Path]:
    """Return what makes a folder of so many small pictures, each of its own colours."""

    def make(count: int, height: int = 16, width: int = 32) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir()
        generator = np.random.default_rng(count)
        for number in range(count):
            low = generator.integers(1, 200, 3)
            pixels = generator.integers(low, low + 50, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:04}.png")
        return folder

    return make


# Of a module: what is of a package goes on to the end of the run, and idle processes are not idle.
@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A cluster that tests share; whoever kills any of it wants one of its own."""
    with Processes(tmp_path_factory.mktemp("dask")) as processes:
        for _ in range(2):
            processes.add_worker("--no-nanny")
        yield processes


@pytest.fixture(scope="module")
def strict_scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A scheduler to which an image is suspect as soon as one worker dies of it."""
    env = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with Processes(tmp_path_factory.mktemp("strict"), env) as processes:
        yield processes


@pytest.fixture
def no_workers(strict_scheduler: Processes) -> Iterator[Processes]:
    """A scheduler without workers; those that a test adds are ended with it."""
    yield strict_scheduler
    strict_scheduler.dismiss()
