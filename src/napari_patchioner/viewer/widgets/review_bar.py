"""Where a review stands, and the buttons to go on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from .buttons import button

if TYPE_CHECKING:
    from napari_patchioner.viewer.session.review import Review


class ReviewBar(QWidget):
    """Shown while there is a review."""

    accept = Signal()
    skip = Signal()
    back = Signal()
    stop = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.position = QLabel(self)
        self.position.setToolTip("The most doubtful captions come first.")
        self.next = button("Accept, next", "Keep this caption and go on to the next one (key Y).")
        self.skipped = button("Skip", "Leave it as it is and go on (key N).")
        self.previous = button("Back", "Go back to the one before (key Shift+N).")
        self.end = button("End", "End the review; what was accepted stays so.")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.position, 0, 0, 1, 2)
        layout.addWidget(self.end, 0, 2)
        for column, made in enumerate((self.previous, self.skipped, self.next)):
            layout.addWidget(made, 1, column)
        for made, signal in (
            (self.next, self.accept),
            (self.skipped, self.skip),
            (self.previous, self.back),
            (self.end, self.stop),
        ):
            made.clicked.connect(lambda *_, signal=signal: signal.emit())
        self.hide()

    def show_review(self, review: Review | None) -> None:
        """Show how far a review has come; without one, nothing."""
        self.setVisible(review is not None)
        if review is not None:
            self.position.setText(f"Review: {review.position}")
