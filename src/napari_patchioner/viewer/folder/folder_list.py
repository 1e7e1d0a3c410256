"""How the list of a folder's images looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_patchioner.viewer.widgets.basic import button

from .file_table import FileTable

if TYPE_CHECKING:
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    from .browser import Browser

ONLY = {
    "All": "all",
    "Not done": "not done",
    "To review": "to review",
    "Not opened": "not opened",
    "With a problem": "with a problem",
}
OPENING = "Opening"
LATER_MS = 150
EMPTY = "Open a folder of images, or drop one here."


class FolderList(QWidget):
    """A folder above, its images in the middle, the way through them below.

    Parameters
    ----------
    browser : Browser
        What opens images.
    parent : QWidget, optional
        The dock.
    """

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
        self.ahead = QLabel(self)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(LATER_MS)
        self._later.timeout.connect(self.refresh)
        self._set_up()
        self._lay_out()
        self._wire()
        self.setAcceptDrops(True)
        self.refresh()

    def sizeHint(self) -> QSize:
        """Leave most of a small screen to the image."""
        return QSize(300, 420)

    # what is shown

    def tell(self, message: str) -> None:
        """Show a sentence."""
        message = message[:1].upper() + message[1:]
        self.message.setText(message)
        self.message.setToolTip(message)

    def refresh(self) -> None:
        """Show where the browser is."""
        browser, listing = self.browser, self.browser.listing
        opened = browser.opened.file if browser.opened is not None else None
        here = browser.wanted or opened or browser.place
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
        self._show_ahead()
        if browser.wanted is not None:
            self.tell(f"{OPENING} {browser.wanted.name}… {browser.passed_over}".strip())

    def _counted(self) -> str:
        """Return how many images there are, and at which one of them one is."""
        listing = self.browser.listing
        if listing.folder is None:
            return ""
        total = f"{len(listing.rows)}" + ("…" if listing.active and not listing.statuses else "")
        if len(listing.rows) != len(listing.files):
            total += f" of {len(listing.files)}"
        place = self.table.files.row(self.table.files.here)
        done = sum(status.done for status in listing.statuses.values())
        parts = [f"{place + 1} / {total}" if place >= 0 else f"{total} images"]
        return " · ".join([*parts, *([f"{done} done"] if done else [])])

    def _show_ahead(self) -> None:
        """Say quietly whether the next image is being prepared."""
        ahead = self.browser.ahead
        sign, name = "", ahead.file.name if ahead is not None and ahead.file is not None else ""
        if name and ahead.active:
            sign = "next: reading…"
        elif name and ahead.ready:
            sign = "next: ready"
        self.ahead.setText(sign)
        self.ahead.setToolTip(f"{name} is read ahead while you work." if sign else "")

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
        self.ahead.setEnabled(False)
        self.table.setMinimumHeight(90)

    def _lay_out(self) -> None:
        rows = (
            (self.open, self.folder, self.again),
            (self.search, self.only),
            (self.table,),
            (self.message,),
            (self.back, self.done, self.next),
            (self.count, self.ahead),
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        for widgets in rows:
            row = QHBoxLayout()
            row.setSpacing(4)
            for widget in widgets:
                row.addWidget(widget, widget in (self.folder, self.search, self.table))
            layout.addLayout(row, self.table in widgets)
        self.ahead.setAlignment(Qt.AlignmentFlag.AlignRight)

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
        browser.told.connect(self.tell)
        browser.shown.connect(self._on_shown)
        browser.listing.changed.connect(self.refresh)
        # Of thousands of images there is news many times a second.
        browser.listing.advanced.connect(lambda _: self._later.isActive() or self._later.start())

    def _on_shown(self, *_: object) -> None:
        """Say no more that it is being opened; what was passed over or else was said stays."""
        if self.message.text().startswith(OPENING):
            self.tell(self.browser.passed_over)

    def _on_filter(self, *_: object) -> None:
        self.browser.listing.filter(self.search.text(), ONLY[self.only.currentText()])

    # folders

    def take(self, path: Path) -> None:
        """List a folder, or that of an image, which is opened."""
        if path.is_dir() and path.suffix.lower() != ".zarr":
            self.tell("")
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
