"""Saving without being asked: soon after every change, and never twice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from qtpy.QtCore import QObject, Qt, QTimer, Signal, Slot

from napari_patchioner.annotations import Project
from napari_patchioner.progress import Progress
from napari_patchioner.viewer.workers.job import Job, error_message

# Saved when the person pauses, and in any case before two seconds of work can be lost: a busy
# machine lets a timer and a file take as long again. What the last file took comes off.
REST_MS, LATEST_MS, SOONEST_MS, RETRY_MS = 250, 500, 150, 4000
FAILURE = "the project could not be saved"


def write_project(writer: Callable[[Project], Path], project: Project, _progress: Progress) -> Path:
    """Write a project; return the path it is in."""
    return writer(project)


class Autosave(QObject):  # type: ignore[misc]
    """Writes a project in a worker, a moment after the last change.

    `source` returns the work, or None where nothing of it is new; `writer`, in a thread, the path.
    """

    # With the path; None where there was nothing to save.
    saved = Signal(object)
    failed = Signal(str)

    def __init__(
        self,
        source: Callable[[], Project | None],
        writer: Callable[[Project], Path],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        # Where the work is saved, and why the last attempt failed, in one sentence
        self.path: Path | None = None
        self.problem = ""
        self._source = source
        self._writer = writer
        self._changed = self._held = False
        self._job: Job | None = None
        self._begun = self._took = self._due = 0.0
        self._rest = self._timer(REST_MS)
        self._latest = self._timer(LATEST_MS)

    @property
    def unsaved(self) -> bool:
        """Whether there is work that is not in a file yet."""
        return self._changed or self._job is not None

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

    @Slot()  # type: ignore[untyped-decorator]
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
        # While the program is kept busy no timer fires.
        if monotonic() > self._due:
            self._save()

    def flush(self) -> bool:
        """Save now what is not saved, and wait for it; return whether all is saved."""
        self._wait()
        if self._changed:
            self._begin()
            self._wait()
        self._stop_timers()
        return not self._changed

    def drop(self) -> None:
        """Give up what is not saved."""
        self._wait()
        self._stop_timers()
        self._changed = False

    def _timer(self, interval: int) -> QTimer:
        # Two precise timers instead of a debouncer: their intervals depend on each other.
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
        if self._changed and self._job is None and not self._held:
            self._begin()

    def _begin(self) -> None:
        """Take the work as it is and hand it to a worker."""
        self._stop_timers()
        self._changed = False
        self._begun = monotonic()
        project = self._source()
        if project is None:
            self.saved.emit(None)
            return
        written, ended = self._on_written, self._on_ended
        self._job = Job.run(
            write_project, self._writer, project, delivered=written, ended=ended, parent=self
        )

    def _wait(self) -> None:
        """Wait for the save under way, without beginning the next one."""
        if self._job is not None:
            held, self._held = self._held, True
            self._job.wait()
            self._held = held

    def _on_written(self, path: Path) -> None:
        self.path, self.problem = path, ""

    def _on_ended(self, error: Exception | None) -> None:
        """Begin the next save if it is due; after a failure, try again later."""
        self._job = None
        self._took = monotonic() - self._begun
        if error is None:
            self.saved.emit(self.path)
        else:
            before, self.problem = self.problem, error_message(error, FAILURE)
            self._changed = True
            self._latest.start(RETRY_MS)
            if self.problem != before:
                self.failed.emit(self.problem)
        due = not (self._rest.isActive() and self._latest.isActive())
        if self._changed and due and not self.problem and not self._held:
            self._begin()
