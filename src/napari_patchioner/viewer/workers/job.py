"""The one way to run a thread: a function whose results arrive in the GUI thread."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Qt, Signal

from napari_patchioner.devices import follow_spared_cores, noticed, spared_cores
from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.quiet import add_quiet_filter, ignored_warnings

from .hand import hand

# How much a background thread gives way to all others.
NICE = 10
# How long, in seconds, a notice is not shown again.
NOTICE_S = 60.0
_shown: dict[str, float] = {}
_gc_lock = threading.Lock()
_gc_pauses = 0
_gc_frozen = False
# A thread that held its notifier last would delete it while Qt's loop delivers what it announced,
# and the process would crash: the GUI thread lets go of it, at the next job.
_notifiers: dict[threading.Thread, _Notifier] = {}


def pause_gc() -> None:
    """Leave all present objects out of garbage collection; `resume_gc` has to follow.

    A window with a model in memory holds some million objects. A full collection looks through all
    of them, in any thread, and stops all other threads for a quarter of a second meanwhile.
    """
    global _gc_pauses, _gc_frozen
    with _gc_lock:
        # Objects that other code has frozen must stay frozen.
        if not _gc_pauses and not gc.get_freeze_count():
            gc.freeze()
            _gc_frozen = True
        _gc_pauses += 1


def resume_gc() -> None:
    """Collect everything again, once all work has ended."""
    global _gc_pauses, _gc_frozen
    with _gc_lock:
        _gc_pauses -= 1
        if not _gc_pauses and _gc_frozen:
            gc.unfreeze()
            _gc_frozen = False


@dataclass(eq=False, slots=True)
class JobProgress:
    """The progress of a job, written by its thread and read by the GUI; also the stop sign."""

    fraction: float = 0.0
    message: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __call__(self, fraction: float, message: str) -> None:
        """Note how far the work is; raise `Cancelled` once the job is cancelled."""
        if self.cancelled.is_set():
            raise Cancelled
        self.fraction, self.message = float(fraction), message
        follow_spared_cores()


class _Mailbox:
    """Results on their way; a thread may outlive its job."""

    def __init__(self) -> None:
        self.notifier = _Notifier()
        self.results: deque[object] = deque()
        self.notices: deque[str] = deque()
        self.end: list[Exception | None] = []


class _Notifier(QObject):  # type: ignore[misc]
    """Announces results; it belongs to no widget."""

    arrived = Signal()

    def announce(self) -> None:
        # Qt may be gone by the time the last thread ends.
        with suppress(RuntimeError):
            self.arrived.emit()


class Job(QObject):  # type: ignore[misc]
    """One piece of work in a thread of its own: a function that returns a result or yields several.

    The thread touches no layer and no widget: it gets plain data and gives plain data.
    """

    delivered = Signal(object)
    # With the exception that ended the work, `Cancelled` after `cancel`, or None.
    ended = Signal(object)

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        background: bool = False,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.progress = JobProgress()
        self._mailbox = mailbox = _Mailbox()
        mailbox.notifier.arrived.connect(self._on_arrived, Qt.ConnectionType.QueuedConnection)
        self._thread = threading.Thread(
            target=_run,
            args=(function, arguments, self.progress, mailbox, background),
            name=f"patchioner-{function.__name__}",
        )

    @classmethod
    def run(
        cls,
        function: Callable[..., Any],
        *arguments: Any,
        delivered: Callable[[Any], object],
        ended: Callable[[Exception | None], object],
        background: bool = False,
        parent: QObject | None = None,
    ) -> Job:
        """Start a job and return it; the two are called in the GUI thread."""
        job = cls(function, *arguments, background=background, parent=parent)
        job.delivered.connect(delivered)
        job.ended.connect(ended)
        job.start()
        return job

    def start(self) -> None:
        """Start the thread."""
        pause_gc()
        # Here no other thread's filters are in use that would be put back later.
        add_quiet_filter()
        for ended in [thread for thread in _notifiers if not thread.is_alive()]:
            del _notifiers[ended]
        _notifiers[self._thread] = self._mailbox.notifier
        self._thread.start()

    def cancel(self) -> None:
        """Ask the thread to stop at its next step; results are dropped from now on."""
        self.progress.cancelled.set()

    def drop(self) -> None:
        """Cancel, and announce not even the end: nobody waits for it any more."""
        self.cancel()
        self.blockSignals(True)

    def wait(self) -> None:
        """Wait for the end, and deliver what is not delivered yet."""
        self._thread.join()
        self._on_arrived()

    def _on_arrived(self) -> None:
        while self._mailbox.notices:
            _show_notice(self._mailbox.notices.popleft())
        while self._mailbox.results:
            result = self._mailbox.results.popleft()
            if not self.progress.cancelled.is_set():
                self.delivered.emit(result)
        if self._mailbox.end and not self._mailbox.results:
            error = self._mailbox.end.pop()
            self.ended.emit(Cancelled() if self.progress.cancelled.is_set() else error)
            self.deleteLater()


def _show_notice(message: str) -> None:
    """Show what a person should know of, but not for every region the same."""
    now = time.monotonic()
    if now - _shown.get(message, -NOTICE_S) >= NOTICE_S:
        _shown[message] = now
        show_warning(message)


def error_message(error: Exception, failure: str, advice: str = "") -> str:
    """Return why something failed, in one sentence; errors of this package speak for themselves."""
    if isinstance(error, PatchionerError):
        return str(error)
    return f"{failure} ({type(error).__name__}: {error}){advice}"


def _run(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    progress: JobProgress,
    mailbox: _Mailbox,
    background: bool,
) -> None:
    """Do the work of a job, in its thread."""
    if background and sys.platform == "linux":
        # Only here does a priority apply to one thread alone.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    error: Exception | None = None

    def notice(message: str) -> None:
        mailbox.notices.append(message)
        mailbox.notifier.announce()

    try:
        # napari shows every warning to the person; deprecations in libraries do not concern them.
        with ignored_warnings(), noticed(notice), spared_cores(hand.spared):
            results = function(*arguments, progress)
            # One that is stopped gives back what it has borrowed, such as a model.
            with closing(results) if isinstance(results, Generator) else nullcontext():
                for result in results if isinstance(results, Iterator) else (results,):
                    mailbox.results.append(result)
                    mailbox.notifier.announce()
                    progress(progress.fraction, progress.message)
    except Exception as raised:
        error = raised
    resume_gc()
    mailbox.end.append(error)
    mailbox.notifier.announce()
