"""The mouse wheel scrolls a dock; it changes nothing on its way."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractScrollArea,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QScrollBar,
    QWidget,
)

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
