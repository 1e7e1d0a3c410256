"""Small widgets of one purpose each: buttons, long texts, and a wheel that only scrolls."""

from __future__ import annotations

import re

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

# A position where a line may be broken, which nobody sees.
_BREAK = "\u200b"
_LONG, _PIECE = 16, 8
# What a wheel would change.
_KINDS = (QComboBox, QAbstractSpinBox, QAbstractSlider)


def button(title: str, tip: str, *, checkable: bool = False) -> QPushButton:
    """Return a button that does not take the keyboard away from the canvas."""
    made = QPushButton(title)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return made


class Sentence(QLabel):  # type: ignore[misc]
    """A text of several lines that fits into any width.

    Names that are longer than a line are broken, where a label would grow as wide as they are.
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
        return str(super().text()).replace(_BREAK, "")


def narrow(label: QLabel) -> None:
    """Let a label ask for no width: its longest word would set that of the whole dock."""
    label.setMinimumWidth(1)


def _broken(word: re.Match[str]) -> str:
    text = word.group()
    return _BREAK.join(text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


class WheelGuard(QObject):  # type: ignore[misc]
    """Keeps the wheel from all lists, numbers and sliders in a widget that do not have the focus.

    Nor does it give them the focus; what is around them scrolls instead. What the widget `root`
    comes to hold later is guarded, too.
    """

    def __init__(self, root: QWidget) -> None:
        super().__init__(root)
        self._root = root
        self._known: set[QWidget] = set()
        root.installEventFilter(self)
        self._guard_new()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass the wheel on to what is around."""
        kind = event.type()
        if watched is self._root:
            if kind in (QEvent.Type.LayoutRequest, QEvent.Type.Show):
                self._guard_new()
        elif kind == QEvent.Type.Wheel and not watched.hasFocus():
            around = watched.parentWidget()
            while around is not None and not isinstance(around, QAbstractScrollArea):
                around = around.parentWidget()
            if around is None:
                event.ignore()
            else:
                QApplication.sendEvent(around.viewport(), event.clone())
                event.accept()
            return True
        return False

    def _guard_new(self) -> None:
        """Guard widgets that have been added."""
        widgets = {
            widget
            for kind in _KINDS
            for widget in self._root.findChildren(kind)
            if not isinstance(widget, QScrollBar)
        }
        for widget in widgets - self._known:
            if widget.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            widget.installEventFilter(self)
        self._known = widgets
