"""How many threads torch computes with, for a while."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def torch_threads(count: int) -> Iterator[Callable[[], None]]:
    """Yield what limits torch once a model has loaded it; the limit ends with the block.

    Parameters
    ----------
    count : int
        Threads. Where nothing has loaded torch there is nothing to limit.
    """
    before = []

    def limit() -> None:
        if "torch" in sys.modules:
            import torch

            before.append(torch.get_num_threads())
            torch.set_num_threads(count)

    try:
        yield limit
    finally:
        if before:
            import torch

            torch.set_num_threads(before[0])
