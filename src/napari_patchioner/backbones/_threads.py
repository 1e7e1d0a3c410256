"""How many cores a network may take."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def spare_core() -> Iterator[None]:
    """Leave one core to the window, and never use more threads than the process may run on.

    A limit that is lower already, such as ``OMP_NUM_THREADS=1``, stays.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, _cores() - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
