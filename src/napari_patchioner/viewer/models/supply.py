"""Getting, removing and adding models: one at a time, each in a worker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.viewer.reading.worker import Job, reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_patchioner.viewer.reading.library import Library
    from napari_patchioner.viewer.reading.worker import Progress


@reporting
def get_model(
    library: Library, model: str, folder: Path | None, progress: Progress
) -> Generator[str, None, None]:
    """Download a model or copy it from a folder; yield its id."""
    progress(0.0, "looking for the files")
    library.get(model, folder, progress)
    yield model


@reporting
def remove_model(library: Library, model: str, progress: Progress) -> Generator[int, None, None]:
    """Delete a model; yield the bytes that freed."""
    progress(0.0, "removing")
    yield library.remove(model)


@reporting
def add_model(library: Library, folder: Path, progress: Progress) -> Generator[str, None, None]:
    """Take in somebody's own model; yield its id."""
    progress(0.0, "reading the preset")
    yield library.add(folder, progress)


class Supply(QObject):
    """Has at most one worker get, remove or add a model.

    Attributes
    ----------
    job : Job, optional
        The work, while there is some.
    model : str
        Id of the model that is being got, if any.
    stoppable : bool
        Whether it can be stopped half-way, as all can but removing.

    Parameters
    ----------
    library : Library
        The models.
    parent : QObject, optional
        Whoever wants them.
    """

    changed = Signal()
    told = Signal(str)
    got = Signal(str)
    # Freed bytes as an object: Qt's own integers end at two gigabytes.
    removed = Signal(str, object)
    added = Signal(str)

    def __init__(self, library: Library, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job: Job | None = None
        self.model = ""
        self.stoppable = False
        self._library = library

    @property
    def active(self) -> bool:
        """Whether a worker is at it."""
        return self.job is not None

    def get(self, model: str, folder: Path | None = None) -> None:
        """Download a model, or copy it from a folder."""
        self.model, self.stoppable = model, True
        self._run(self.got.emit, get_model, model, folder)

    def remove(self, model: str) -> None:
        """Delete a model."""
        self._run(partial(self.removed.emit, model), remove_model, model)

    def add(self, folder: Path) -> None:
        """Take in a folder with a model of somebody's own."""
        self.stoppable = True
        self._run(self.added.emit, add_model, folder)

    def cancel(self) -> None:
        """Wait no longer; the worker notices at its next step and keeps what it got so far."""
        if self.job is not None:
            self.job.cancel()
            self._end()

    def _run(
        self, done: Callable[[Any], None], function: Callable[..., Any], *arguments: Any
    ) -> None:
        job = Job(function, self._library, *arguments, parent=self)
        job.delivered.connect(partial(self._on_delivered, job, done))
        job.ended.connect(partial(self._on_ended, job))
        self.job = job
        job.start()
        self.changed.emit()

    def _on_delivered(self, job: Job, done: Callable[[Any], None], result: Any) -> None:
        if job is self.job:
            self._end()
            done(result)

    def _on_ended(self, job: Job, error: Exception | None) -> None:
        if job is self.job:
            self._end()
            self.told.emit(_trouble(error) if error else "")

    def _end(self) -> None:
        self.job, self.model, self.stoppable = None, "", False
        self.changed.emit()


def _trouble(error: Exception) -> str:
    """Return what went wrong, in one sentence."""
    if isinstance(error, PatchionerError):
        return str(error)
    if isinstance(error, Cancelled):
        return "cancelled"
    return f"that did not work ({type(error).__name__}: {error}); try again"
