"""The other wordings a model had in mind, numbered, to be picked by a click or a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_patchioner.viewer.session.record import Record

SHOWN = 3


class Wordings(QListWidget):
    """One line per wording; `picked` tells its place, counted from 0.

    Parameters
    ----------
    compact : bool
        Take no room where there is none to pick.
    parent : QWidget, optional
        As for any widget.
    """

    picked = Signal(int)

    def __init__(self, *, compact: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._compact = compact
        self._texts: list[str] = []
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.setAccessibleName("Other wordings")
        self.setToolTip("Other wordings of the model: click one to take it (keys Ctrl+1, Ctrl+2…).")
        self._fit(SHOWN)
        self.itemClicked.connect(self._on_clicked)

    def texts(self) -> list[str]:
        """Return the wordings in their order."""
        return list(self._texts)

    def show_record(self, record: Record | None) -> None:
        """List the other wordings of a caption."""
        details = record.details if record else None
        texts = list(details.alternatives) if details else []
        if texts != self._texts:
            self._texts = texts
            self.clear()
            for place, text in enumerate(texts, start=1):
                item = QListWidgetItem(f"{place}  {text}", self)
                item.setToolTip(f"{text}\nClick to take it (key Ctrl+{place}).")
            if self._compact:
                self._fit(min(max(len(texts), 1), SHOWN))
        self.setEnabled(bool(texts))
        self.setVisible(bool(texts) or not self._compact)

    def _fit(self, lines: int) -> None:
        """Be as high as so many wordings."""
        self.setFixedHeight(lines * (self.fontMetrics().lineSpacing() + 4) + 6)

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.picked.emit(self.row(item))
