"""Going through a folder: one image in the window at a time, the next one prepared meanwhile."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.reading.worker import Job, reporting

from ._recent import last, remember
from .ahead import Ahead, first_image
from .listing import Listing
from .opened import Opened
from .opening import load, show, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import napari
    from napari.utils.events import Event

    from napari_patchioner.viewer.desk.dock import CaptionDock
    from napari_patchioner.viewer.reading.worker import Progress

    from ._files import ImageFile
    from .opening import Loaded

# So long a hand that draws may rest between two captions.
IDLE_MS = 400


@reporting
def load_image(path: Path, progress: Progress) -> Iterator[Loaded]:
    """Read a file; yield what is in it."""
    progress(0.0, "opening")
    yield load(path)


class Browser(QObject):
    """Opens images of a folder one after the other.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are opened.
    captions : callable
        Returns the dock they are captioned with, opened if need be.
    parent : QObject, optional
        The dock of the list.

    Attributes
    ----------
    listing : Listing
        The folder.
    opened : Opened, optional
        The image in the window.
    wanted : ImageFile, optional
        The image that is being opened.
    ahead : Ahead, optional
        What prepares the next one; there with the first image.
    """

    changed = Signal()
    told = Signal(str)
    # With the image file that is in the window now.
    shown = Signal(object)

    def __init__(
        self,
        viewer: napari.Viewer,
        captions: Callable[[], CaptionDock],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.listing = Listing(self)
        self.opened: Opened | None = None
        self.wanted: ImageFile | None = None
        self.ahead: Ahead | None = None
        self.place: ImageFile | None = None
        self._viewer = viewer
        self._captions = captions
        self._job: Job | None = None
        self._by = 1
        self._stepping = False
        self._failed: list[str] = []
        self._at, self._open_it = "", False
        self._noted: object = None
        self._idle = QTimer(self)
        self._idle.setSingleShot(True)
        self._idle.setInterval(IDLE_MS)
        self._idle.timeout.connect(self._look_ahead)
        self.listing.listed.connect(self._on_listed)
        self.listing.told.connect(self.told)
        self._viewer.layers.events.removed.connect(self._on_removed)

    # what a person asks for

    def open_folder(self, folder: Path, at: str = "", *, open_it: bool = False) -> None:
        """List a folder; an image in the window stays there.

        Parameters
        ----------
        folder : Path
            Which one.
        at : str
            Name of the image to go on with, which is opened if `open_it` says so.
        """
        self.place, self._at, self._open_it = None, at, open_it
        self.listing.open(folder)
        remember(folder, at)

    def go_on(self) -> None:
        """List the folder of last time, at the image of last time."""
        found = last()
        if found is not None:
            self.open_folder(*found)

    def go(self, file: ImageFile) -> None:
        """Open an image in place of the one in the window."""
        self._stepping = False
        self._failed.clear()
        self._go(file)

    def step(self, by: int) -> None:
        """Open the next image of the list (1) or the one before (-1) that can be opened."""
        self._failed.clear()
        self._step(by)

    def done(self) -> None:
        """Tick the image in the window, and open the next one."""
        if self.opened is not None:
            self.listing.tick([self.opened.file], True)
            self.step(1)

    def neighbour(self, by: int) -> ImageFile | None:
        """Return the next image of the list (1) or the one before (-1) that can be opened."""
        return self.listing.neighbour(self.place, by)

    def close(self) -> None:
        """Stop everything; the image in the window stays there."""
        self._idle.stop()
        if self.opened is not None:
            self._note(self.opened)
        self.listing.close()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        if self._job is not None:
            self._job.cancel()
            self._job = None
        if self.ahead is not None:
            self.ahead.drop()

    @property
    def passed_over(self) -> str:
        """Which images could not be opened on the way to this one, and why."""
        first, more = self._failed[:1], len(self._failed) - 1
        return " ".join([*first, *([f"{more} more cannot be opened."] if more > 0 else [])])

    # opening

    def _step(self, by: int) -> None:
        file = self.neighbour(by)
        if file is None:
            self._tell(f"This is the {'last' if by > 0 else 'first'} image of the list.")
            return
        self._by, self._stepping = by, True
        self._go(file)

    def _tell(self, message: str) -> None:
        """Show a sentence after what was passed over, which it would overwrite."""
        self.told.emit(f"{self.passed_over} {message}".strip())

    def _go(self, file: ImageFile) -> None:
        if self.opened is not None and file == self.opened.file and self.wanted is None:
            return
        if self.opened is not None and not self.opened.may_close():
            return
        self.wanted = self.place = file
        loaded = self.ahead.take(file) if self.ahead is not None else None
        if loaded is not None:
            self._show(file, loaded)
        elif self._job is None:
            self._load()
        self.changed.emit()

    def _load(self) -> None:
        """Read the wanted image; one wanted meanwhile is read after it, those between never."""
        file = self.wanted
        job = Job(load_image, file.path, parent=self)
        job.delivered.connect(partial(self._on_loaded, job, file))
        job.ended.connect(partial(self._on_ended, job, file))
        self._job = job
        job.start()

    def _on_loaded(self, job: Job, file: ImageFile, loaded: Loaded) -> None:
        if job is self._job and file == self.wanted:
            self._show(file, loaded)

    def _on_ended(self, job: Job, file: ImageFile, error: Exception | None) -> None:
        if job is not self._job:
            return
        self._job = None
        if error is not None and file == self.wanted:
            self._fail(file, trouble(error))
        elif self.wanted is not None:
            self._load()

    def _show(self, file: ImageFile, loaded: Loaded) -> None:
        """Put an image in the place of the one in the window."""
        dock = self._captions()
        tool = self.opened.tool if self.opened is not None else None
        self._close_opened()
        try:
            layers = show(self._viewer, loaded)
        except PatchionerError as error:
            self._fail(file, str(error))
            return
        image = first_image(layers)
        self._viewer.layers.selection.active = image
        dock.panel.source.image.value = image
        self._viewer.reset_view()
        self.wanted, self._noted = None, None
        self.opened = opened = Opened(dock, file, layers, image, self)
        opened.restored.connect(self._on_restored)
        opened.changed.connect(self._on_changed)
        opened.told.connect(self._tell)
        if tool is not None:
            dock.deeds.use_tool(tool)
        if self.ahead is None or self.ahead.library is not dock.library:
            self.ahead = Ahead(dock.library, self)
            self.ahead.changed.connect(self.changed)
            self.ahead.seen.connect(self._on_seen)
        self.listing.keep(file)
        remember(self.listing.folder, file.name)
        self.shown.emit(file)
        self.changed.emit()

    def _close_opened(self) -> None:
        opened, self.opened = self.opened, None
        if opened is not None:
            self._note(opened)
            opened.close()

    def _fail(self, file: ImageFile, why: str) -> None:
        """Note that an image cannot be opened; who came by on the way to the next goes on."""
        self.wanted = None
        self.listing.note(file, stamp=file.stamp, problem=why)
        self.listing.show_problem(file, why)
        self._failed.append(f"{file.name} cannot be opened: {why.rstrip('.')}.")
        self._tell("")
        if self._stepping:
            self._step(self._by)
        self.changed.emit()

    # the image in the window

    def _on_restored(self) -> None:
        """Have it read, if the person wants that and nothing has to be downloaded first."""
        opened = self.opened
        if opened is None or opened.annotator is None or not preference("folder", "read_at_once"):
            return
        reader = opened.annotator.reader
        if not (reader.active or reader.ready):
            opened.start()

    def _on_changed(self) -> None:
        """Give way to it at once; go on with the next one when it is at rest."""
        if self.opened is not None and self.opened.busy and self.ahead is not None:
            self.ahead.pause()
        if not self._idle.isActive():
            self._idle.start()

    def _look_ahead(self) -> None:
        opened = self.opened
        if opened is None or self.ahead is None:
            return
        self._note(opened)
        if opened.busy or self.wanted is not None:
            return
        file, reader = self.neighbour(self._by), opened.annotator and opened.annotator.reader
        if file is not None and reader and reader.ready and preference("folder", "read_ahead"):
            self.ahead.want(file, reader.model, reader.keep)
        else:
            self.ahead.drop()

    def _note(self, opened: Opened) -> None:
        """Note what has come of an image, for the next time."""
        facts = opened.facts()
        if facts != self._noted and "content" in facts:
            self._noted = facts
            self.listing.note(opened.file, **facts)
        self.listing.look_again(opened.file)

    def _on_seen(self, file: ImageFile, grid: str) -> None:
        self.listing.note(file, stamp=file.stamp, grid=grid, problem="")

    def _on_listed(self) -> None:
        """Stand where somebody was last."""
        if self.place is None and self._at:
            self.place = self.listing.find(self._at)
            if self.place is not None and self._open_it:
                self.go(self.place)
        self._at = ""
        self.changed.emit()

    def _on_removed(self, event: Event) -> None:
        if self.opened is not None and event.value is self.opened.image:
            self.opened.deleteLater()
            self.opened = None
            if self.ahead is not None:
                self.ahead.drop()
            self.changed.emit()
