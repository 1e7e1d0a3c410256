"""Saving without being asked: soon after every change, and never twice at a time."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal, Slot

from napari_patchioner.errors import PatchionerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_patchioner.annotations import Project

# Saved when the hand rests, and in any case before two seconds of work can be lost: a busy
# machine lets a timer and a file take as long again. What the last file took comes off.
REST_MS, LATEST_MS, SOONEST_MS, RETRY_MS = 250, 500, 150, 4000


class Autosave(QObject):
    """Writes a project in a thread of its own, a moment after the last change.

    Parameters
    ----------
    source : callable
        Returns the work as it is, quickly, or None where nothing of it is new; called in the
        GUI thread.
    writer : callable
        Writes a project and returns the path it is in; called in a thread, never twice at once.
        Its errors are told.
    parent : QObject, optional
        Whoever changes the work.

    Attributes
    ----------
    path : Path, optional
        Where the work is saved; None before the first time.
    problem : str
        Why the last attempt to save failed, in one sentence.
    """

    # With the path; None where there was nothing to save.
    saved = Signal(object)
    failed = Signal(str)
    _ended = Signal(object)

    def __init__(
        self,
        source: Callable[[], Project | None],
        writer: Callable[[Project], Path],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.path: Path | None = None
        self.problem = ""
        self._source = source
        self._writer = writer
        self._changed = False
        self._held = False
        self._thread: Thread | None = None
        self._begun = self._took = self._due = 0.0
        self._outcome: Any = None
        self._rest = self._timer(REST_MS)
        self._latest = self._timer(LATEST_MS)
        # Queued: it comes from the thread that writes.
        self._ended.connect(self._on_ended, Qt.ConnectionType.QueuedConnection)

    @property
    def unsaved(self) -> bool:
        """Whether there is work that is not in a file yet."""
        return self._changed or self._thread is not None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Save nothing meanwhile: half of what is being restored would replace the whole."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._changed:
                self.touch()

    @Slot()
    def touch(self, *_: object) -> None:
        """Take note that something has changed."""
        if self._held:
            self._changed = True
            return
        if not self._latest.isActive() or self.problem:
            wait = max(SOONEST_MS, LATEST_MS - round(1000 * self._took))
            self._latest.start(wait)
            self._due = monotonic() + wait / 1000
        self._changed = True
        self._rest.start(REST_MS)
        # A hand that keeps the program busy lets no timer come to its turn.
        if monotonic() > self._due:
            self._save()

    def flush(self) -> bool:
        """Save now what is not saved, and wait for it; return whether all is saved."""
        self._finish()
        if self._changed:
            self._begin()
            self._finish()
        self._stop_timers()
        return not self._changed

    def drop(self) -> None:
        """Give up what is not saved."""
        self._finish()
        self._stop_timers()
        self._changed = False

    def _timer(self, interval: int) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.setInterval(interval)
        timer.timeout.connect(self._save)
        return timer

    def _stop_timers(self) -> None:
        self._rest.stop()
        self._latest.stop()

    def _save(self) -> None:
        """Save unless a save is under way, whose end will then begin the next one."""
        if self._changed and self._thread is None and not self._held:
            self._begin()

    def _begin(self) -> None:
        """Take the work as it is and hand it to a thread."""
        self._stop_timers()
        self._changed = False
        self._begun = monotonic()
        project = self._source()
        if project is None:
            self.saved.emit(None)
            return
        self._outcome = None
        # A thread, not a task in Qt's pool: there it would wait behind the models' work.
        self._thread = Thread(target=self._write, args=(project,), name="patchioner-autosave")
        self._thread.start()

    def _write(self, project: Project) -> None:
        try:
            self._outcome = self._writer(project)
        except Exception as error:
            self._outcome = error
        try:
            self._ended.emit(self._thread)
        except RuntimeError:
            # The window went in the meantime; the file is written all the same.
            return

    def _on_ended(self, thread: Thread) -> None:
        if thread is not self._thread:
            return
        self._finish()
        waiting = self._rest.isActive() and self._latest.isActive()
        if self._changed and not waiting and not self.problem and not self._held:
            self._begin()

    def _finish(self) -> None:
        """Wait for the save under way, and see how it ended."""
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        self._took = monotonic() - self._begun
        if isinstance(self._outcome, Exception):
            self._on_failed(self._outcome)
            return
        self.path, self.problem = self._outcome, ""
        self.saved.emit(self.path)

    def _on_failed(self, error: Exception) -> None:
        """Tell once, and try again later or at the next change."""
        told, self.problem = self.problem, sentence(error)
        self._changed = True
        self._latest.start(RETRY_MS)
        if self.problem != told:
            self.failed.emit(self.problem)


def sentence(error: Exception) -> str:
    """Return why something could not be saved."""
    if isinstance(error, PatchionerError):
        return str(error)
    return f"the project could not be saved ({type(error).__name__}: {error})"
