"""The words of a caption in a row: hovered or walked through, each shows its patches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy import QtWidgets as qt
from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QCursor, QFocusEvent, QKeyEvent

from napari_patchioner.viewer.widgets import Sentence, stack

if TYPE_CHECKING:
    from napari_patchioner.annotations import Record
    from napari_patchioner.grounding import GroundedWord
    from napari_patchioner.viewer.workers.why import Explained, Why

# Readable on light and dark themes alike; that a word is wrong is told by its line, too.
WRONG, BORNE_OUT, DOUBTFUL = "#e5484d", "#2f9e64", "#c98a00"
_COLOURS = {"contradicted": WRONG, "borne out": BORNE_OUT, "doubtful": DOUBTFUL}
# Lines of words that are seen without scrolling, whether there are so many or not
LINES = 2
NOTHING = "Select a region with a caption to see why it says what it says."
SEARCHING = "Looking for the words on the image…"
HOVER = "Point at a word to see its patches."


class WordList(qt.QListWidget):  # type: ignore[misc]
    """The words, side by side, of which some lines are seen at a time."""

    chosen = Signal(int)
    left = Signal()
    toggled = Signal()

    def __init__(self) -> None:
        super().__init__(
            accessibleName="Words of the caption", focusPolicy=Qt.FocusPolicy.StrongFocus
        )
        self.setFlow(self.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(self.ResizeMode.Adjust)
        self.setSpacing(1)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setStyleSheet("border: none; background: transparent;")
        self.itemEntered.connect(self._on_entered)
        self.currentRowChanged.connect(self.chosen)
        self._shown: tuple[GroundedWord, ...] = ()
        # Where the mouse lay when the words came, which points at none of them
        self._resting = QCursor.pos()
        # Nothing below moves with the number of words, nor while they are looked for.
        room = self.sizePolicy()
        room.setRetainSizeWhenHidden(True)
        self.setSizePolicy(room)
        self._fit()

    def show_words(self, words: tuple[GroundedWord, ...]) -> None:
        """List words, unless they are listed already."""
        if words is self._shown:
            return
        self._shown, self._resting = words, QCursor.pos()
        self.blockSignals(True)
        self.clear()
        for grounded in words:
            item = qt.QListWidgetItem(grounded.word.text, self)
            item.setToolTip(grounded.why)
            if grounded.verdict:
                item.setForeground(QBrush(QColor(_COLOURS[grounded.verdict])))
            if grounded.verdict == "contradicted":
                font = item.font()
                font.setStrikeOut(True)
                font.setUnderline(True)
                item.setFont(font)
        self.setCurrentRow(-1)
        self.blockSignals(False)
        self._fit()

    def sizeHint(self) -> QSize:
        """Ask for no width: long captions are broken."""
        return QSize(1, self.height())

    def minimumSizeHint(self) -> QSize:
        """Ask for no width here either."""
        return QSize(1, self.fontMetrics().lineSpacing())

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Choose no word because the keys come here: Qt would take the first."""
        row = self.currentRow()
        self.blockSignals(True)
        super().focusInEvent(event)
        self.setCurrentRow(row)
        self.blockSignals(False)

    def leaveEvent(self, event: QEvent) -> None:
        """Choose no word once the mouse has gone, unless the keys are at work here."""
        super().leaveEvent(event)
        if not self.hasFocus():
            self.setCurrentRow(-1)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Enter and Escape go back to the image, and Shift+W stop."""
        is_shifted = event.modifiers() == Qt.KeyboardModifier.ShiftModifier
        if event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.setCurrentRow(-1)
            self.clearFocus()
        elif event.key() == Qt.Key.Key_W and is_shifted:
            self.clearFocus()
            self.toggled.emit()
        elif event.key() in (Qt.Key.Key_Right, Qt.Key.Key_Left):
            step = 1 if event.key() == Qt.Key.Key_Right else -1
            row = self.currentRow() + step
            self.setCurrentRow(min(max(row, 0), self.count() - 1))
        else:
            super().keyPressEvent(event)

    def _on_entered(self, item: qt.QListWidgetItem) -> None:
        """Choose the word that is pointed at, if there is something to say of it."""
        if QCursor.pos() == self._resting:
            return
        row = self.row(item)
        word = self._shown[row].word
        self.setCurrentRow(row if word.kind or word.is_name else -1)

    def _fit(self) -> None:
        height = LINES * (self.fontMetrics().lineSpacing() + 6)
        if height != self.height():
            self.setFixedHeight(height)


class WhyRow(qt.QWidget):  # type: ignore[misc]
    """The words of the caption, and a sentence about the one that is chosen."""

    chosen = Signal(int)
    toggled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.words = WordList()
        self.sentence = Sentence(lines=2, fixed=True)
        stack(self, self.words, self.sentence, spacing=1)
        self.words.chosen.connect(self.chosen)
        self.words.toggled.connect(self.toggled)
        self._takes_keys = False
        self.hide()

    def show_why(self, why: Why, record: Record | None) -> None:
        """Show what is known of the words of a caption, where that is wanted."""
        self.setVisible(why.on)
        if not why.on:
            self._takes_keys = False
            return
        known = why.explained
        self.words.show_words(known.words if known is not None else ())
        self.words.setVisible(known is not None)
        if known is not None:
            self.show_word(why)
        elif record is None or not record.caption:
            self._say(NOTHING)
        else:
            self._say(why.problem or SEARCHING)
        if known is not None and self._takes_keys:
            self._takes_keys = False
            self.words.setFocus()

    def show_word(self, why: Why) -> None:
        """Say what the region says to the chosen word, or to all of the caption."""
        known = why.explained
        if known is None:
            return
        if 0 <= why.chosen < len(known.words):
            self._say(known.words[why.chosen].why)
        else:
            self._say(agreement_sentence(known))

    def _say(self, text: str) -> None:
        if text != self.sentence.text():
            self.sentence.setText(text)

    def take_keys(self) -> None:
        """Let the arrow keys walk through the words as soon as they are there."""
        self._takes_keys = not self.isHidden()
        if self._takes_keys and self.words.count():
            self._takes_keys = False
            self.words.setFocus()


def agreement_sentence(known: Explained) -> str:
    """Return how well a caption agrees with its region, in words, and what that rests on."""
    # It loads torch, as the worker that has explained has done already.
    from napari_patchioner.grounding.words import account_of, is_judged_whole

    words = known.words
    if math.isnan(known.agreement):
        return f"{account_of(words)} {HOVER}"
    names = ", ".join(map(repr, known.rests_on)) or "the text as a whole"
    only = " alone" if known.rests_on and not is_judged_whole(words) else ""
    start = f"Agreement {known.agreement:.2f}, of {names}{only}"
    named = dict.fromkeys(word.word.text for word in words if word.verdict == "contradicted")
    wrong = [repr(name) for name in named]
    return f"{start}: not borne out: {', '.join(wrong)}. {HOVER}" if wrong else f"{start}. {HOVER}"
