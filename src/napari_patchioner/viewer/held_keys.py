"""Keys typed in fields stay there: napari hears of no key that was not meant for the canvas."""

from __future__ import annotations

import sys

from qtpy import QtWidgets as qt
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent

_FIELDS = (qt.QLineEdit, qt.QTextEdit, qt.QPlainTextEdit, qt.QAbstractSpinBox)
_LISTS = (qt.QComboBox, qt.QAbstractItemView)


def is_typing(panel: qt.QWidget) -> bool:
    """Whether keys that a panel gets are typed in one of its fields, lists or tables.

    With a check box or a slider at hand, or where the panel was only clicked, they are meant for
    the canvas.
    """
    at_hand = panel.window().focusWidget()
    if at_hand is None or not (at_hand is panel or panel.isAncestorOf(at_hand)):
        return True
    return isinstance(at_hand, (*_FIELDS, *_LISTS))


class HeldKeys(QObject):  # type: ignore[misc]
    """Keeps from napari the releases of keys that it was not told were pressed.

    Qt hands a release that no field wants on to the dock and the window, and napari to what the
    key began on the canvas, however long ago: a mode picked with S ended at the next "s" typed.
    A key that is held on the canvas and let go over a field does what it should.
    """

    def __init__(self, window: qt.QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._held: set[int] = set()
        self._followers: set[int] = set()
        window.installEventFilter(self)
        self._watch()

    @classmethod
    def follow(cls, panel: qt.QWidget) -> None:
        """Watch the main window that a docked panel is in, as long as any panel asks for it."""
        window: qt.QWidget | None = panel
        while window is not None and not isinstance(window, qt.QMainWindow):
            window = window.parentWidget()
        if window is not None:
            # A second one would not have seen what is held already.
            keys = window.findChild(cls) or cls(window)
            keys._followers.add(id(panel))

    def _watch(self) -> None:
        """Watch all that hands keys to napari."""
        for widget in self._window.findChildren(qt.QWidget):
            if isinstance(widget, qt.QDockWidget):
                widget.installEventFilter(self)
            elif widget.inherits("QOpenGLWidget"):
                # The canvas hands on what it does not know, and so do all around it.
                around = widget
                while around is not self._window:
                    around.installEventFilter(self)
                    around = around.parentWidget()

    @classmethod
    def leave(cls, panel: qt.QWidget) -> None:
        """Watch no more on behalf of a panel, wherever it is by now."""
        windows = (w for w in qt.QApplication.topLevelWidgets() if isinstance(w, qt.QMainWindow))
        for keys in [keys for window in windows for keys in window.findChildren(cls)]:
            keys._followers.discard(id(panel))
            if not keys._followers:
                keys.setParent(None)
                keys.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Note what is pressed on the canvas; let a release through only after its press."""
        kind = event.type()
        if kind == QEvent.Type.WindowDeactivate:
            # Another window is told of their releases.
            self._held.clear()
        elif kind == QEvent.Type.ChildAdded and isinstance(event.child(), qt.QDockWidget):
            event.child().installEventFilter(self)
        elif kind == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            # With Cmd held, a Mac tells of no release.
            untold = sys.platform == "darwin" and bool(
                event.modifiers() & Qt.KeyboardModifier.ControlModifier
            )
            if not event.isAutoRepeat() and not untold:
                self._held.add(event.key())
        elif kind == QEvent.Type.KeyRelease and isinstance(event, QKeyEvent):
            if event.isAutoRepeat():
                return False
            if event.key() not in self._held:
                event.accept()
                return True
            self._held.discard(event.key())
        return False
