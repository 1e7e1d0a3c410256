"""Writing captions: takes what the session wants, and brings back what the model says."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.viewer.layers.geometry import own_axes, record_outline

from .large import Overview
from .worker import Job, write_captions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.viewer.session.record import Plane, Record, Request
    from napari_patchioner.viewer.session.session import Session

    from .library import Library
    from .reader import Reader
    from .worker import Answer, Progress, Task


class _Need(NamedTuple):
    """What a pooling reads from the grid besides the patches."""

    field: str
    name: str


# Batches below are over before anybody could press Cancel.
WATCHED = 32
SEVERAL = "its corners lie on several planes; draw it anew on one"
NEEDS = {"attention": _Need("attention", "attention"), "cls": _Need("cls", "class token")}


class Scribe(QObject):
    """Has at most one batch of captions with a worker; the rest waits in the session.

    Parameters
    ----------
    session : Session
        What is wanted, and where answers go.
    reader : Reader
        The grids and the captioner.
    library : Library
        Where models come from.
    parent : QObject, optional
        Whoever shows the captions.
    """

    written = Signal()
    told = Signal(str)

    def __init__(
        self,
        session: Session,
        reader: Reader,
        library: Library,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.options: dict[str, Any] = {}
        self._session = session
        self._reader = reader
        self._library = library
        self._job: Job | None = None
        self._used: dict[str, Any] = {}
        self._size = 0
        self._far = False
        self._open: set[Request] = set()

    @property
    def active(self) -> bool:
        """Whether a worker is captioning."""
        return self._job is not None

    def work(self) -> None:
        """Send all captions that are wanted and possible to a worker, unless it has some."""
        self._refuse()
        if self._job is not None or self._reader.active or not self._reader.ready:
            return
        tasks = self._tasks()
        if not tasks:
            return
        self._open = {task[0] for task in tasks}
        model, options = self._reader.model, self.options_for(grid for _, _, grid in tasks)
        job = Job(write_captions, self._library, model, tasks, options, parent=self)
        self._used, self._size = options, len(tasks)
        self._far = any(isinstance(grid, Overview) for _, _, grid in tasks)
        job.delivered.connect(partial(self._on_delivered, job, model))
        job.ended.connect(partial(self._on_ended, job))
        self._job = job
        job.start()

    def close(self) -> None:
        """Drop the batch a worker has in hand; its captions are wanted again."""
        if self._job is not None:
            self._job.cancel()
        self._job = None
        self._session.give_back(self._open)
        self._open = set()

    def cancel(self) -> None:
        """Stop writing; what is not written yet stays empty until it is asked for again."""
        if self._job is not None:
            self._job.cancel()
        self._job = None
        for request in self._open:
            self._session.fail(request, "cancelled; press Caption again to have it written")
        self._open = set()
        self.written.emit()

    @property
    def progress(self) -> Progress | None:
        """How far a batch is that is long enough to be watched."""
        long = self._job is not None and (self._size > WATCHED or self._far)
        return self._job.progress if long else None

    def options_for(self, grids: Iterable[FeatureGrid]) -> dict[str, Any]:
        """Return the options, without a pooling that the model has nothing for."""
        options = {name: value for name, value in self.options.items() if name != "union"}
        missing = NEEDS.get(options.get("pooling"))
        if missing is None or all(getattr(grid, missing.field) is not None for grid in grids):
            return options
        self.told.emit(f"this model has no {missing.name}; its own way of pooling is used instead")
        return {**options, "pooling": None}

    def _refuse(self) -> None:
        """Say of regions on no single plane why they have no caption."""
        session = self._session
        refused = session.take(lambda record: own_axes(record, session) is None)
        for request in refused:
            session.fail(request, SEVERAL)
        if refused:
            self.told.emit(f"A region has no caption: {SEVERAL}.")
            self.written.emit()

    def _tasks(self) -> list[Task]:
        """Take all requests whose grid is there, each with what outlines its region."""
        session, union = self._session, bool(self.options.get("union"))
        places: dict[str, tuple[Plane, FeatureGrid]] = {}

        def ready(record: Record) -> bool:
            found = self._reader.plane_and_grid(record, session)
            if found is not None:
                places[record.uid] = found
            return found is not None

        tasks = []
        for request in session.take(ready):
            (plane, grid), record = places[request.uid], session.records[request.uid]
            outline = record_outline(record, session, plane.axes, union=union)
            tasks.append((request, outline, grid))
        return tasks

    def _on_delivered(self, job: Job, model: str, answers: list[Answer]) -> None:
        if job is not self._job:
            return
        with self._session.together():
            for request, answer in answers:
                self._open.discard(request)
                if isinstance(answer, PatchionerError):
                    self._session.fail(request, str(answer))
                else:
                    self._session.deliver(request, answer, model, self._origin(request))
        self.written.emit()

    def _origin(self, request: Request) -> dict[str, Any]:
        """Return what a caption is made from, as plain values."""
        record = self._session.records.get(request.uid)
        found = self._reader.plane_and_grid(record, self._session) if record else None
        if found is None:
            return {}
        plane, grid = found
        options = {name: value for name, value in self._used.items() if value is not None}
        origin = {**self._reader.provenance(plane), "options": options}
        if isinstance(grid, Overview) and grid.plane is not None and record is not None:
            # A shape that has changed meanwhile may be none; its caption is not taken either.
            with suppress(PatchionerError):
                region = record_outline(record, self._session, plane.axes)()
                origin["looked"] = grid.plane.notes(region, zoom=bool(options.get("zoom")))
        return origin

    def _on_ended(self, job: Job, error: Exception | None) -> None:
        if job is not self._job:
            return
        self._job = None
        if error is not None and not isinstance(error, Cancelled):
            message = _trouble(error)
            for request in self._open:
                self._session.fail(request, message)
            self.told.emit(message)
        self._open = set()
        self.written.emit()


def _trouble(error: Exception) -> str:
    """Return why there are no captions, in one sentence."""
    if isinstance(error, PatchionerError):
        return str(error)
    return f"the captions could not be written ({type(error).__name__}: {error})"
