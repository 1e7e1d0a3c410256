"""Work that nobody waits for: in a thread of its own, which gives way to all others."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_patchioner.errors import Cancelled
from napari_patchioner.viewer.reading import calm
from napari_patchioner.viewer.reading.worker import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NICE = 10


class Errand(QObject):
    """Runs a generator function, with its results as signals in the window's thread.

    Not a task in Qt's pool: there it would take the place of work for the image at hand.

    Parameters
    ----------
    function : callable
        Takes the arguments and a `Progress`, which raises ``Cancelled`` when nobody waits any
        more; yields results.
    *arguments
        Plain data.
    parent : QObject, optional
        Whoever wants the results, and cancels the errand before its own end.
    """

    delivered = Signal(object)
    # With the exception that ended it, or None; never after `cancel`.
    ended = Signal(object)
    _arrived = Signal(str, object)

    def __init__(
        self,
        function: Callable[..., Iterator[Any]],
        *arguments: Any,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.progress = Progress()
        self._door = _Door(self)
        # Queued: it comes from another thread.
        self._arrived.connect(self._on_arrived, Qt.ConnectionType.QueuedConnection)
        self._thread = threading.Thread(
            target=_run,
            args=(function, arguments, self.progress, self._door),
            name="patchioner-errand",
        )

    def start(self) -> None:
        """Set out."""
        calm.begin()
        self._thread.start()

    def cancel(self) -> None:
        """Have it stop at its next step; nothing of it arrives any more."""
        self.progress.cancelled.set()
        self._door.close()
        self.deleteLater()

    def _on_arrived(self, what: str, value: object) -> None:
        if self.progress.cancelled.is_set():
            return
        if what == "result":
            self.delivered.emit(value)
            return
        self._door.close()
        self.ended.emit(value)
        self.deleteLater()


class _Door:
    """Lets results in to an errand, as long as that is there."""

    def __init__(self, errand: Errand) -> None:
        self._errand: Errand | None = errand
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._errand = None

    def let_in(self, what: str, value: object) -> None:
        with self._lock:
            if self._errand is not None:
                # The window went without a word.
                with suppress(RuntimeError):
                    self._errand._arrived.emit(what, value)


def _run(
    function: Callable[..., Iterator[Any]],
    arguments: tuple[Any, ...],
    progress: Progress,
    door: _Door,
) -> None:
    _give_way()
    error: Exception | None = None
    try:
        for result in function(*arguments, progress):
            progress(progress.fraction, progress.message)
            door.let_in("result", result)
    except Exception as problem:
        error = problem
    calm.end()
    if not isinstance(error, Cancelled):
        door.let_in("end", error)


def _give_way() -> None:
    """Let all other threads go first, where one thread alone can be told so."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
