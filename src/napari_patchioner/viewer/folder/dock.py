"""The dock of a folder's images: a table of them, the way through it, and keys on the canvas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QFont, QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDockWidget,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMainWindow,
    QToolButton,
    QTreeView,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel
from superqt.utils import QSignalThrottler

from napari_patchioner.viewer.dock import CaptionDock
from napari_patchioner.viewer.panels.keys import FOLDER, key_callback
from napari_patchioner.viewer.widgets.basic import button
from napari_patchioner.viewer.widgets.dock_base import DockBase

from .browser import Browser

if TYPE_CHECKING:
    from collections.abc import Iterable

    import napari
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    from napari_patchioner.viewer.workers.models import ModelRegistry
    from napari_patchioner.viewer.workers.prefetch import ImageFile

    from .files import Only
    from .listing import Listing

DONE, NAME, STATUS = 0, 1, 2
_TITLES = ("", "Image", "Status")
_TICK = "Done or not: click to change it. Space does so for all selected images."
# Not the boxes of the style, which napari's themes draw dark on dark.
_BOXES = {True: "☑", False: "☐"}


class FileModel(QAbstractTableModel):  # type: ignore[misc]
    """The rows of a listing.

    Attributes
    ----------
    here : ImageFile, optional
        The image in the window, shown in bold.
    """

    def __init__(self, listing: Listing, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.here: ImageFile | None = None
        self.rows: list[ImageFile] = []
        self._indices: dict[str, int] = {}
        self._listing = listing
        listing.advanced.connect(self._on_advanced)

    def refresh(self) -> bool:
        """Take over the rows of the listing; return whether they are others than before."""
        rows = self._listing.rows
        known = len(self.rows)
        if rows == self.rows:
            return False
        if known and rows[:known] == self.rows:
            self.beginInsertRows(QModelIndex(), known, len(rows) - 1)
            self._take(rows)
            self.endInsertRows()
            return False
        self.beginResetModel()
        self._take(rows)
        self.endResetModel()
        return True

    def row(self, file: ImageFile | None) -> int:
        """Return the row of an image; -1 where it is not listed."""
        return self._indices.get(file.name, -1) if file is not None else -1

    def show_here(self, file: ImageFile | None) -> None:
        """Show another image in bold."""
        before, self.here = self.here, file
        for row in {self.row(before), self.row(file)} - {-1}:
            self._redraw(row)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """As of Qt's models."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """As of Qt's models."""
        return len(_TITLES)

    def headerData(self, section: int, orientation: object, role: int = 0) -> Any:
        """As of Qt's models."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return _TITLES[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """As of Qt's models."""
        file = self.rows[index.row()]
        status = self._listing.status(file)
        if role == Qt.ItemDataRole.DisplayRole:
            return (_BOXES[status.done], file.name, status.brief)[index.column()]
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

    def _take(self, rows: list[ImageFile]) -> None:
        self.rows = list(rows)
        self._indices = {file.name: index for index, file in enumerate(rows)}

    def _on_advanced(self, names: Iterable[str]) -> None:
        rows = [self._indices[name] for name in names if name in self._indices]
        if rows:
            self._redraw(min(rows), max(rows))

    def _redraw(self, first: int, last: int | None = None) -> None:
        bottom = first if last is None else last
        self.dataChanged.emit(self.index(first, 0), self.index(bottom, len(_TITLES) - 1))


class FileTable(QTreeView):  # type: ignore[misc]
    """The table; keys go from image to image, and tick them."""

    wanted = Signal(object)
    stepped = Signal(int)

    def __init__(self, listing: Listing, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.files = FileModel(listing, self)
        self._listing = listing
        self.setModel(self.files)
        self.setRootIsDecorated(False)
        # Of thousands of rows, none is measured that is not on the screen.
        self.setUniformRowHeights(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.header()
        header.setStretchLastSection(True)
        header.setMinimumSectionSize(16)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Interactive)
        header.resizeSection(DONE, 24)
        header.resizeSection(NAME, 130)
        self.clicked.connect(self._on_click)
        self.doubleClicked.connect(self._on_double_click)

    def chosen(self) -> list[ImageFile]:
        """Return the selected images."""
        rows = self.selectionModel().selectedRows()
        return [self.files.rows[row.row()] for row in rows]

    def show_here(self, file: ImageFile | None) -> None:
        """Select an image and bring it into view."""
        row = self.files.row(file)
        if row >= 0:
            place = self.files.index(row, NAME)
            self.setCurrentIndex(place)
            self.scrollTo(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open, step, tick."""
        key = event.key()
        if key in (Qt.Key.Key_PageDown, Qt.Key.Key_PageUp):
            self.stepped.emit(1 if key == Qt.Key.Key_PageDown else -1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.wanted.emit(self.files.rows[self.currentIndex().row()])
        elif key == Qt.Key.Key_Space:
            self._tick()
        else:
            super().keyPressEvent(event)

    def _tick(self) -> None:
        """Tick the selected images; where all are, untick them."""
        chosen = self.chosen()
        self._listing.tick(chosen, not all(self._listing.status(file).done for file in chosen))

    def _on_click(self, index: QModelIndex) -> None:
        """Tick an image, or untick it."""
        if index.column() == DONE:
            file = self.files.rows[index.row()]
            self._listing.tick([file], not self._listing.status(file).done)

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() != DONE:
            self.wanted.emit(self.files.rows[index.row()])


ONLY: dict[str, Only] = {
    "All": "all",
    "Not done": "not done",
    "To review": "to review",
    "Not opened": "not opened",
    "With a problem": "with a problem",
}
OPENING = "Opening"
NEWS_MS = 150
EMPTY = "Open a folder of images, or drop one here."


class FolderList(QWidget):  # type: ignore[misc]
    """A folder above, its images in the middle, the way through them below."""

    def __init__(self, browser: Browser, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.browser = browser
        self.open = button("Open folder…", "List the images in a folder and the folders in it.")
        self.again = QToolButton(self)
        self.folder = QElidingLabel("", self)
        self.search = QLineEdit(self)
        self.only = QComboBox(self)
        self.table = FileTable(browser.listing, self)
        self.message = QElidingLabel(EMPTY, self)
        self.back = button("◀ Previous", "Open the image before (key Page Up).")
        self.done = button("Done, next", "Tick this image as done and open the next one.")
        self.next = button("Next ▶", "Open the next image (key Page Down).")
        self.count = QLabel(self)
        self.next_state = QLabel(self)
        # Of thousands of images there is news many times a second.
        self._news = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._news.setTimeout(NEWS_MS)
        self._news.triggered.connect(self.refresh)
        self._set_up()
        self._lay_out()
        self._wire()
        self.setAcceptDrops(True)
        self.refresh()

    def sizeHint(self) -> QSize:
        """Leave most of a small screen to the image."""
        return QSize(300, 420)

    # what is shown

    def show_message(self, message: str) -> None:
        """Show a sentence."""
        message = message[:1].upper() + message[1:]
        self.message.setText(message)
        self.message.setToolTip(message)

    def refresh(self) -> None:
        """Show where the browser is."""
        browser, listing = self.browser, self.browser.listing
        opened = browser.opened.file if browser.opened is not None else None
        here = browser.wanted or opened or browser.position
        moved = self.table.files.refresh() or here != self.table.files.here
        self.table.files.show_here(here)
        if moved:
            self.table.show_here(here)
        self.folder.setText(str(listing.folder or ""))
        self.folder.setToolTip(str(listing.folder or ""))
        self.again.setEnabled(listing.folder is not None)
        self.back.setEnabled(browser.neighbour(-1) is not None)
        self.next.setEnabled(browser.neighbour(1) is not None)
        self.done.setEnabled(opened is not None)
        self.count.setText(self._counted())
        self._show_next()
        if browser.wanted is not None:
            self.show_message(f"{OPENING} {browser.wanted.name}… {browser.passed_over}".strip())

    def _counted(self) -> str:
        """Return how many images there are, and at which one of them one is."""
        listing = self.browser.listing
        if listing.folder is None:
            return ""
        total = f"{len(listing.rows)}" + ("…" if listing.active and not listing.statuses else "")
        if len(listing.rows) != len(listing.files):
            total += f" of {len(listing.files)}"
        row = self.table.files.row(self.table.files.here)
        done = sum(status.done for status in listing.statuses.values())
        parts = [f"{row + 1} / {total}" if row >= 0 else f"{total} images"]
        return " · ".join([*parts, *([f"{done} done"] if done else [])])

    def _show_next(self) -> None:
        """Say quietly whether the next image is being prepared."""
        prefetcher, state, tip = self.browser.prefetcher, "", ""
        file = prefetcher.file if prefetcher is not None else None
        if prefetcher is not None and file is not None and (prefetcher.active or prefetcher.ready):
            state = "next: reading…" if prefetcher.active else "next: ready"
            tip = f"{file.name} is read ahead while you work."
        self.next_state.setText(state)
        self.next_state.setToolTip(tip)

    # parts

    def _set_up(self) -> None:
        self.again.setText("⟳")
        self.again.setToolTip("Look for images that were added or deleted.")
        self.again.setAccessibleName("Refresh")
        self.again.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.folder.setElideMode(Qt.TextElideMode.ElideLeft)
        self.search.setPlaceholderText("Find by name")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Lists the images whose name holds this, as you type.")
        self.only.addItems(list(ONLY))
        self.only.setToolTip("Which images to list.")
        self.message.setElideMode(Qt.TextElideMode.ElideRight)
        self.next_state.setEnabled(False)
        self.table.setMinimumHeight(90)

    def _lay_out(self) -> None:
        rows = (
            (self.open, self.folder, self.again),
            (self.search, self.only),
            (self.table,),
            (self.message,),
            (self.back, self.done, self.next),
            (self.count, self.next_state),
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        for widgets in rows:
            row = QHBoxLayout()
            row.setSpacing(4)
            for widget in widgets:
                row.addWidget(widget, int(widget in (self.folder, self.search, self.table)))
            layout.addLayout(row, int(self.table in widgets))
        self.next_state.setAlignment(Qt.AlignmentFlag.AlignRight)

    def _wire(self) -> None:
        browser = self.browser
        self.open.clicked.connect(self._ask)
        self.again.clicked.connect(lambda *_: browser.listing.refresh())
        self.search.textChanged.connect(self._on_filter)
        self.only.currentIndexChanged.connect(self._on_filter)
        self.table.wanted.connect(browser.go)
        self.table.stepped.connect(browser.step)
        self.back.clicked.connect(lambda *_: browser.step(-1))
        self.next.clicked.connect(lambda *_: browser.step(1))
        self.done.clicked.connect(lambda *_: browser.done())
        browser.changed.connect(self.refresh)
        browser.messaged.connect(self.show_message)
        browser.shown.connect(self._on_shown)
        browser.listing.changed.connect(self.refresh)
        browser.listing.advanced.connect(lambda _: self._news.throttle())

    def _on_shown(self, *_: object) -> None:
        """Say no more that it is being opened; what was passed over or else was said stays."""
        if self.message.text().startswith(OPENING):
            self.show_message(self.browser.passed_over)

    def _on_filter(self, *_: object) -> None:
        self.browser.listing.filter(self.search.text(), ONLY[self.only.currentText()])

    # folders

    def take(self, path: Path) -> None:
        """List a folder, or that of an image, which is opened."""
        if path.is_dir() and path.suffix.lower() != ".zarr":
            self.show_message("")
            self.browser.open_folder(path)
        else:
            self.browser.open_folder(path.parent, path.name, open_it=True)

    def _ask(self, *_: object) -> None:
        start = str(self.browser.listing.folder or Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Folder of images", start)
        if chosen:
            self.take(Path(chosen))

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


_PLUGIN, _CAPTIONS = "napari-patchioner", "Patch-ioner: caption regions"
# The name of napari's own dock.
_LAYERS = "layer list"


class FolderDock(DockBase):
    """Go through a folder of images, with their regions and captions."""

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, *, registry: ModelRegistry | None = None
    ) -> None:
        super().__init__()
        # As of the dock for captions.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._registry = registry
        self._closed = self._placed = False
        self.browser = Browser(self.viewer, self.captions, self)
        self.panel = FolderList(self.browser)
        self.setWidget(self.panel)
        self._bind_keys(True)
        self.browser.go_on()

    def open_folder(self, folder: Path) -> None:
        """List the images in a folder."""
        self.panel.take(folder)

    def captions(self) -> CaptionDock:
        """Return the dock that regions are captioned with, opened if there is none."""
        window = self.viewer.window
        for widget in window.dock_widgets.values():
            if isinstance(widget, CaptionDock):
                return widget
        if self._registry is None:
            added: CaptionDock = window.add_plugin_dock_widget(_PLUGIN, _CAPTIONS)[1]
            return added
        made = CaptionDock(self.viewer, registry=self._registry)
        window.add_dock_widget(made, name=_CAPTIONS, area="right")
        return made

    def showEvent(self, event: QEvent) -> None:
        """Find a place when it is there for the first time."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            # Not while Qt lays out what it is moved out of. A timer of the dock ends with it; not
            # every binding's singleShot takes an owner.
            timer = QTimer(self)
            timer.setSingleShot(True)
            timer.timeout.connect(self._find_place)
            timer.start(0)

    def _find_place(self) -> None:
        """Share the place of the list of layers: a small screen has none to spare."""
        dock, window = self.parent(), self.window()
        if not isinstance(dock, QDockWidget) or not isinstance(window, QMainWindow):
            return
        layers = window.findChild(QDockWidget, _LAYERS)
        if layers is not None and layers.isVisible() and not (layers.isFloating() or self._closed):
            window.tabifyDockWidget(layers, dock)
            dock.raise_()

    def shut_down(self) -> None:
        """Stop all work and let go of the viewer; the image in the window stays."""
        if not self._closed:
            self._closed = True
            self._bind_keys(False)
            self.browser.close()

    def _bind_keys(self, on: bool) -> None:
        """Let the keys step from image to image whichever layer is active, or give them back."""
        for name, by in FOLDER.items():
            action = key_callback(self.browser.step, by) if on else None
            self.viewer.bind_key(name, action, overwrite=True)
