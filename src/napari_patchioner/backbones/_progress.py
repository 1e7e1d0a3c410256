"""How far a network is, block by block, so that it can be stopped between any two."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

Progress: TypeAlias = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and a message; may raise ``Cancelled``."""


def silent(_fraction: float, _message: str) -> None:
    """Nobody wants to know."""


@contextmanager
def telling(
    blocks: Iterable[nn.Module],
    progress: Progress | None,
    message: str,
    span: tuple[float, float] = (0.0, 1.0),
) -> Iterator[None]:
    """Tell of every block that this thread passes inside the ``with``.

    Parameters
    ----------
    blocks : iterable of Module
        In the order in which they are passed, each once.
    progress : callable, optional
        Whom to tell; an exception it raises goes through the network and ends the pass.
    message : str
        What is being done.
    span : (float, float)
        The share of the whole work at the start and at the end of these blocks.
    """
    if progress is None:
        yield
        return
    passed, thread, (low, high) = list(blocks), get_ident(), span

    def after(done: int) -> Callable[..., None]:
        share = low + (high - low) * done / len(passed)
        # Another thread in the same network has a progress of its own.
        return lambda *_: progress(share, message) if get_ident() == thread else None

    handles = [block.register_forward_hook(after(done)) for done, block in enumerate(passed, 1)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def counting(
    blocks: Iterable[nn.Module], progress: Progress | None, first: int, count: int, total: int
) -> Iterator[None]:
    """Tell of ``count`` of ``total`` sentences, the first of them number ``first``, as `telling`.

    Also tells before the first block.
    """
    message = f"{first} of {total} sentences"
    if progress is not None:
        progress(first / total, message)
    with telling(blocks, progress, message, (first / total, (first + count) / total)):
        yield
