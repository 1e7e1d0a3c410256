"""The images of a folder with how far each is, found and read in the background."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalThrottler

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.workers.encode import current_store
from napari_patchioner.viewer.workers.job import Job
from napari_patchioner.viewer.workers.prefetch import ImageFile, endings

from .files import NEW, Status, StatusReader, list_images, seen_marks, tick

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_patchioner.progress import Progress

    from .files import Only

    Result = list[ImageFile] | dict[str, Status] | None

SETTLE_MS = 200
# Images shown at a time, while a folder is searched.
TOGETHER = 500


def search_folder(
    folder: Path, taken: Collection[str], reader: StatusReader, progress: Progress
) -> Iterator[Result]:
    """Yield the images of a folder, None when these were all, then how far they are."""
    files: list[ImageFile] = []
    shown = 0
    for images in list_images(folder, taken, progress):
        files += images
        # The first ones at once; folders of a few images each not one by one.
        if len(files) - shown >= (TOGETHER if shown else 1):
            yield files[shown:]
            shown = len(files)
    yield files[shown:]
    yield None
    yield from reader.read(files)


def read_statuses(
    files: Sequence[ImageFile], reader: StatusReader, progress: Progress
) -> Iterator[Result]:
    """Yield how far images are."""
    progress(0.0, "looking")
    yield from reader.read(files)


class Listing(QObject):  # type: ignore[misc]
    """A folder's images; those that the filter lets through are the rows of the list.

    Attributes
    ----------
    folder : Path, optional
        Which folder.
    files : list of ImageFile
        All images in it, in order.
    rows : list of ImageFile
        Those that are shown.
    statuses : dict of str to Status
        By name, as far as they are known.
    """

    changed = Signal()
    # Names whose status is another one.
    advanced = Signal(set)
    listed = Signal()
    messaged = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.files: list[ImageFile] = []
        self.rows: list[ImageFile] = []
        self.statuses: dict[str, Status] = {}
        self.kept: ImageFile | None = None
        self._filter: tuple[str, Only] = ("", "all")
        # By name, in `files`; out of date where these are fresh.
        self._indices: dict[str, int] = {}
        self._fresh = False
        self._coming: list[ImageFile] | None = None
        self._jobs: list[Job] = []
        self._stale: dict[str, ImageFile] = {}
        self._reader = StatusReader(lambda key: bool(key) and self._store.holds(key))
        self._news = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._news.setTimeout(SETTLE_MS)
        self._news.triggered.connect(self._read_stale)

    @property
    def active(self) -> bool:
        """Whether the folder is being searched or statuses are read."""
        return bool(self._jobs)

    def open(self, folder: Path) -> None:
        """Show the images of a folder, as they are found."""
        self.close()
        self.folder, self.files, self.statuses, self._fresh = folder, [], {}, True
        self.kept, self._coming = None, None
        self._refilter()
        self._search(folder)

    def refresh(self) -> None:
        """Search the folder once more; the list stays until that is done."""
        if self.folder is not None:
            self.close()
            self._coming = []
            self._search(self.folder)

    def close(self) -> None:
        """Stop all jobs."""
        self._news.cancel()
        for job in self._jobs:
            job.cancel()
        self._jobs.clear()

    def status(self, file: ImageFile) -> Status:
        """Return how far an image is, as far as that is known by now."""
        return self.statuses.get(file.name, NEW)

    def filter(self, text: str, only: Only) -> None:
        """Show the images whose name holds a text, and that are so far."""
        self._filter = (text.casefold(), only)
        self._refilter()

    def keep(self, file: ImageFile | None) -> None:
        """Show an image whatever the filter says: it is the one in the window."""
        self.kept = file
        self._refilter()

    def find(self, name: str) -> ImageFile | None:
        """Return an image by its name within the folder."""
        index = self._indices.get(name)
        return self.files[index] if index is not None else None

    def neighbour(self, file: ImageFile | None, by: int) -> ImageFile | None:
        """Return the next row (1) or the one before (-1) that can be opened.

        A file that the filter has hidden since still says from where; without one, all are ahead.
        """

        def index_of(row: ImageFile) -> int:
            return self._indices[row.name]

        index = self._indices.get(file.name, -1) if file is not None else -1
        if by > 0:
            others = self.rows[bisect_right(self.rows, index, key=index_of) :]
        else:
            others = self.rows[: bisect_left(self.rows, index, key=index_of)][::-1]
        return next((other for other in others if not self.status(other).problem), None)

    def tick(self, files: Iterable[ImageFile], done: bool) -> None:
        """Note that images are done, or that they are not."""
        for file in files:
            try:
                tick(file.path, done)
            except PatchionerError as error:
                self.messaged.emit(str(error))
                return
            self.reread(file)

    def note(self, file: ImageFile, **facts: Any) -> None:
        """Note what this machine has seen of an image; a full disk is no reason to stop."""
        try:
            seen_marks(file.path.parent).note(file.path.name, **facts)
        except OSError as error:
            self.messaged.emit(f"what was read cannot be noted ({error.strerror or error})")
        self.reread(file)

    def show_problem(self, file: ImageFile, why: str) -> None:
        """Show at once that an image cannot be opened, so that it is not tried again."""
        self._on_statuses({file.name: replace(self.status(file), problem=why)})

    def reread(self, file: ImageFile) -> None:
        """Read soon how far an image has come."""
        self._stale[file.name] = file
        self._news.throttle()

    # details

    def _search(self, folder: Path) -> None:
        self._send(search_folder, folder, endings(), self._reader)
        self.changed.emit()

    def _read_stale(self) -> None:
        files = [file for name, file in self._stale.items() if self.find(name) is not None]
        self._stale.clear()
        if files:
            self._send(read_statuses, files, self._reader)

    def _send(self, function: Callable[..., Iterator[Result]], *arguments: Any) -> None:
        self._store = current_store(bool(preference("cache", "on_disk")))
        job = Job(function, *arguments, background=True, parent=self)
        job.delivered.connect(self._on_delivered)
        job.ended.connect(partial(self._on_ended, job))
        self._jobs.append(job)
        job.start()

    def _on_delivered(self, result: Result) -> None:
        if isinstance(result, dict):
            self._on_statuses(result)
        elif result is None:
            if self._coming is not None:
                self.files, self._coming, self._fresh = self._coming, None, True
            self._refilter()
            self.listed.emit()
        elif self._coming is not None:
            self._coming += result
        else:
            self.files += result
            self._refilter()

    def _on_statuses(self, statuses: dict[str, Status]) -> None:
        news = {name for name, status in statuses.items() if self.statuses.get(name) != status}
        if not news:
            return
        self.statuses.update(statuses)
        if self._filter[1] != "all":
            self._refilter()
        self.advanced.emit(news)

    def _on_ended(self, job: Job, error: Exception | None) -> None:
        if job not in self._jobs:
            return
        self._jobs.remove(job)
        self._coming = None
        if error is not None and not isinstance(error, Cancelled):
            self.messaged.emit(str(error))
        self.changed.emit()

    def _refilter(self) -> None:
        if len(self._indices) != len(self.files) or self._fresh:
            self._indices = {file.name: index for index, file in enumerate(self.files)}
            self._fresh = False
        text, only = self._filter
        self.rows = [
            file
            for file in self.files
            if file is self.kept
            or (text in file.name.casefold() and self.status(file).is_among(only))
        ]
        self.changed.emit()
