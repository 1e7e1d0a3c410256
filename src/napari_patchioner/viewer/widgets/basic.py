"""A text of several lines that fits into any width."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractScrollArea,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QPushButton,
    QScrollBar,
    QWidget,
)

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

# A place where a line may be broken, which nobody sees.
_BREAK = "\u200b"
_LONG, _PIECE = 16, 8


class Sentence(QLabel):
    """Breaks names that are longer than a line, where a label would grow as wide as they are.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        narrow(self)

    def setText(self, text: str) -> None:
        """Show a text, also as the tooltip where part of it may not be readable."""
        broken = re.sub(rf"\S{{{_LONG},}}", _broken, text)
        self.setToolTip(text if broken != text else "")
        super().setText(broken)

    def text(self) -> str:
        """Return the text as it was given."""
        return super().text().replace(_BREAK, "")


def narrow(label: QLabel) -> None:
    """Let a label ask for no width: its longest word would set that of the whole dock."""
    label.setMinimumWidth(1)


def _broken(word: re.Match[str]) -> str:
    text = word.group()
    return _BREAK.join(text[place : place + _PIECE] for place in range(0, len(text), _PIECE))


def button(title: str, tip: str, *, checkable: bool = False) -> QPushButton:
    """Return a button.

    Parameters
    ----------
    title : str
        What it says.
    tip : str
        What it does, and the key that does the same.
    checkable : bool
        Whether it stays pressed.
    """
    made = QPushButton(title)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return made


# What a wheel would change.
_KINDS = (QComboBox, QAbstractSpinBox, QAbstractSlider)


class WheelGuard(QObject):
    """Keeps the wheel from all lists, numbers and sliders in a widget that do not have the focus.

    Nor does it give them the focus; what is around them scrolls instead.

    Parameters
    ----------
    root : QWidget
        The widget; what it comes to hold later is looked after, too.
    """

    def __init__(self, root: QWidget) -> None:
        super().__init__(root)
        self._root = root
        self._known: set[QWidget] = set()
        root.installEventFilter(self)
        self._look()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hand the wheel on to what is around."""
        kind = event.type()
        if watched is self._root:
            if kind in (QEvent.Type.LayoutRequest, QEvent.Type.Show):
                self._look()
        elif kind == QEvent.Type.Wheel and not watched.hasFocus():
            self._hand_on(watched, event)
            return True
        return False

    def _hand_on(self, widget: QWidget, event: QEvent) -> None:
        """Scroll the innermost area that a widget lies in, if there is one."""
        around = widget.parentWidget()
        while around is not None and not isinstance(around, QAbstractScrollArea):
            around = around.parentWidget()
        if around is None:
            event.ignore()
        else:
            QApplication.sendEvent(around.viewport(), event.clone())
            event.accept()

    def _look(self) -> None:
        """Look after what is new."""
        found = {
            widget
            for kind in _KINDS
            for widget in self._root.findChildren(kind)
            if not isinstance(widget, QScrollBar)
        }
        for widget in found - self._known:
            if widget.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            widget.installEventFilter(self)
        self._known = found
