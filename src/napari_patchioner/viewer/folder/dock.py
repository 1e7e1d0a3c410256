"""Going through a folder of images: a table of them, one in the window, the next one prepared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from napari.utils.events import Event
from napari.viewer import Viewer
from qtpy import QtWidgets as qt
from qtpy.QtCore import QEvent, QModelIndex, QObject, QSize, Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QFont, QKeyEvent, QKeySequence
from superqt import QElidingLabel

from napari_patchioner.errors import FormatError, PatchionerError, as_sentence
from napari_patchioner.teaching import is_lexicon
from napari_patchioner.viewer.dock import CaptionDock
from napari_patchioner.viewer.layers.image_layers import KEYS, find_layer, images_of
from napari_patchioner.viewer.panels.find import PhraseField
from napari_patchioner.viewer.panels.keys import FOLDER, bind
from napari_patchioner.viewer.preferences import CAPTION_DOCK, preference
from napari_patchioner.viewer.widgets import (
    DockBase,
    MenuButton,
    RowModel,
    button,
    stack,
    throttled,
)
from napari_patchioner.viewer.workers import prefetch
from napari_patchioner.viewer.workers.job import Job
from napari_patchioner.viewer.workers.models import ModelRegistry
from napari_patchioner.viewer.workers.prefetch import ImageFile, Loaded

from .files import ONLY, Listing, choose_lexicon, chosen_lexicon, last, remember
from .phrase import PhraseRanking

# So long a person who draws may rest between two captions.
IDLE_MS = 400


@dataclass(eq=False)
class OpenedImage:
    """An image of the folder while it is in the window: one of the layers that its file holds."""

    dock: CaptionDock
    file: ImageFile
    layers: list[Layer]
    image: Image
    # Its saved work is there, if it has any.
    restored: bool = False
    # It was in the window already, and stays there.
    kept: bool = False

    def __post_init__(self) -> None:
        self.controller = self.dock.controllers[self.image]
        self.project_file = self.dock.projects.files[self.controller]

    @property
    def busy(self) -> bool:
        """Whether something is being done for it by a worker, or about to be."""
        working = self.controller.encoder.active or self.controller.queue.active
        return not self.project_file.searched or working

    def close(self) -> None:
        """Take the image away with its shapes, whose work is saved.

        Points and labels are other people's: they stay, hidden where they were captioned. So does
        an image that was opened by other means.
        """
        if self.kept:
            return
        viewer = self.dock.viewer
        for layer in self.controller.sources.following:
            layer.visible = False
        shapes = [find_layer(viewer, self.image, key) for key in KEYS]
        # The image first: that lets go of its shapes.
        for layer in (self.image, *shapes, *self.layers):
            if layer in viewer.layers:
                viewer.layers.remove(layer)


class Browser(QObject):  # type: ignore[misc]
    """Opens images of a folder one after the other, in the dock that `dock` returns."""

    changed = Signal()
    messaged = Signal(str)
    # With the image file that is in the window now.
    shown = Signal(object)

    def __init__(self, viewer: Viewer, dock: Callable[[], CaptionDock], parent: QObject) -> None:
        super().__init__(parent)
        self.listing = Listing(self)
        self.ranking = PhraseRanking(self.listing, dock, self)
        self.opened: OpenedImage | None = None
        # The image that is being opened, and from where the next and the previous one are counted.
        self.wanted: ImageFile | None = None
        self.position: ImageFile | None = None
        # What prepares the next one.
        self.prefetcher = prefetch.Prefetcher(self)
        self._viewer, self._dock = viewer, dock
        self._job: Job | None = None
        self._by, self._stepping = 1, False
        self._failed: list[str] = []
        self._at, self._open_it = "", False
        self._noted: dict[str, Any] | None = None
        # Of the folder, and the one that the dock was given.
        self.lexicon: Path | None = None
        self._given: tuple[CaptionDock, Path] | None = None
        self._idle = throttled(self._prefetch, IDLE_MS, self)
        self.listing.listed.connect(self._on_listed)
        for part in (self.listing, self.ranking):
            part.messaged.connect(self.messaged)
        self.ranking.changed.connect(self.changed)
        self.prefetcher.changed.connect(self.changed)
        self.prefetcher.prefetched.connect(self._on_prefetched)
        self._viewer.layers.events.removed.connect(self._on_removed)

    def open_folder(self, folder: Path, at: str = "", *, open_it: bool = False) -> None:
        """List a folder; `at` names the image to go on with, which is opened if `open_it`."""
        if folder == self.listing.folder:
            self.ranking.stop()
        else:
            self.ranking.clear()
        self.position, self._at, self._open_it = None, at, open_it
        self.lexicon = chosen_lexicon(folder)
        self.listing.open(folder)
        remember(folder, at)

    def use_lexicon(self, path: Path | None) -> None:
        """Have the images of the folder named by a lexicon, now and whenever it is opened."""
        folder = self.listing.folder
        if folder is None:
            self._show_message("Open a folder first; then choose a lexicon for it.")
            return
        if path is not None and not is_lexicon(path):
            self._show_message(f"{path.name} holds no lexicon; choose the folder of one.")
            return
        try:
            choose_lexicon(folder, path)
        except FormatError as error:
            self._show_message(str(error))
            return
        self.lexicon = path
        name = path.name if path is not None else ""
        if name:
            self._show_message(f"The images are named by {name}.")
        else:
            self._show_message("No lexicon is added any more; Clear… in the dock forgets names.")
        if self.opened is not None:
            self._give_lexicon(self.opened.dock)
        self.changed.emit()

    def _give_lexicon(self, dock: CaptionDock) -> None:
        """Have the dock use the lexicon of the folder, once."""
        if self.lexicon is None or (dock, self.lexicon) == self._given:
            return
        if is_lexicon(self.lexicon):
            self._given = dock, self.lexicon
            dock.teach.open_lexicon(self.lexicon)
        else:
            self._show_message(f"The lexicon {self.lexicon} is not there any more; choose it anew.")

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
        return self.listing.neighbour(self.position, by)

    def close(self) -> None:
        """Stop everything; the image in the window stays there."""
        self._idle.cancel()
        if self.opened is not None:
            self._note(self.opened)
        self.listing.close()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.ranking.close()
        if self._job is not None:
            self._job.drop()
        self.prefetcher.drop()

    @property
    def passed_over(self) -> str:
        """Which images could not be opened on the way to this one, and why."""
        more = len(self._failed) - 1
        return " ".join([*self._failed[:1], *[f"{more} more cannot be opened."] * (more > 0)])

    def _step(self, by: int) -> None:
        file = self.neighbour(by)
        if file is None:
            self._show_message(f"This is the {'last' if by > 0 else 'first'} image of the list.")
            return
        self._by, self._stepping = by, True
        self._go(file)

    def _show_message(self, message: str) -> None:
        """Show a sentence after what was passed over, which it would overwrite."""
        self.messaged.emit(f"{self.passed_over} {message}".strip())

    def _go(self, file: ImageFile) -> None:
        if opened := self.opened:
            if file == opened.file and self.wanted is None:
                return
            if not opened.dock.projects.may_leave(opened.controller):
                return
        self.wanted = self.position = file
        loaded = self.prefetcher.take(file)
        if loaded is not None or self._layers_of(file):
            self._show(file, loaded)
        elif self._job is None:
            self._load(file)
        self.changed.emit()

    def _load(self, file: ImageFile) -> None:
        """Read an image; one wanted meanwhile is read after it, those between never."""

        def delivered(loaded: Loaded) -> None:
            if file == self.wanted:
                self._show(file, loaded)

        def ended(error: Exception | None) -> None:
            self._job = None
            if error is not None and file == self.wanted:
                self._fail(file, prefetch.load_error_message(error))
            elif self.wanted is not None:
                self._load(self.wanted)

        self._job = Job.run(prefetch.load, file.path, delivered=delivered, ended=ended, parent=self)

    def _layers_of(self, file: ImageFile) -> list[Layer]:
        """Return the image layers of a file that are in the window by other means."""
        ours = self.opened.layers if self.opened is not None else []
        images = [image for image in images_of(self._viewer) if image not in ours]
        return [i for i in images if i.source.path and Path(i.source.path).absolute() == file.path]

    def _show(self, file: ImageFile, loaded: Loaded | None) -> None:
        """Put an image in the place of the one in the window."""
        layers = self._layers_of(file)
        kept = bool(layers)
        dock = self._dock()
        before, self.opened = self.opened, None
        tool = dock.panel.draw.tool if before is not None else None
        if before is not None:
            self._note(before)
            before.close()
        if loaded is not None and not kept:
            try:
                layers = prefetch.show(self._viewer, loaded)
            except PatchionerError as error:
                self._fail(file, str(error))
                return
        image = prefetch.first_image(layers)
        self._viewer.layers.selection.active = image
        dock.panel.image.value = image
        dock.images.uncover()
        self._viewer.reset_view()
        self.wanted, self._noted = None, None
        opened = self.opened = OpenedImage(dock, file, layers, image, kept=kept)
        if self.ranking.phrase:
            # Enter in the other dock then shows where it is on the image.
            dock.phrase.text.setText(self.ranking.phrase)
        opened.project_file.messaged.connect(self._show_message)
        for part in (opened.project_file, opened.controller, opened.controller.encoder):
            part.changed.connect(self._on_changed)
        if tool is not None:
            dock.image_actions.use_tool(tool)
        self._give_lexicon(dock)
        self.listing.keep(file)
        if self.listing.folder is not None:
            remember(self.listing.folder, file.name)
        self.shown.emit(file)
        self.changed.emit()
        # Of an image whose work is there already nothing more is announced.
        self._on_changed()

    def _fail(self, file: ImageFile, why: str) -> None:
        """Note that an image cannot be opened; who came by on the way to the next goes on."""
        self.wanted = None
        self.listing.note(file, stamp=file.stamp, problem=why)
        self.listing.show_problem(file, why)
        self._failed.append(f"{file.name} cannot be opened: {why.rstrip('.')}.")
        self._show_message("")
        if self._stepping:
            self._step(self._by)
        self.changed.emit()

    def _on_changed(self) -> None:
        """Give way to the image in the window at once; go on with the next when it is at rest."""
        opened = self.opened
        if opened is None:
            return
        if opened.project_file.searched and not opened.restored:
            opened.restored = True
            self._encode(opened)
        if opened.busy:
            self.prefetcher.pause()
        self._idle.throttle()

    def _encode(self, opened: OpenedImage) -> None:
        """Have it encoded, if the person wants that and nothing has to be downloaded first."""
        dock, encoder = opened.dock, opened.controller.encoder
        if preference("folder", "read_at_once") and not (encoder.active or encoder.ready):
            card = dock.registry.card(dock.models.choice.value)
            if card.installed and dock.image is opened.image:
                dock.start()

    def _prefetch(self) -> None:
        opened = self.opened
        if opened is None:
            return
        self._note(opened)
        if opened.busy or self.wanted is not None:
            return
        file, encoder = self.neighbour(self._by), opened.controller.encoder
        if file and encoder.ready and preference("folder", "read_ahead"):
            self.prefetcher.want(file, encoder)
        else:
            self.prefetcher.drop()

    def _note(self, opened: OpenedImage) -> None:
        """Note what this machine is to know of an image next time, as plain values."""
        facts: dict[str, Any] = {"stamp": opened.file.stamp, "problem": ""}
        if opened.project_file.searched:
            # Its pixels may have turned out to be unreadable.
            with suppress(OSError, ValueError, RuntimeError):
                facts["content"] = opened.project_file.content
        if grids := list(opened.controller.encoder.grids.values()):
            facts["grid"] = grids[-1].key
        if facts != self._noted and "content" in facts:
            self._noted = facts
            self.listing.note(opened.file, **facts)
        self.listing.reread(opened.file)

    def _on_prefetched(self, file: ImageFile, grid: str) -> None:
        self.listing.note(file, stamp=file.stamp, grid=grid, problem="")

    def _on_listed(self) -> None:
        """Stand where somebody was last."""
        if self.position is None and self._at:
            self.position = self.listing.find(self._at)
            if self.position is not None and self._open_it:
                self.go(self.position)
        self._at = ""
        self.changed.emit()

    def _on_removed(self, event: Event) -> None:
        if self.opened is not None and event.value is self.opened.image:
            self.opened = None
            self.prefetcher.drop()
            self.changed.emit()


DONE, NAME, STATUS = 0, 1, 2
_TITLES = (("", ""), ("Image", ""), ("Status", ""))
_TICK = "Done or not: click to change it. Space does so for all selected images."
# Not the boxes of the style, which napari's themes draw dark on dark.
_BOXES = {True: "☑", False: "☐"}


class FileModel(RowModel):
    """The rows of a listing; the image in the window, `here`, is in bold."""

    def __init__(self, listing: Listing, parent: qt.QWidget) -> None:
        super().__init__(_TITLES, parent)
        self.here: ImageFile | None = None
        self._parent, self._listing = parent, listing
        listing.advanced.connect(self._on_advanced)

    def show_here(self, file: ImageFile | None) -> None:
        """Show another image in bold."""
        changed, self.here = (self.here, file), file
        self._on_advanced(shown.name for shown in changed if shown is not None)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell."""
        file = self.lines[index.row()]
        status = self._listing.status(file)
        if role == Qt.ItemDataRole.DisplayRole:
            score = (self._listing.matches or {}).get(file.name)
            state = status.brief if score is None else f"{score:.2f}"
            return (_BOXES[status.done], file.name, state)[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            state = "\n".join(filter(None, (status.text, status.problem or status.note)))
            return (_TICK, str(file.path), state)[index.column()]
        if role == Qt.ItemDataRole.SizeHintRole:
            return QSize(0, self._parent.fontMetrics().height() + 7)
        if role == Qt.ItemDataRole.FontRole:
            font = QFont(self._parent.font())
            font.setBold(file == self.here)
            font.setItalic(bool(status.problem))
            return font
        return None

    def _on_advanced(self, names: Iterable[str]) -> None:
        self.redraw({self.row(name) for name in names} - {-1})


class FileTable(qt.QTreeView):  # type: ignore[misc]
    """The table; keys go from image to image, and tick them."""

    def __init__(self, browser: Browser) -> None:
        # Of thousands of rows, none is measured that is not on the screen.
        super().__init__(rootIsDecorated=False, uniformRowHeights=True, minimumHeight=90)
        self.files = FileModel(browser.listing, self)
        self._browser, self._listing = browser, browser.listing
        self.setModel(self.files)
        self.setSelectionMode(self.SelectionMode.ExtendedSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.header()
        header.setStretchLastSection(True)
        header.setMinimumSectionSize(16)
        header.setSectionResizeMode(NAME, header.ResizeMode.Interactive)
        header.resizeSection(DONE, 24)
        header.resizeSection(NAME, 130)
        self.clicked.connect(self._on_click)
        self.doubleClicked.connect(self._on_double_click)

    def show_here(self, file: ImageFile | None) -> None:
        """Select an image and bring it into view."""
        row = self.files.row(file.name) if file is not None else -1
        if row >= 0:
            place = self.files.index(row, NAME)
            self.setCurrentIndex(place)
            self.scrollTo(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open, step, tick."""
        key, here = QKeySequence(event.key()).toString(), self.currentIndex()
        if key in ("PgDown", "PgUp"):
            self._browser.step(1 if key == "PgDown" else -1)
        elif key in ("Return", "Enter") and here.isValid():
            self._browser.go(self.files.lines[here.row()])
        elif key == "Space":
            self._tick(self.selectionModel().selectedRows())
        else:
            super().keyPressEvent(event)

    def _tick(self, rows: Iterable[QModelIndex]) -> None:
        """Tick images; where all are, untick them."""
        files = [self.files.lines[row.row()] for row in rows]
        self._listing.tick(files, not all(self._listing.status(file).done for file in files))

    def _on_click(self, index: QModelIndex) -> None:
        if index.column() == DONE:
            self._tick([index])

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() != DONE:
            self._browser.go(self.files.lines[index.row()])


OPENING = "Opening"
NEWS_MS = 150
EMPTY = "Open a folder of images, or drop one here."


class FolderList(qt.QWidget):  # type: ignore[misc]
    """A folder above, its images in the middle, the way through them below."""

    def __init__(self, browser: Browser) -> None:
        super().__init__()
        self.browser = browser
        listing = browser.listing
        tip = "List the images in a folder and the folders in it."
        self.open = button("Open folder…", tip, self._ask)
        tip = "Look for images that were added or deleted."
        self.again = button("⟳", tip, listing.refresh)
        self.again.setAccessibleName("Refresh")
        self.again.setFixedWidth(30)
        self.lexicon = MenuButton("Lexicon", "")
        tip = "Regions that are like its examples get their names, on every image you open here."
        self.lexicon.add("Choose…", self._ask_for_lexicon, tip)
        tip = (
            "Add none from the next time on; what is in use stays until it is cleared in the dock."
        )
        self.lexicon.add("None", lambda: browser.use_lexicon(None), tip)
        self.folder = QElidingLabel("")
        self.folder.setElideMode(Qt.TextElideMode.ElideLeft)
        self.search = qt.QLineEdit(placeholderText="Find by name", clearButtonEnabled=True)
        self.search.setToolTip("Lists the images whose name holds this, as you type.")
        self.phrase = PhraseField(browser.ranking.stop)
        self.phrase.setPlaceholderText("Find by text in all images: a red bus")
        self.phrase.setToolTip(
            "Lists the images that show it, the likeliest first; Enter reads them one by one, "
            "and empty it lists all again."
        )
        self.find = button("Find", "Find images that show the phrase (Enter).", self._on_find)
        self.only = qt.QComboBox(toolTip="Which images to list.")
        self.only.addItems(list(ONLY))
        self.table = FileTable(browser)
        self.message = QElidingLabel(EMPTY)
        self.message.setElideMode(Qt.TextElideMode.ElideRight)
        tip = "Open the image before (key Page Up)."
        self.back = button("◀ Previous", tip, lambda: browser.step(-1))
        tip = "Tick this image as done and open the next one."
        self.done = button("Done, next", tip, browser.done)
        tip = "Open the next image (key Page Down)."
        self.next = button("Next ▶", tip, lambda: browser.step(1))
        self.count = qt.QLabel()
        self.next_state = qt.QLabel(enabled=False, alignment=Qt.AlignmentFlag.AlignRight)
        # Of thousands of images there is news many times a second.
        self._news = throttled(self.refresh, NEWS_MS, self)
        stack(
            self,
            (self.open, self.folder, self.lexicon, self.again),
            (self.search, self.only),
            (self.phrase, self.find),
            *(self.table, self.message),
            (self.back, self.done, self.next),
            (self.count, self.next_state),
            wide=[self.folder, self.search, self.phrase, self.table],
            margins=(6, 4, 6, 4),
        )
        self.phrase.returnPressed.connect(self._on_enter)
        self.phrase.textChanged.connect(self._on_phrase)
        self.search.textChanged.connect(self._on_filter)
        self.only.currentIndexChanged.connect(self._on_filter)
        browser.messaged.connect(self.show_message)
        browser.shown.connect(self._on_shown)
        listing.advanced.connect(lambda _: self._news.throttle())
        for part in (browser, listing):
            part.changed.connect(self.refresh)
        self.setAcceptDrops(True)
        self.refresh()

    def sizeHint(self) -> QSize:
        """Leave most of a small screen to the image."""
        return QSize(300, 420)

    def show_message(self, message: str) -> None:
        """Show a sentence; lines below the first are in the tooltip."""
        message = as_sentence(message)
        self.message.setText(message.partition("\n")[0])
        self.message.setToolTip(message)

    def refresh(self) -> None:
        """Show where the browser is."""
        browser, listing, table = self.browser, self.browser.listing, self.table
        opened = browser.opened.file if browser.opened is not None else None
        here = browser.wanted or opened or browser.position
        moved = table.files.show_lines({file.name: file for file in listing.rows})
        moved = moved or here != table.files.here
        table.files.show_here(here)
        if moved:
            table.show_here(here)
        self.folder.setText(str(listing.folder or ""))
        self.folder.setToolTip(str(listing.folder or ""))
        self.find.setText("Stop" if browser.ranking.active else "Find")
        for part in (self.again, self.lexicon, self.phrase, self.find):
            part.setEnabled(listing.folder is not None)
        named = f"The images are named by {browser.lexicon}." if browser.lexicon else ""
        self.lexicon.setToolTip(named or "Choose a lexicon, which names what is on the images.")
        self.back.setEnabled(browser.neighbour(-1) is not None)
        self.next.setEnabled(browser.neighbour(1) is not None)
        self.done.setEnabled(opened is not None)
        self.count.setText(self._counted())
        # Whether the next image is being prepared, quietly.
        prefetcher, state, tip = browser.prefetcher, "", ""
        if prefetcher.file is not None and (prefetcher.active or prefetcher.ready):
            state = "next: reading…" if prefetcher.active else "next: ready"
            tip = f"{prefetcher.file.name} is read ahead while you work."
        self.next_state.setText(state)
        self.next_state.setToolTip(tip)
        if browser.wanted is not None:
            self.show_message(f"{OPENING} {browser.wanted.name}… {browser.passed_over}".strip())

    def _counted(self) -> str:
        """Return how many images there are, and at which one of them one is."""
        listing, here = self.browser.listing, self.table.files.here
        if listing.folder is None:
            return ""
        rows, files = len(listing.rows), len(listing.files)
        total = f"{rows}{'…' if listing.active and not listing.statuses else ''}"
        total += f" of {files}" if rows != files else ""
        row = self.table.files.row(here.name) if here is not None else -1
        done = sum(status.done for status in listing.statuses.values())
        text = f"{row + 1} / {total}" if row >= 0 else f"{total} images"
        return f"{text} · {done} done" if done else text

    def _on_shown(self, *_: object) -> None:
        """Say no more that it is being opened; what was passed over or else was said stays."""
        if self.message.text().startswith(OPENING):
            self.show_message(self.browser.passed_over)

    def _on_find(self) -> None:
        """Look for the phrase on all images, or stop."""
        if self.browser.ranking.active:
            self.browser.ranking.stop()
        else:
            self._on_enter()

    def _on_enter(self) -> None:
        """Look for the phrase on all images, in place of another one that is being looked for."""
        typed = " ".join(self.phrase.text().split())
        ranking = self.browser.ranking
        if typed and not (ranking.active and typed == ranking.phrase):
            ranking.start(typed)

    def _on_phrase(self, text: str) -> None:
        """List all images again once the phrase is gone."""
        if not text.strip():
            self.browser.ranking.clear()

    def _on_filter(self, *_: object) -> None:
        self.browser.listing.filter(self.search.text(), self.only.currentText())

    def take(self, path: Path) -> None:
        """List a folder, or that of an image, which is opened."""
        if path.is_dir() and path.suffix.lower() != ".zarr":
            self.show_message("")
            self.browser.open_folder(path)
        else:
            self.browser.open_folder(path.parent, path.name, open_it=True)

    def _ask(self) -> None:
        start = str(self.browser.listing.folder or Path.home())
        if chosen := qt.QFileDialog.getExistingDirectory(self, "Folder of images", start):
            self.take(Path(chosen))

    def _ask_for_lexicon(self) -> None:
        start = str(self.browser.lexicon or self.browser.listing.folder or Path.home())
        if chosen := qt.QFileDialog.getExistingDirectory(self, "Lexicon folder", start):
            self.browser.use_lexicon(Path(chosen))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take a folder or an image."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """List it."""
        urls = [url for url in event.mimeData().urls() if url.isLocalFile()]
        if urls:
            event.acceptProposedAction()
            self.take(Path(urls[0].toLocalFile()))


class FolderDock(DockBase):
    """Go through a folder of images, with their regions and captions."""

    def __init__(self, napari_viewer: Viewer, *, registry: ModelRegistry | None = None) -> None:
        super().__init__(napari_viewer)
        self._registry, self._placed = registry, False
        self.browser = Browser(self.viewer, self.captions, self)
        self.panel = FolderList(self.browser)
        self.setWidget(self.panel)
        # On the canvas, whichever layer is active.
        for key, by in FOLDER.items():
            bind(self.viewer, key, self._step, by)
        if before := last():
            self.browser.open_folder(*before)

    def open_folder(self, folder: Path) -> None:
        """List the images in a folder."""
        self.panel.take(folder)

    def captions(self) -> CaptionDock:
        """Return the dock that regions are captioned with, opened if there is none."""
        window = self.viewer.window
        for widget in window.dock_widgets.values():
            if isinstance(widget, CaptionDock) and not widget.closed:
                return widget
        if self._registry is None:
            added: CaptionDock = window.add_plugin_dock_widget(*CAPTION_DOCK)[1]
            return added
        made = CaptionDock(self.viewer, registry=self._registry)
        window.add_dock_widget(made, name=CAPTION_DOCK[1], area="right")
        return made

    def showEvent(self, event: QEvent) -> None:
        """Find a place when it is there for the first time."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            # Not while Qt lays out what it is moved out of.
            throttled(self._find_place, 0, self).throttle()

    def _step(self, by: int) -> None:
        """Open the next image, unless the key was meant for a text that is being written."""
        texts = (qt.QLineEdit, qt.QPlainTextEdit, qt.QTextEdit, qt.QAbstractSpinBox)
        if not isinstance(qt.QApplication.focusWidget(), texts):
            self.browser.step(by)

    def _find_place(self) -> None:
        """Share the place of napari's list of layers: a small screen has none to spare."""
        dock, window = self.parent(), self.window()
        if not isinstance(dock, qt.QDockWidget) or not isinstance(window, qt.QMainWindow):
            return
        layers = window.findChild(qt.QDockWidget, "layer list")
        if layers is not None and layers.isVisible() and not (layers.isFloating() or self.closed):
            window.tabifyDockWidget(layers, dock)
            dock.raise_()

    def let_go(self) -> None:
        """Stop all work and let go of the viewer; the image in the window stays."""
        for key in FOLDER:
            bind(self.viewer, key)
        self.browser.close()
