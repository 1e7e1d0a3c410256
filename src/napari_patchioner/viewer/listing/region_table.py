"""The table of regions: walked through, judged and written in by keys and by mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView
from superqt.utils import signals_blocked

from .region_table_model import CAPTION, COLUMNS, RegionTableModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QWidget

WIDTHS = {"kind": 90, "score": 56, "author": 118, "reviewed": 92, "plane": 64}
# What each key does while the table has the focus, by name of the deed.
TABLE_KEYS = {
    Qt.Key.Key_A: "accept",
    Qt.Key.Key_X: "reject",
    Qt.Key.Key_Q: "caption_again",
    Qt.Key.Key_K: "lock",
    Qt.Key.Key_G: "caption_together",
    Qt.Key.Key_Delete: "delete",
    Qt.Key.Key_Backspace: "delete",
}
_REDO = QKeySequence.StandardKey.Redo
_Select = QItemSelectionModel.SelectionFlag


class RegionTable(QTableView):
    """Tells what is selected, wanted and done by uid."""

    selected = Signal(list)
    wanted = Signal(str)
    asked = Signal(str)
    picked = Signal(int)
    idle = Signal()

    def __init__(self, model: RegionTableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.regions = model
        self._selecting = False
        self._kept: list[str] = []
        self._scrolled = 0
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.EditKeyPressed | triggers.SelectedClicked)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Regions")
        self._lay_out()
        model.modelAboutToBeReset.connect(self._keep)
        model.modelReset.connect(self._restore)
        self.selectionModel().selectionChanged.connect(self._on_selection)
        self.doubleClicked.connect(self._on_double_click)

    def _lay_out(self) -> None:
        header = self.horizontalHeader()
        for place, column in enumerate(COLUMNS):
            if place != CAPTION:
                self.setColumnWidth(place, WIDTHS[column.field])
        header.setSectionResizeMode(CAPTION, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        if hasattr(header, "setSortIndicatorClearable"):
            header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().lineSpacing() + 6)

    @property
    def editing(self) -> bool:
        """Whether somebody is typing in a cell."""
        return self.state() == QAbstractItemView.State.EditingState

    def uids(self) -> list[str]:
        """Return what is selected, from top to bottom."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [self.regions.lines[row].uid for row in rows]

    def select(self, uids: Iterable[str]) -> None:
        """Select these, as far as they are listed, and tell nobody."""
        rows = [row for uid in uids if (row := self.regions.row(uid)) is not None]
        if {index.row() for index in self.selectionModel().selectedRows()} == set(rows):
            return
        self._selecting = True
        try:
            flags = _Select.ClearAndSelect | _Select.Rows
            self.selectionModel().select(self._ranges(rows), flags)
            if rows and self.currentIndex().row() not in rows:
                first = self.regions.index(rows[0], CAPTION)
                self.selectionModel().setCurrentIndex(first, _Select.NoUpdate)
                self.scrollTo(first)
        finally:
            self._selecting = False

    def step(self, by: int) -> str:
        """Select the region so many rows further on, and return its uid; the ends hold."""
        count = self.regions.rowCount()
        if not count:
            return ""
        chosen = [row for uid in self.uids() if (row := self.regions.row(uid)) is not None]
        start = (chosen[-1 if by > 0 else 0] + by) if chosen else (0 if by > 0 else count - 1)
        row = min(max(start, 0), count - 1)
        self.setCurrentIndex(self.regions.index(row, CAPTION))
        return self.regions.lines[row].uid

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Judge with single keys; napari's own keys are not meant here."""
        for keys, deed in ((QKeySequence.StandardKey.Undo, "undo"), (_REDO, "redo")):
            if event.matches(keys):
                self.asked.emit(deed)
                return
        plain = event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        )
        if not plain or not self._is_ours(event.key()):
            super().keyPressEvent(event)

    def closeEditor(self, *arguments: Any) -> None:
        """Say so when a cell is left."""
        super().closeEditor(*arguments)
        self.idle.emit()

    def _is_ours(self, key: int) -> bool:
        """Do what a key is for; False where it is for nothing."""
        if key in TABLE_KEYS:
            self.asked.emit(TABLE_KEYS[Qt.Key(key)])
        elif Qt.Key.Key_1 <= key <= Qt.Key.Key_9:
            self.picked.emit(int(key) - int(Qt.Key.Key_1))
        elif key in (Qt.Key.Key_N, Qt.Key.Key_P):
            self.wanted.emit(self.step(1 if key == Qt.Key.Key_N else -1))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.wanted.emit(self.regions.uid(self.currentIndex()))
        else:
            return False
        return True

    def _ranges(self, rows: list[int]) -> QItemSelection:
        """Return rows as few ranges, of which Qt makes less work than of many cells."""
        chosen, last = QItemSelection(), len(COLUMNS) - 1
        start = None
        ordered = sorted(set(rows))
        for place, row in enumerate(ordered):
            start = row if start is None else start
            if place + 1 == len(ordered) or ordered[place + 1] != row + 1:
                chosen.select(self.regions.index(start, 0), self.regions.index(row, last))
                start = None
        return chosen

    def _keep(self) -> None:
        self._kept, self._scrolled = self.uids(), self.verticalScrollBar().value()

    def _restore(self) -> None:
        with signals_blocked(self.verticalScrollBar()):
            self.verticalScrollBar().setValue(self._scrolled)
        self.select(self._kept)

    def _on_selection(self, *_: object) -> None:
        if not self._selecting:
            self.selected.emit(self.uids())

    def _on_double_click(self, index: QModelIndex) -> None:
        self.wanted.emit(self.regions.uid(index))
