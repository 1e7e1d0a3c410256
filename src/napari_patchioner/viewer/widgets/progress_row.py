"""Start, Cancel, and how far a piece of work has come."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

if TYPE_CHECKING:
    from napari.utils.progress import progress

POLL_MS = 80
ACTIVITY_STEP = 10


class Followed(Protocol):
    """How far a worker has come, as it notes it down itself."""

    fraction: float
    message: str


class ProgressRow(QWidget):  # type: ignore[misc]
    """A button that starts and cancels, and a bar beside it; napari's activity dock follows.

    The worker only notes down how far it is. Reading that from a timer keeps the worker
    away from Qt, and a fast worker from flooding the window with events.
    """

    start = Signal()
    cancel = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button = QPushButton("Start", self)
        self.button.setMinimumWidth(84)
        self.button.clicked.connect(self._on_clicked)
        self.bar = QProgressBar(self)
        self.bar.setRange(0, 100)
        self._progress: Followed | None = None
        self._activity: progress | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.bar, 1)
        self.follow(None)

    def follow(self, source: Followed | None) -> None:
        """Show this progress from now on; None where nothing is going on."""
        if source is self._progress and source is not None:
            return
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        self._progress = source
        self.button.setText("Start" if source is None else "Cancel")
        self.button.setToolTip(
            "Let the model read the image; drawing is possible meanwhile (pressed again, it\n"
            "reads the image anew and rewrites the model's captions, never yours)."
            if source is None
            else "Stop this; what was downloaded is kept, what you have drawn is too."
        )
        self.bar.setValue(0)
        self.bar.setFormat("")
        self.bar.setToolTip("")
        if source is None:
            self._timer.stop()
            return
        from napari.utils import progress

        # tqdm would also draw its bar on the terminal.
        self._activity = progress(total=100, desc="Patch-ioner", file=io.StringIO())
        self._timer.start()

    def set_ready(self, ready: bool) -> None:
        """Allow or forbid starting."""
        self.button.setEnabled(ready or self._progress is not None)

    def _poll(self) -> None:
        if self._progress is None:
            return
        activity, message = self._activity, self._progress.message
        value = round(100 * self._progress.fraction)
        self.bar.setValue(value)
        self.bar.setToolTip(message)
        width = self.bar.width() - 8
        self.bar.setFormat(
            self.bar.fontMetrics().elidedText(message, Qt.TextElideMode.ElideRight, width)
        )
        # napari's own bar works off all events at every change, so it is updated seldom.
        if activity is not None and value >= activity.n + ACTIVITY_STEP:
            activity.update(value - activity.n)

    def _on_clicked(self) -> None:
        (self.start if self._progress is None else self.cancel).emit()
