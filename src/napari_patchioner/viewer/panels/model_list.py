"""The list of models: grouped by whether they are there, searched by typing, readable if narrow."""

from __future__ import annotations

from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QElapsedTimer, Qt, Signal
from qtpy.QtGui import QStandardItem, QStandardItemModel
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QGridLayout,
    QLabel,
    QListView,
    QMenu,
    QPushButton,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_patchioner.models.preset import size_text

from . import forms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path
    from typing import Any

    from qtpy.QtCore import QModelIndex
    from qtpy.QtGui import QPaintEvent, QWheelEvent

    from napari_patchioner.models import ModelCard

WIDTH = 72
BRING = "These are on no hub: put them in a folder, then press Choose a folder."
GROUPS = ("Built in", "Installed", "To get")
FROM_FOLDER = "Where a copy of the files lies already; nothing is downloaded then."
ID = Qt.ItemDataRole.UserRole
TITLE = ID + 1
SHOWN = 24


def group_of(card: ModelCard, *, built_in: bool) -> str:
    """Return the heading that a model stands under."""
    if built_in:
        return GROUPS[0]
    return GROUPS[1] if card.installed else GROUPS[2]


def line(card: ModelCard, *, built_in: bool = False, coming: bool = False) -> str:
    """Return the line of a model in the list: its name and its state."""
    if coming:
        return f"{card.title} — on its way"
    return card.title if built_in else f"{card.title} — {state(card)}"


def state(card: ModelCard) -> str:
    """Return whether a model is there, or what it takes to have it."""
    if card.installed:
        return "installed"
    return f"{size_text(card.to_get)} to get" if card.to_get else "to get"


def tooltip(card: ModelCard) -> str:
    """Return what a person should know before choosing a model, a line for each matter."""
    facts = {
        "In the paper": card.row,
        "Licence": card.licence,
        "From": ", ".join(card.sources),
        "Files": size_text(card.size) if card.size else "",
        "Memory": size_text(card.ram) if card.ram else "",
    }
    lines = [card.note, *(f"{name}: {text}" for name, text in facts.items() if text)]
    return "\n".join(fill(line, WIDTH, subsequent_indent="    ") for line in lines if line)


def question(
    card: ModelCard, folder: Path, machine: int | None, by_hand: Sequence[str] = ()
) -> str:
    """Return what a person should know before a model is got, as rich text.

    `machine` is the memory of this machine in bytes, where that is known.
    """
    facts = {
        "Download": size_text(card.to_get) if card.to_get else "size not known",
        "From": "\n".join(card.sources),
        "By hand": "\n".join([*by_hand, BRING] if by_hand else []),
        "Licence": card.licence,
        "Kept in": str(folder),
        "Memory": _memory(card.ram, machine),
    }
    cells = (
        f"<tr><td><b>{name}</b>&nbsp;&nbsp;</td>"
        f"<td>{escape(text).replace(chr(10), '<br>')}</td></tr>"
        for name, text in facts.items()
        if text
    )
    return f"<table>{''.join(cells)}</table>"


def _memory(needed: int, machine: int | None) -> str:
    """Return the memory a model needs beside what there is."""
    if not needed or not machine:
        return size_text(needed) if needed else ""
    enough = "this machine has" if machine >= needed else "but this machine has only"
    return f"{size_text(needed)}; {enough} {size_text(machine)}"


def machine_memory() -> int | None:
    """Return how many bytes of memory this machine has, if the system says so."""
    try:
        import psutil  # type: ignore[import-untyped]

        return int(psutil.virtual_memory().total)
    except (ImportError, OSError, RuntimeError):
        return None


class _Line(NamedTuple):
    group: str
    model: str
    title: str
    text: str
    tip: str


class ModelChoice(QComboBox):  # type: ignore[misc]
    """Asks which model; `changed` carries its id."""

    changed = Signal(str)
    opening = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: list[_Line] = []
        self._announced = ""
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
        """List the models, the default one first; the chosen one stays chosen while it is there.

        `built_in` holds the ids of those that came with the package, `coming` is the id of the
        one that is being downloaded.
        """
        lines = []
        for card in cards:
            ours = card.id in built_in
            text = line(card, built_in=ours, coming=card.id == coming)
            group = group_of(card, built_in=ours)
            lines.append(_Line(group, card.id, card.title, text, tooltip(card)))
        lines.sort(key=lambda row: GROUPS.index(row.group))
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
        model = self.model()
        group = ""
        several = len({row.group for row in self._lines}) > 1
        for row in self._lines:
            if several and row.group != group:
                group = row.group
                heading = QStandardItem(group)
                heading.setFlags(Qt.ItemFlag.NoItemFlags)
                font = heading.font()
                font.setBold(True)
                heading.setFont(font)
                model.appendRow(heading)
            item = QStandardItem(row.text)
            item.setData(row.model, ID)
            item.setData(row.title, TITLE)
            item.setToolTip(row.tip)
            model.appendRow(item)

    def _on_index(self, *_: object) -> None:
        self.setToolTip(self.currentData(Qt.ItemDataRole.ToolTipRole) or "")
        if self.value != self._announced:
            self._announced = self.value
            self.changed.emit(self.value)


class _SearchedList(QListView):  # type: ignore[misc]
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
        index = self._next(self._typed)
        if index is not None:
            self.setCurrentIndex(index)

    def _next(self, text: str) -> QModelIndex | None:
        """Return the first match from the current line on, around the end."""
        model, start = self.model(), max(0, self.currentIndex().row())
        for step in range(model.rowCount()):
            index = model.index((start + step) % model.rowCount(), 0)
            choosable = bool(index.flags() & Qt.ItemFlag.ItemIsSelectable)
            if choosable and text in str(index.data()).lower():
                return index
        return None


class ModelMenu(QPushButton):  # type: ignore[misc]
    """A button whose menu gets or removes the chosen model, adds one, or opens their folder."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("…", parent)
        self.setToolTip("Get, remove or add models.")
        self.setAccessibleName("Models")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFixedWidth(30)
        self.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0px; }")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.get = menu.addAction("Get this model…")
        self.copy = menu.addAction("Get it from a folder…")
        self.remove = menu.addAction("Remove this model…")
        menu.addSeparator()
        self.add = menu.addAction("Add a model of your own…")
        self.open = menu.addAction("Open models folder")
        self.copy.setToolTip(FROM_FOLDER)
        self.add.setToolTip("A folder with a preset.toml and the files it names.")
        self.setMenu(menu)

    def show_card(self, card: ModelCard | None, *, built_in: bool, busy: bool) -> None:
        """Offer what can be done with the chosen model; `busy` while one is got or removed."""
        can_get = card is not None and not busy and not card.installed
        self.get.setEnabled(can_get)
        self.copy.setEnabled(can_get)
        self.remove.setEnabled(card is not None and not busy and not built_in)
        self.add.setEnabled(not busy)


class SourceBox(QWidget):  # type: ignore[misc]
    """Asks for the image and the model; `images` returns the image layers to choose from."""

    def __init__(
        self, images: Callable[[Any], Sequence[Any]], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.image = forms.image_form(images)
        self.model = ModelChoice(self)
        self.menu = ModelMenu(self)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(QLabel("Image"), 0, 0)
        layout.addWidget(self.image.native, 0, 1, 1, 2)
        layout.addWidget(QLabel("Model"), 1, 0)
        layout.addWidget(self.model, 1, 1)
        layout.addWidget(self.menu, 1, 2)
        layout.setColumnStretch(1, 1)
