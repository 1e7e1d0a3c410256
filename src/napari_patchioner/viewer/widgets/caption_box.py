"""A caption that can be read, judged and corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QLabel, QPlainTextEdit, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from .sentence import narrow
from .verdict import concepts_line, provenance, verdict_line
from .wordings import Wordings

if TYPE_CHECKING:
    from napari_patchioner.viewer.session.record import Record


class CaptionBox(QWidget):
    """An editor for one caption, with what the model thought of it.

    Parameters
    ----------
    empty : str
        What to show while there is nothing to edit.
    lines : int
        Height of the editor.
    compact : bool
        Take no room for what there is nothing to say about.
    parent : QWidget, optional
        As for any widget.
    """

    edited = Signal(str, str)
    picked = Signal(str, int)
    left = Signal()

    def __init__(
        self,
        empty: str,
        *,
        lines: int = 3,
        compact: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._compact = compact
        self._uid = ""
        self._empty = empty
        self.editor = QPlainTextEdit(self)
        self.editor.setTabChangesFocus(True)
        self.editor.setStyleSheet(
            "border: 1px solid #6c7480; border-radius: 2px; placeholder-text-color: #8a93a0;"
        )
        self.editor.setFixedHeight(self.editor.fontMetrics().lineSpacing() * lines + 14)
        self.editor.setToolTip(
            "What you type here is yours: no model will overwrite it.\n"
            "Enter goes back to the canvas; an emptied caption may be written by the model again."
        )
        self.editor.installEventFilter(self)
        self.editor.textChanged.connect(self._on_text)
        self.verdict = _line(self, "Who wrote the caption, and how far to trust it.")
        self.concepts = _line(self, "What the model considered, best first.")
        self.wordings = Wordings(compact=compact, parent=self)
        self.wordings.picked.connect(self._on_picked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.editor, self.verdict, self.concepts, self.wordings):
            layout.addWidget(widget)
        self.show_record(None)

    def show_record(self, record: Record | None, *, waiting: str = "", empty: str = "") -> None:
        """Show a caption, or that there is none.

        Parameters
        ----------
        record : Record, optional
            The caption.
        waiting : str
            Why a caption that is wanted is not there yet.
        empty : str
            What to show where there is no record, instead of the usual.
        """
        uid = record.uid if record else ""
        text = record.caption if record else ""
        # The person's own spacing stays while they type it.
        if uid != self._uid or " ".join(self.editor.toPlainText().split()) != text:
            with signals_blocked(self.editor):
                self.editor.setPlainText(text)
        self._uid = uid
        self.editor.setEnabled(record is not None)
        self.editor.setPlaceholderText("No caption yet" if record else empty or self._empty)
        self.verdict.setText(verdict_line(record, waiting) if record else "")
        concepts = concepts_line(record) if record else ""
        below = [concepts] if self._compact and concepts else []
        self.verdict.setToolTip("\n".join([*below, provenance(record)]))
        self.concepts.setText("" if self._compact else concepts)
        self.wordings.show_record(record)
        for label in (self.verdict, self.concepts):
            label.setVisible(not self._compact or bool(label.text()))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let Enter finish the editing."""
        pressed = watched is self.editor and event.type() == QEvent.Type.KeyPress
        if pressed and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape):
            self.editor.clearFocus()
            self.left.emit()
            return True
        return super().eventFilter(watched, event)

    def _on_text(self) -> None:
        if self._uid:
            self.edited.emit(self._uid, self.editor.toPlainText())

    def _on_picked(self, place: int) -> None:
        if self._uid:
            self.picked.emit(self._uid, place)


def _line(parent: QWidget, tip: str) -> QLabel:
    label = QLabel(parent)
    label.setWordWrap(True)
    narrow(label)
    label.setToolTip(tip)
    label.setMinimumHeight(label.fontMetrics().lineSpacing())
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
