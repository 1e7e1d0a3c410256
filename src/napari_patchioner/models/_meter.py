"""Telling a person how far a long piece of work is, and letting them stop it."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, wait
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from ._card import size_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Progress: TypeAlias = Callable[[float, str], object]

T = TypeVar("T")

# How often a person is told something, and may cancel: seconds.
_PAUSE = 0.1
# Seconds over which the speed is averaged.
_WINDOW = 5.0


class Meter:
    """Counts bytes over several files.

    Parameters
    ----------
    progress : callable, optional
        Told the fraction done and a message such as ``"346 of 604 MB, 4.1 MB/s"``; may raise.
    share : float
        The part of the whole work that the bytes are, 0 to 1.
    """

    def __init__(self, progress: Progress | None, share: float = 1.0) -> None:
        self._progress = progress
        self._share = share
        self._recent: deque[tuple[float, int]] = deque()
        self._told = float("-inf")
        self.total = 0
        self.done = 0

    def add(self, count: int, *, moved: bool = True) -> None:
        """Count bytes; those that were here before, not ``moved``, say nothing about the speed."""
        self.done += count
        if moved:
            now = time.monotonic()
            self._recent.append((now, count))
            while self._recent[0][0] < now - _WINDOW:
                self._recent.popleft()
        self.tick()

    def tick(self, note: str = "") -> None:
        """Tell how far it is, unless that was just told."""
        now = time.monotonic()
        if self._progress is None or now - self._told < _PAUSE:
            return
        self._told = now
        fraction = min(self.done / self.total, 1.0) if self.total else 0.0
        self._progress(fraction * self._share, note or self._message(now))

    @property
    def speed(self) -> float:
        """Bytes per second of late."""
        if len(self._recent) < 2:
            return 0.0
        elapsed = time.monotonic() - self._recent[0][0]
        return sum(count for _, count in self._recent) / max(elapsed, 1e-3)

    def _message(self, now: float) -> str:
        whole = size_text(self.total)
        unit = whole.split()[-1]
        text = f"{size_text(self.done, unit).split()[0]} of {whole}"
        return f"{text}, {size_text(round(self.speed))}/s" if self.speed else text


def patiently(work: Callable[[], T], tick: Callable[[], object]) -> T:
    """Do work that may wait for others, such as a server, while a person may still cancel.

    Parameters
    ----------
    work : callable
        Runs in a thread of its own.
    tick : callable
        Called every moment in this thread; what it raises is raised, and the work is left alone.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    while not wait([future], timeout=_PAUSE).done:
        tick()
    return future.result()
