"""Work off the GUI thread: reading an image and writing captions.

The generator functions here run in worker threads. They touch no layer and no widget: they get
plain data, yield plain data, and ask a shared `Progress` whether to go on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from threading import Event
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker
from qtpy.QtCore import QObject, Signal, Slot

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.viewer.layers.geometry import untangled

from . import calm
from .large import LargePlane, Overview
from .weighing import Manner

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption
    from napari_patchioner.grids import FeatureGrid, GridStore
    from napari_patchioner.regions import Region
    from napari_patchioner.viewer.session.record import Request

    from .library import Library
    from .picture import PlaneSource

    # The region is outlined by the worker: of thousands it takes longer than a window may wait.
    Task = tuple[Request, Callable[[], Region], FeatureGrid]
    Answer = tuple[Request, Caption | PatchionerError]

# Regions decoded between two looks at whether anybody still waits for them.
BATCH = 16


def _never() -> bool:
    return False


@dataclass(eq=False, slots=True)
class Progress:
    """How far the work is, written by the worker and read by the GUI; also the stop sign."""

    fraction: float = 0.0
    message: str = ""
    cancelled: Event = field(default_factory=Event)
    aborted: Callable[[], bool] = _never

    def __call__(self, fraction: float, message: str) -> None:
        """Report from the worker; raise `Cancelled` when nobody waits any more."""
        if self.cancelled.is_set() or self.aborted():
            raise Cancelled
        self.fraction, self.message = float(fraction), message

    def part(self, start: float, stop: float, message: str = "") -> Callable[[float, str], None]:
        """Return a callback for a step from `start` to `stop`, with one message of its own."""
        return lambda done, told: self(start + (stop - start) * done, message or told)


@dataclass(frozen=True, slots=True)
class _Failure:
    """An exception on its way to the GUI thread, kept from napari's own error dialog."""

    error: Exception


def reporting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a generator function that returns what went wrong instead of raising it."""

    @wraps(function)
    def guarded(*arguments: Any) -> Generator[Any, Any, _Failure | None]:
        # The worker relays every warning to the person; a library's deprecations are not theirs.
        warnings.simplefilter("ignore")
        try:
            yield from function(*arguments)
        except Exception as error:
            return _Failure(error)
        return None

    return guarded


@reporting
def read_image(
    library: Library,
    model: str,
    source: PlaneSource,
    store: GridStore | None,
    progress: Progress,
) -> Generator[tuple[FeatureGrid, Manner], None, None]:
    """Load the model, read the plane, encode it; yield the grid and how regions are put on it."""
    progress(0.0, "loading the model")
    with library.using(model, progress.part(0.0, 0.3)) as captioner:
        progress(0.3, "reading the image")
        grid = look(captioner, source, store, progress)
        manner = Manner.of(captioner)
    progress(1.0, "done")
    yield grid, manner


def look(
    captioner: Captioner, source: PlaneSource, store: GridStore | None, progress: Progress
) -> FeatureGrid:
    """Return the grid of a plane; of one too large for one look, its overview."""
    if source.sizes and hasattr(captioner, "pyramid"):
        return LargePlane(source.sizes, store).overview(captioner, progress.part(0.3, 1.0))
    keep = {"store": store} if "store" in signature(captioner.encode).parameters else {}
    grid = captioner.encode(source.read(), progress=progress.part(0.35, 1.0), **keep)
    return source.in_full_pixels(grid)


@reporting
def glance(
    library: Library,
    model: str,
    grid: FeatureGrid,
    region: Region,
    options: dict[str, Any],
    progress: Progress,
) -> Generator[Caption, None, None]:
    """Caption one region; yield the caption."""
    with library.using(model, progress) as captioner:
        usual = {name: value for name, value in options.items() if name != "zoom"}
        [caption] = captioner.caption(grid, [region], progress=progress, **usual)
    yield caption


@reporting
def write_captions(
    library: Library,
    model: str,
    tasks: Sequence[Task],
    options: dict[str, Any],
    progress: Progress,
) -> Generator[list[Answer], None, None]:
    """Caption regions in batches, each batch on one grid; yield pairs of request and answer."""
    done = 0
    for grid, batch in _batches(tasks):
        message = f"captioning: {done} of {len(tasks)}"
        start, stop = done / len(tasks), (done + len(batch)) / len(tasks)
        progress(start, message)
        tell = progress.part(start, stop, message)
        # Never across a yield: a worker that is stopped there keeps what it holds.
        with library.using(model, progress) as captioner:
            answers = _caption_tasks(captioner, grid, batch, options, tell)
        done += len(batch)
        yield answers


def _batches(tasks: Sequence[Task]) -> Generator[tuple[FeatureGrid, list[Task]], None, None]:
    """Yield the tasks a few at a time, those of one grid together."""
    on_grid: dict[int, list[Task]] = {}
    for task in tasks:
        on_grid.setdefault(id(task[2]), []).append(task)
    for together in on_grid.values():
        for start in range(0, len(together), BATCH):
            yield together[0][2], together[start : start + BATCH]


def _caption_tasks(
    captioner: Captioner,
    grid: FeatureGrid,
    tasks: Sequence[Task],
    options: dict[str, Any],
    tell: Callable[[float, str], None],
) -> list[Answer]:
    """Outline regions and caption them; what outlines no region is answered with the reason."""
    batch: list[tuple[Request, Region]] = []
    answers: list[Answer] = []
    for request, outline, _ in tasks:
        try:
            batch.append((request, untangled(outline())))
        except PatchionerError as error:
            answers.append((request, error))
    return answers + (_caption_batch(captioner, grid, batch, options, tell) if batch else [])


def _caption_batch(
    captioner: Captioner,
    grid: FeatureGrid,
    batch: Sequence[tuple[Request, Region]],
    options: dict[str, Any],
    tell: Callable[[float, str], None],
) -> list[Answer]:
    """Caption a batch; where one region is at fault, the others still get their caption."""
    try:
        regions = [region for _, region in batch]
        captions = _write(captioner, grid, regions, options, tell)
    except PatchionerError as error:
        if len(batch) == 1:
            return [(batch[0][0], error)]
        singles = (_caption_batch(captioner, grid, [task], options, tell) for task in batch)
        return [answer for single in singles for answer in single]
    return [(task[0], caption) for task, caption in zip(batch, captions, strict=True)]


def _write(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    options: Mapping[str, Any],
    tell: Callable[[float, str], None],
) -> list[Caption]:
    """Caption regions from a grid, or where that is an overview, from closer."""
    if isinstance(grid, Overview) and grid.plane is not None:
        return grid.plane.caption(captioner, regions, progress=tell, **options)
    usual = {name: value for name, value in options.items() if name != "zoom"}
    return captioner.caption(grid, regions, progress=tell, **usual)


class Job(QObject):
    """One piece of work in a worker thread, with its signals in the GUI thread.

    Parameters
    ----------
    function : generator function
        One of this module; it gets the arguments and a `Progress`.
    *arguments
        Plain data.
    parent : QObject
        Whose end also ends the interest in the results.
    """

    delivered = Signal(object)
    ended = Signal(object)

    def __init__(
        self, function: Callable[..., Any], *arguments: Any, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.progress = Progress()
        self._failure: Exception | None = None
        # Not by way of create_worker: the window would keep every worker, with all it has seen.
        self._worker = worker = GeneratorWorker(function, *arguments, self.progress)
        self.progress.aborted = lambda: bool(worker.abort_requested)
        worker.yielded.connect(self._on_yielded)
        worker.returned.connect(self._on_returned)
        worker.finished.connect(self._on_finished)
        # Not by way of this object, which may be gone by then.
        worker.finished.connect(calm.end)

    def start(self) -> None:
        """Hand the work to a thread."""
        calm.begin()
        self._worker.start()

    def cancel(self) -> None:
        """Ask the work to stop at its next step; its results are dropped from now on."""
        self.progress.cancelled.set()
        self._worker.quit()

    @Slot(object)
    def _on_yielded(self, result: object) -> None:
        if result is not None and not self.progress.cancelled.is_set():
            self.delivered.emit(result)

    @Slot(object)
    def _on_returned(self, result: object) -> None:
        self._failure = result.error if isinstance(result, _Failure) else None

    @Slot()
    def _on_finished(self) -> None:
        stopped = self.progress.cancelled.is_set() or self._worker.abort_requested
        self.ended.emit(Cancelled() if stopped else self._failure)
        self.progress.aborted = _never
        self.deleteLater()
