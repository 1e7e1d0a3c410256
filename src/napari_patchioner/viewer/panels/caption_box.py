"""A caption that can be read, judged and corrected, with the model's alternatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy import QtWidgets as qt
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from superqt.utils import signals_blocked

from napari_patchioner.viewer.widgets import stack, wrapped

if TYPE_CHECKING:
    from napari_patchioner.annotations import Record

CONCEPTS = 3
# Of concepts whose best weight is below this, the weights say nothing.
SPREAD_WEIGHT = 0.05
LEAST_SHARE = 0.01
# Alternatives that are shown without scrolling
SHOWN = 3


def verdict_line(record: Record, pending: str = "") -> str:
    """Return who wrote a caption and how far to trust it, in a few words."""
    details, line = record.details, ""
    if record.problem and not record.caption:
        line = record.problem[:1].upper() + record.problem[1:]
    elif not record.caption:
        line = pending if record.wanted else ""
    elif record.source != "model":
        line = "Edited by you" if record.source == "edited" else "Written by you"
    elif details and details.verdict == "appearance":
        line = "By the model: appearance only, no object named"
    else:
        doubt = ", not sure" if details and details.verdict == "unsure" else ""
        score = f", score {record.score:.2f}" if record.score is not None else ""
        line = f"By the model{f' {record.model}' if record.model else ''}{doubt}{score}"
    states = ["accepted"] * record.reviewed + ["locked"] * record.locked
    return ", ".join([line, *states]) if line else ", ".join(states).capitalize()


def provenance(record: Record | None) -> str:
    """Return which model had a part in a caption, and what it could not do, for a tool tip."""
    if record is None:
        return ""
    draft = {"model": "Written by", "edited": "Edited from a draft by"}.get(record.source)
    written = f"{draft} the model {record.model}." if draft and record.model else ""
    problem = (record.details.problem if record.details else None) or ""
    return "\n".join(part for part in (written, problem) if part) or "Who wrote the caption."


def concepts_line(record: Record) -> str:
    """Return the concepts a model considered, best first.

    Weights spread thinly over many concepts say nothing in per cent and are left out.
    """
    concepts = record.details.concepts[:CONCEPTS] if record.details else ()
    if not concepts:
        return ""
    if concepts[0][1] < SPREAD_WEIGHT:
        return " · ".join(name for name, _ in concepts)
    shares = (f"{w:.0%}" if w >= LEAST_SHARE else f"<{LEAST_SHARE:.0%}" for _, w in concepts)
    return " · ".join(f"{name} {share}" for (name, _), share in zip(concepts, shares, strict=True))


class Wordings(qt.QListWidget):  # type: ignore[misc]
    """The model's alternatives, one line each; `compact` takes no room where there is none."""

    def __init__(self, *, compact: bool) -> None:
        super().__init__(accessibleName="Other wordings", focusPolicy=Qt.FocusPolicy.NoFocus)
        self._compact = compact
        self._texts: list[str] = []
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(self.SelectionMode.NoSelection)
        self.setToolTip("Other wordings of the model: click one to take it (keys Ctrl+1, Ctrl+2…).")
        self._fit(SHOWN)

    def texts(self) -> list[str]:
        """Return the alternatives in their order."""
        return list(self._texts)

    def show_record(self, record: Record | None) -> None:
        """List the alternatives of a caption."""
        texts = list(record.details.alternatives) if record and record.details else []
        if texts != self._texts:
            self._texts = texts
            self.clear()
            for number, text in enumerate(texts, start=1):
                item = qt.QListWidgetItem(f"{number}  {text}", self)
                item.setToolTip(f"{text}\nClick to take it (key Ctrl+{number}).")
            if self._compact:
                self._fit(min(max(len(texts), 1), SHOWN))
        self.setEnabled(bool(texts))
        self.setVisible(bool(texts) or not self._compact)

    def _fit(self, lines: int) -> None:
        """Be as high as so many alternatives."""
        self.setFixedHeight(lines * (self.fontMetrics().lineSpacing() + 4) + 6)


class CaptionBox(qt.QWidget):  # type: ignore[misc]
    """An editor for one caption, with what the model thought of it."""

    edited = Signal(str, str)
    # The index of an alternative, counted from 0.
    picked = Signal(str, int)
    left = Signal()

    def __init__(self, empty: str, *, lines: int = 3, compact: bool = False) -> None:
        super().__init__()
        self._compact, self._uid, self._empty = compact, "", empty
        self.editor = qt.QPlainTextEdit(tabChangesFocus=True)
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
        self.verdict = wrapped("Who wrote the caption, and how far to trust it.")
        self.concepts = wrapped("What the model considered, best first.")
        for label in (self.verdict, self.concepts):
            label.setMinimumHeight(label.fontMetrics().lineSpacing())
        self.wordings = Wordings(compact=compact)
        self.wordings.itemClicked.connect(self._on_picked)
        stack(self, self.editor, self.verdict, self.concepts, self.wordings)
        self.show_record(None)

    def show_record(self, record: Record | None, *, pending: str = "", empty: str = "") -> None:
        """Show a caption, or that there is none.

        `pending` says why a caption that is wanted has not come yet; `empty` stands where there is
        no record, instead of the usual.
        """
        uid, text = (record.uid, record.caption) if record else ("", "")
        # The person's own spacing stays while they type it.
        if uid != self._uid or " ".join(self.editor.toPlainText().split()) != text:
            with signals_blocked(self.editor):
                self.editor.setPlainText(text)
        self._uid = uid
        self.editor.setEnabled(record is not None)
        self.editor.setPlaceholderText("No caption yet" if record else empty or self._empty)
        concepts = concepts_line(record) if record else ""
        below = [concepts] if self._compact and concepts else []
        self.verdict.setText(verdict_line(record, pending) if record else "")
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
        return bool(super().eventFilter(watched, event))

    def _on_text(self) -> None:
        if self._uid:
            self.edited.emit(self._uid, self.editor.toPlainText())

    def _on_picked(self, item: qt.QListWidgetItem) -> None:
        if self._uid:
            self.picked.emit(self._uid, self.wordings.row(item))
