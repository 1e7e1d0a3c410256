"""The list of models: grouped by whether they are there, searched by typing, readable if narrow."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QElapsedTimer, Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QListView,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
)
from superqt.utils import signals_blocked

from . import model_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qtpy.QtCore import QModelIndex
    from qtpy.QtGui import QPaintEvent, QWheelEvent
    from qtpy.QtWidgets import QWidget

    from napari_patchioner.models import ModelCard

ID = Qt.ItemDataRole.UserRole
TITLE = ID + 1
SHOWN = 24


class _Line(NamedTuple):
    group: str
    model: str
    title: str
    text: str
    tip: str


class ModelChoice(QComboBox):
    """Asks which model; `changed` tells its id."""

    changed = Signal(str)
    opening = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[_Line] = []
        self._told = ""
        self.setModel(QStandardItemModel(self))
        self.setView(_SearchedList(self))
        self.setMaxVisibleItems(SHOWN)
        self.setSizeAdjustPolicy(self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(16)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Model")
        self.currentIndexChanged.connect(self._on_index)

    @property
    def value(self) -> str:
        """Id of the chosen model."""
        return self.currentData(ID) or ""

    @value.setter
    def value(self, model: str) -> None:
        row = self.findData(model, ID)
        if row >= 0:
            self.setCurrentIndex(row)

    def show_cards(
        self, cards: Sequence[ModelCard], built_in: Collection[str] = (), coming: str = ""
    ) -> None:
        """List the models; the chosen one stays chosen while it is there.

        Parameters
        ----------
        cards : sequence of ModelCard
            The models, the default one first.
        built_in : collection of str
            Ids of those that came with the package.
        coming : str
            Id of the one that is being downloaded.
        """
        lines = [_line(card, card.id in built_in, card.id == coming) for card in cards]
        lines.sort(key=lambda one: model_text.GROUPS.index(one.group))
        if lines == self._lines:
            return
        before, self._lines = self.value, lines
        with signals_blocked(self):
            self._fill()
            self.value = cards[0].id
            self.value = before
        self._on_index()

    def showPopup(self) -> None:
        """Open the list, as wide as its longest line."""
        self.opening.emit()
        view = self.view()
        frame = 2 * view.frameWidth() + view.verticalScrollBar().sizeHint().width()
        room = self.screen().availableGeometry().width() if self.screen() else 10_000
        view.setMinimumWidth(min(view.sizeHintForColumn(0) + frame, room))
        super().showPopup()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Show the title alone; where it is long, its middle is left out, as ends differ more."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        part = QStyle.SubControl.SC_ComboBoxEditField
        kind = QStyle.ComplexControl.CC_ComboBox
        room = self.style().subControlRect(kind, option, part, self).width() - 4
        middle = Qt.TextElideMode.ElideMiddle
        title = self.currentData(TITLE) or ""
        option.currentText = option.fontMetrics.elidedText(title, middle, room)
        painter = QStylePainter(self)
        painter.drawComplexControl(kind, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the dock, not the models, unless this was chosen first."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def _fill(self) -> None:
        self.clear()
        groups = [
            (name, list(lines)) for name, lines in groupby(self._lines, lambda one: one.group)
        ]
        for name, lines in groups:
            if len(groups) > 1:
                self.model().appendRow(_heading(name))
            for one in lines:
                item = QStandardItem(one.text)
                item.setData(one.model, ID)
                item.setData(one.title, TITLE)
                item.setToolTip(one.tip)
                self.model().appendRow(item)

    def _on_index(self, *_: object) -> None:
        self.setToolTip(self.currentData(Qt.ItemDataRole.ToolTipRole) or "")
        if self.value != self._told:
            self._told = self.value
            self.changed.emit(self.value)


class _SearchedList(QListView):
    """Finds a line by any part of it that is typed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._typed = ""
        self._since = QElapsedTimer()
        self._since.start()

    def keyboardSearch(self, search: str) -> None:
        """Go to the next line that holds what has been typed without a long pause."""
        pause = self._since.restart() > 2 * QApplication.keyboardInputInterval()
        self._typed = search.lower() if pause else self._typed + search.lower()
        found = self._next(self._typed)
        if found is not None:
            self.setCurrentIndex(found)

    def _next(self, text: str) -> QModelIndex | None:
        """Return the first match from the current line on, around the end."""
        model, start = self.model(), max(0, self.currentIndex().row())
        for step in range(model.rowCount()):
            index = model.index((start + step) % model.rowCount(), 0)
            choosable = bool(index.flags() & Qt.ItemFlag.ItemIsSelectable)
            if choosable and text in str(index.data()).lower():
                return index
        return None


def _line(card: ModelCard, built_in: bool, coming: bool) -> _Line:
    text = model_text.line(card, built_in=built_in, coming=coming)
    group = model_text.group_of(card, built_in=built_in)
    return _Line(group, card.id, card.title, text, model_text.tooltip(card))


def _heading(title: str) -> QStandardItem:
    item = QStandardItem(title)
    item.setFlags(Qt.ItemFlag.NoItemFlags)
    font = item.font()
    font.setBold(True)
    item.setFont(font)
    return item
