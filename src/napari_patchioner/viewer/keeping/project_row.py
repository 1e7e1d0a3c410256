"""Where the work is saved, in one line, and the way to other projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QMenu, QPushButton, QToolButton, QWidget
from superqt import QElidingLabel

if TYPE_CHECKING:
    from pathlib import Path

CLEAR = "Clear the grid store…"


class ProjectRow(QWidget):
    """Tells whether all work is saved."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = QElidingLabel("", self)
        self.state.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.open = QPushButton("Open project…", self)
        self.open.setToolTip("Load saved work on this image from a file.")
        self.open.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.save = self.menu.addAction("Save now (Ctrl+S)")
        self.save.setToolTip("Work is saved by itself; this is for peace of mind.")
        self.merge = self.menu.addAction("Merge…")
        self.merge.setToolTip("Take over what another project of this image has.")
        self.menu.addSeparator()
        self.folder = self.menu.addAction("Folder of images…")
        self.folder.setToolTip("List the images of a folder and go through them.")
        self.clear = self.menu.addAction(CLEAR)
        self.clear.setToolTip("Delete what was read of images; it is read again when needed.")
        self.more = QToolButton(self)
        self.more.setText("⋯")
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.more.setToolTip("Save now, merge projects, go through a folder, clear the grid store.")
        self.more.setMenu(self.menu)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.state, 1)
        layout.addWidget(self.open)
        layout.addWidget(self.more)

    def show_state(self, state: str, path: Path | None, problem: str = "") -> None:
        """Show a few words; the whole path, or what is wrong, is the tooltip."""
        self.state.setText(state)
        self.state.setToolTip(problem or (str(path) if path is not None else ""))
