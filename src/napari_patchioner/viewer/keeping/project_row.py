"""Where the work is saved, in one line, and the way to other projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget
from superqt import QElidingLabel

if TYPE_CHECKING:
    from pathlib import Path


class ProjectRow(QWidget):
    """Tells whether all work is saved."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = QElidingLabel("", self)
        self.state.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.open = QPushButton("Open project…", self)
        self.open.setToolTip("Load saved work on this image from a file.")
        self.open.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.state, 1)
        layout.addWidget(self.open)

    def show_state(self, state: str, path: Path | None, problem: str = "") -> None:
        """Show a few words; the whole path, or what is wrong, is the tooltip."""
        self.state.setText(state)
        self.state.setToolTip(problem or (str(path) if path is not None else ""))
