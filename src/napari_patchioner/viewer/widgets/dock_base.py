"""A dock widget that scrolls, and that notices its own end."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QCloseEvent, QKeyEvent, QKeySequence, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QFrame, QScrollArea

from .basic import WheelGuard


class DockBase(QScrollArea):  # type: ignore[misc]
    """Scrolls up and down only; calls `shut_down` when its dock or its window is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._docked = False
        self._guard: WheelGuard | None = None
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def shut_down(self) -> None:
        """Stop all work; may be called more than once."""
        raise NotImplementedError

    def may_close(self) -> bool:
        """Whether the window may be closed; a person may be asked."""
        return True

    def save_now(self) -> None:
        """Save the work at hand, because a person says so."""

    def event(self, event: QEvent) -> bool:
        """Stop when the dock is closed: napari then takes the widget out of its parent.

        In the dock, Ctrl+S saves what is written in it; on the canvas it is napari's.
        """
        if isinstance(event, QKeyEvent) and event.matches(QKeySequence.StandardKey.Save):
            if event.type() == QEvent.Type.KeyPress:
                self.save_now()
            event.accept()
            return True
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.shut_down()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def showEvent(self, event: QShowEvent) -> None:
        """Watch for the end of the window, and be wide enough to scroll only up and down."""
        self.window().installEventFilter(self)
        if self._guard is None:
            self._guard = WheelGuard(self.widget())
        self._widen()
        super().showEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Stay wide enough once the bar is there."""
        super().resizeEvent(event)
        self._widen()

    def _widen(self) -> None:
        # A theme may draw the bar wider than it asks to be.
        taken = self.width() - self.viewport().width()
        bar = max(self.verticalScrollBar().sizeHint().width(), taken)
        wanted = self.widget().minimumSizeHint().width() + bar
        if wanted > self.minimumWidth():
            self.setMinimumWidth(wanted)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stop with the window, while there still are widgets to stop with."""
        # Fonts and styles that come later, and parts that unfold, want more room than at first.
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self._widen()
        if event.type() == QEvent.Type.Close and watched is not self and not self.may_close():
            event.ignore()
            return True
        if event.type() == QEvent.Type.DeferredDelete and watched is not self:
            self.shut_down()
        return bool(super().eventFilter(watched, event))

    def closeEvent(self, event: QCloseEvent) -> None:
        """Stop when it stands alone and is closed."""
        self.shut_down()
        super().closeEvent(event)
