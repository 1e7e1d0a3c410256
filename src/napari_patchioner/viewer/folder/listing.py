"""The images of a folder with how far each is, found and read in the background."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.reading.reader import current_store

from ._files import ImageFile, list_images
from ._marks import seen_marks, tick
from ._status import NEW, Status, StatusReader
from .errand import Errand
from .opening import endings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_patchioner.viewer.reading.worker import Progress

    from ._status import Only

    Result = list[ImageFile] | dict[str, Status] | None

SETTLE_MS = 200
# Images shown at a time, while a folder is looked through.
TOGETHER = 500


def look_through(
    folder: Path, taken: Collection[str], reader: StatusReader, progress: Progress
) -> Iterator[Result]:
    """Yield the images of a folder, None when these were all, then how far they are."""
    files: list[ImageFile] = []
    told = 0
    for found in list_images(folder, taken, lambda name: progress(0.0, name)):
        files += found
        # The first ones at once; folders of a few images each not one by one.
        if len(files) - told >= (TOGETHER if told else 1):
            yield files[told:]
            told = len(files)
    yield files[told:]
    yield None
    yield from reader.read(files)


def look_again(
    files: Sequence[ImageFile], reader: StatusReader, progress: Progress
) -> Iterator[Result]:
    """Yield how far images are."""
    progress(0.0, "looking")
    yield from reader.read(files)


class Listing(QObject):
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
        By name, of the images looked at so far.
    """

    changed = Signal()
    # Names whose status is another one.
    advanced = Signal(set)
    listed = Signal()
    told = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.files: list[ImageFile] = []
        self.rows: list[ImageFile] = []
        self.statuses: dict[str, Status] = {}
        self.kept: ImageFile | None = None
        self._filter: tuple[str, Only] = ("", "all")
        # By name, in `files`; out of date where these are fresh.
        self._places: dict[str, int] = {}
        self._fresh = False
        self._coming: list[ImageFile] | None = None
        self._errands: list[Errand] = []
        self._stale: dict[str, ImageFile] = {}
        self._reader = StatusReader(lambda key: bool(key) and self._store.holds(key))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._look_again)

    @property
    def active(self) -> bool:
        """Whether the folder is being looked through."""
        return bool(self._errands)

    def open(self, folder: Path) -> None:
        """Show the images of a folder, as they are found."""
        self.close()
        self.folder, self.files, self.statuses, self._fresh = folder, [], {}, True
        self.kept, self._coming = None, None
        self._refilter()
        self._look_through()

    def refresh(self) -> None:
        """Look through the folder once more; the list stays until that is done."""
        if self.folder is not None:
            self.close()
            self._coming = []
            self._look_through()

    def close(self) -> None:
        """Look at nothing any more."""
        self._timer.stop()
        for errand in self._errands:
            errand.cancel()
        self._errands.clear()

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
        place = self._places.get(name)
        return self.files[place] if place is not None else None

    def neighbour(self, file: ImageFile | None, by: int) -> ImageFile | None:
        """Return the next row (1) or the one before (-1) that can be opened.

        A file that the filter has let go since still says from where; without one, all are ahead.
        """
        place = self._places.get(file.name, -1) if file is not None else -1
        after = bisect_right(self.rows, place, key=self._place_of)
        if by > 0:
            others = islice(self.rows, after, None)
        else:
            before = bisect_left(self.rows, place, key=self._place_of)
            others = (self.rows[row] for row in range(before - 1, -1, -1))
        return next((one for one in others if not self.status(one).problem), None)

    def tick(self, files: Iterable[ImageFile], done: bool) -> None:
        """Note that images are done, or that they are not."""
        for file in files:
            try:
                tick(file.path, done)
            except PatchionerError as error:
                self.told.emit(str(error))
                return
            self.look_again(file)

    def note(self, file: ImageFile, **facts: Any) -> None:
        """Note what this machine has seen of an image; a full disk is no reason to stop."""
        try:
            seen_marks(file.path.parent).note(file.path.name, **facts)
        except OSError as error:
            self.told.emit(f"what was read cannot be noted ({error.strerror or error})")
        self.look_again(file)

    def show_problem(self, file: ImageFile, why: str) -> None:
        """Show at once that an image cannot be opened, so that it is not tried again."""
        self._on_statuses({file.name: replace(self.status(file), problem=why)})

    def look_again(self, file: ImageFile) -> None:
        """See soon how far an image has come."""
        self._stale[file.name] = file
        if not self._timer.isActive():
            self._timer.start()

    # details

    def _look_through(self) -> None:
        self._send(look_through, self.folder, endings(), self._reader)
        self.changed.emit()

    def _look_again(self) -> None:
        files = [file for name, file in self._stale.items() if self.find(name) is not None]
        self._stale.clear()
        if files:
            self._send(look_again, files, self._reader)

    def _send(self, function: Any, *arguments: Any) -> None:
        self._store = current_store(bool(preference("cache", "on_disk")))
        errand = Errand(function, *arguments, parent=self)
        errand.delivered.connect(self._on_delivered)
        errand.ended.connect(partial(self._on_ended, errand))
        self._errands.append(errand)
        errand.start()

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

    def _on_statuses(self, found: dict[str, Status]) -> None:
        news = {name for name, status in found.items() if self.statuses.get(name) != status}
        if not news:
            return
        self.statuses.update(found)
        if self._filter[1] != "all":
            self._refilter()
        self.advanced.emit(news)

    def _on_ended(self, errand: Errand, error: Exception | None) -> None:
        self._errands.remove(errand)
        self._coming = None
        if error is not None:
            self.told.emit(str(error))
        self.changed.emit()

    def _place_of(self, file: ImageFile) -> int:
        return self._places[file.name]

    def _refilter(self) -> None:
        if len(self._places) != len(self.files) or self._fresh:
            self._places = {file.name: place for place, file in enumerate(self.files)}
            self._fresh = False
        text, only = self._filter
        self.rows = [
            file
            for file in self.files
            if file is self.kept
            or (text in file.name.casefold() and self.status(file).is_among(only))
        ]
        self.changed.emit()
