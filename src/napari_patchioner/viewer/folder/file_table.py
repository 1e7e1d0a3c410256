"""The images of a folder as a table: a tick, a name, how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QFont, QKeyEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtWidgets import QWidget

    from ._files import ImageFile
    from .listing import Listing

DONE, NAME, STATUS = 0, 1, 2
_TITLES = ("", "Image", "Status")
_TICK = "Done or not: click to change it. Space does so for all selected images."
# Not the boxes of the style, which napari's themes draw dark on dark.
_BOXES = {True: "☑", False: "☐"}


class FileModel(QAbstractTableModel):
    """The rows of a listing.

    Parameters
    ----------
    listing : Listing
        The images.
    parent : QObject, optional
        The table.

    Attributes
    ----------
    here : ImageFile, optional
        The image in the window, shown in bold.
    """

    def __init__(self, listing: Listing, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.here: ImageFile | None = None
        self.rows: list[ImageFile] = []
        self._places: dict[str, int] = {}
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
        return self._places.get(file.name, -1) if file is not None else -1

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
            told = "\n".join(filter(None, (status.text, status.problem or status.note)))
            return (_TICK, str(file.path), told)[index.column()]
        if role == Qt.ItemDataRole.SizeHintRole:
            return QSize(0, self.parent().fontMetrics().height() + 7)
        if role == Qt.ItemDataRole.FontRole:
            font = QFont(self.parent().font())
            font.setBold(file == self.here)
            font.setItalic(bool(status.problem))
            return font
        return None

    def _take(self, rows: list[ImageFile]) -> None:
        self.rows = list(rows)
        self._places = {file.name: place for place, file in enumerate(rows)}

    def _on_advanced(self, names: Iterable[str]) -> None:
        places = [self._places[name] for name in names if name in self._places]
        if places:
            self._redraw(min(places), max(places))

    def _redraw(self, first: int, last: int | None = None) -> None:
        bottom = first if last is None else last
        self.dataChanged.emit(self.index(first, 0), self.index(bottom, len(_TITLES) - 1))


class FileTable(QTreeView):
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
